"""The pictures of docs/concepts and of the first page are those that docs/_make draws, and can be seen on any paper."""

from __future__ import annotations

import importlib
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest

DOCS = Path(__file__).parents[2] / "docs"
CONCEPTS = DOCS / "concepts"
FIRST_PAGE = DOCS / "figures" / "first-page.svg"
BUNDLE = Path(__file__).parents[1] / "fixtures" / "files-0.1.0" / "bundle"


def maker(name: str) -> ModuleType:
    with mock.patch("sys.path", [str(DOCS / "_make")]), mock.patch.dict("sys.modules"):
        return importlib.import_module(name)


def drawn() -> dict[str, str]:
    made: dict[str, str] = maker("pictures").pictures()
    return made


def words(picture: str) -> list[str]:
    return [str(node.text) for node in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]


def test_pictures_are_as_the_code_draws_them() -> None:
    assert drawn() == {path.name: path.read_text(encoding="utf-8") for path in CONCEPTS.glob("*.svg")}


def test_pictures_have_a_title_stay_inside_and_know_dark_paper() -> None:
    for name, content in {**drawn(), FIRST_PAGE.name: FIRST_PAGE.read_text(encoding="utf-8")}.items():
        root = ElementTree.fromstring(content)
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None and title.text, name
        assert "prefers-color-scheme: dark" in content
        for node in root.iter():
            x, y = (float(node.get(axis, node.get(f"c{axis}", "0"))) for axis in "xy")
            assert 0 <= x < width and 0 <= y < height, (name, node.attrib)


@pytest.mark.parametrize("passed", [True, False])
def test_the_first_page_shows_what_is_in_the_bundle_and_its_report(tmp_path: Path, passed: bool) -> None:
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))
    report = json.loads((bundle / "parity.json").read_text(encoding="utf-8"))
    report["rows"][-1]["passed"] = passed
    (bundle / "parity.json").write_text(json.dumps(report), encoding="utf-8")
    shown = words(maker("first_page").drawing(bundle))
    assert {path.name + "/" * path.is_dir() for path in bundle.iterdir()} <= set(shown)
    verdicts = ["passed"] * (len(report["rows"]) - 1) + ["passed" if passed else "failed"]
    assert [word for word in shown if word in ("passed", "failed")] == verdicts
    for row in report["rows"]:
        assert row["runtime"] in shown
        assert f"{max(case['in_noise'] for case in row['cases']):.2f}" in shown


def test_the_picture_of_the_first_page_is_of_a_bundle_that_passed() -> None:
    shown = words(FIRST_PAGE.read_text(encoding="utf-8"))
    assert {"model.pt", "drnn-export", "model.onnx", "drnn-parity", "onnxruntime-cpu", "passed"} <= set(shown)
    assert "failed" not in shown

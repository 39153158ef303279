"""The pictures of docs/concepts are those that docs/_make/pictures.py draws, and can be seen on any paper."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

CONCEPTS = Path(__file__).parents[2] / "docs" / "concepts"


def drawn() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("pictures", CONCEPTS.parent / "_make" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: dict[str, str] = module.pictures()
    return made


def test_pictures_are_as_the_code_draws_them() -> None:
    assert drawn() == {path.name: path.read_text(encoding="utf-8") for path in CONCEPTS.glob("*.svg")}


def test_pictures_have_a_title_stay_inside_and_know_dark_paper() -> None:
    for name, content in drawn().items():
        root = ElementTree.fromstring(content)
        width, height = map(float, root.attrib["viewBox"].split()[2:])
        title = root.find("{http://www.w3.org/2000/svg}title")
        assert title is not None and title.text, name
        assert "prefers-color-scheme: dark" in content
        for node in root.iter():
            x, y = (float(node.get(axis, node.get(f"c{axis}", "0"))) for axis in "xy")
            assert 0 <= x < width and 0 <= y < height, (name, node.attrib)

"""docs/promises.md and docs/releasing.md: what they say of formats, Pythons and the version is so."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import yaml

from drnn_core.environment import package_version
from drnn_deploy.debug import repro
from drnn_deploy.training import saved_state
from drnn_models import checkpoint
from drnn_runtimes.bundle import manifest
from drnn_runtimes.streaming import state
from drnn_runtimes.trt import sidecar

REPOSITORY = Path(__file__).parents[1]
PROMISES = (REPOSITORY / "docs" / "promises.md").read_text(encoding="utf-8")
OTHERS = ("mkdocs.yml", "CITATION.cff")  # where a version could stand as well
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_page_names_every_format() -> None:
    used = {
        checkpoint.FORMAT,
        manifest.FORMAT,
        state.FORMAT,
        saved_state.STATE_FORMAT,
        sidecar.FORMAT,
        repro.FORMAT,
    }
    assert set(re.findall(r"`(drnn-deploy[\w-]*/\d+)`", PROMISES)) == used


def test_files_of_a_released_format_are_kept() -> None:
    kept = list((REPOSITORY / "tests" / "fixtures").glob("files-*"))
    manifests = [folder / "bundle" / "manifest.json" for folder in kept]
    assert manifest.FORMAT in [json.loads(path.read_text(encoding="utf-8"))["format"] for path in manifests]
    assert all(f"`tests/fixtures/{folder.name}`" in PROMISES for folder in kept)


def test_the_page_names_every_python() -> None:
    pythons = [c.removeprefix("Programming Language :: Python :: ") for c in PROJECT["classifiers"] if ":: 3." in c]
    rows = [line for line in PROMISES.splitlines() if line.startswith("| Linux, x86-64, Python")]
    assert sorted(re.findall(r"3\.\d+", " ".join(rows))) == sorted(pythons)


def test_there_is_one_version() -> None:
    version = PROJECT["version"]
    assert package_version() == version
    packages = [REPOSITORY / folder for folder in ("drnn_deploy", "export", "models", "runtimes")]
    files = [*(path for folder in packages for path in folder.rglob("*.py")), *map(REPOSITORY.joinpath, OTHERS)]
    assert len(files) > 100
    assert [
        path.name for path in files if re.search(r"^(__)?version(__)?\s*[:=]", path.read_text(encoding="utf-8"), re.M)
    ] == []


def test_the_citation_is_the_paper() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == PROJECT["license"]
    paper = citation["preferred-citation"]
    assert (paper["title"], paper["year"], len(paper["authors"])) == ("Dilated Recurrent Neural Networks", 2017, 10)


def test_templates_are_forms() -> None:
    forms = sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert forms
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= set(form)
        fields = [part for part in form["body"] if part["type"] != "markdown"]
        assert all(part["attributes"]["label"] for part in fields)
        assert len({part["id"] for part in fields}) == len(fields)

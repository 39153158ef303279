"""What `make dist` built: a source distribution, and the wheel that comes out of it, hold what the tree holds."""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from drnn_core.environment import package_version

REPOSITORY = Path(__file__).parents[1]
DIST = Path(os.environ.get("DRNN_DIST", "")).resolve()

pytestmark = pytest.mark.skipif("DRNN_DIST" not in os.environ, reason="DRNN_DIST names no distributions: make dist")


def in_the_tree() -> set[str]:
    """Files of the packages, as a wheel names them."""
    roots = [path for root in (".", "export", "models", "runtimes") for path in (REPOSITORY / root).glob("drnn_*")]
    return {
        f"{root.name}/{file.relative_to(root.resolve()).as_posix()}"
        for root in roots
        if root.suffix != ".egg-info"
        for file in root.resolve().rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }


def test_there_are_two_files_of_the_one_version() -> None:
    assert sorted(path.name for path in DIST.iterdir()) == [
        f"drnn_deploy-{package_version()}-py3-none-any.whl", f"drnn_deploy-{package_version()}.tar.gz",
    ]  # fmt: skip


def test_the_wheel_made_of_the_source_distribution_is_whole() -> None:
    (wheel,) = DIST.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = Parser().parsestr(archive.read(next(n for n in names if n.endswith("/METADATA"))).decode())
    assert {name for name in names if ".dist-info/" not in name} == in_the_tree()
    assert (metadata["Version"], metadata["License-Expression"]) == (package_version(), "Apache-2.0")


def test_the_source_distribution_has_no_half_of_the_tests() -> None:
    (source,) = DIST.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = archive.getnames()
    folders = {name.split("/")[1] for name in names if name.count("/")}
    assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "SECURITY.md", "pyproject.toml"} <= folders
    assert "tests" not in folders
    assert not [name for name in names if "__pycache__" in name]


def test_the_changelog_begins_with_this_version() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", text, re.MULTILINE)[1] == package_version()  # type: ignore[index]

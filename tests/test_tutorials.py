"""The pages of docs/tutorials and docs/concepts, followed from top to bottom (tests/page_reader.py)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import page_reader
from tests.drnn_deploy.tasks.test_pixel_mnist import digits  # noqa: F401
from tests.page_reader import REPOSITORY, Reader, fences, typed_lines, understood

TUTORIALS = REPOSITORY / "docs" / "tutorials"


@pytest.fixture(autouse=True, scope="module")
def without_nvidia() -> Iterator[None]:
    with page_reader.without_nvidia():
        yield


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def own_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the page that the others begin with was followed."""
    folder = tmp_path_factory.mktemp("own-module")
    with pytest.MonkeyPatch.context() as patch:
        Reader(folder, patch).follow(TUTORIALS / "own-module.md")
    return folder


def test_own_module(own_module: Path) -> None:
    assert sorted(path.name for path in own_module.glob("*/manifest.json")) == ["manifest.json"] * 2


@pytest.mark.nightly  # by day their commands are understood, below, and what they do has tests of its own
@pytest.mark.parametrize("page", ["parity-in-ci", "int8", "stream-on-a-jetson"])
def test_pages_that_go_on_from_it(page: str, own_module: Path, reader: Reader) -> None:
    for name in ("model.pt", "movements.py"):
        shutil.copy(own_module / name, reader.folder)
    reader.follow(TUTORIALS / f"{page}.md")


@pytest.mark.usefixtures("digits")
def test_mnist(reader: Reader) -> None:
    reader.follow(TUTORIALS / "mnist.md")


@pytest.mark.parametrize("page", sorted(TUTORIALS.glob("*.md")), ids=lambda page: page.stem)
def test_commands_are_understood(page: Path) -> None:
    lines = [line for language, text in fences(page) if language == "sh" for line in typed_lines(text)]
    assert lines
    for line in lines:
        understood(line)


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs" / "concepts").glob("*.md")), ids=lambda page: page.stem)
def test_concepts(page: Path, reader: Reader) -> None:
    reader.follow(page)


def test_every_page_is_followed() -> None:
    assert {path.stem for path in TUTORIALS.glob("*.md")} == {
        "int8", "mnist", "own-module", "parity-in-ci", "stream-on-a-jetson",
    }  # fmt: skip

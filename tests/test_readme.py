"""What the first page and the pages beside it show is run, and what they tell people to type is understood."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import page_reader
from tests.drnn_deploy.cli.leaves import leaves
from tests.page_reader import PROJECT, REPOSITORY, Reader, fences, typed_lines, understood

README = REPOSITORY / "README.md"
PAGES = {path: path.read_text(encoding="utf-8") for path in (README, *sorted((REPOSITORY / "docs").rglob("*.md")))}
TEXT = PAGES[README]
IN_DAY = {"Two commands", "Install", "Your network", "A network from other code", "Stream"}  # the others at night
COMMANDS = [
    line.partition("#")[0].strip()
    for text in PAGES.values()
    for line in re.findall(r"^ {4}(drnn-(?:export|deploy|parity) .*)$", text, re.MULTILINE)
]
LINKS = [
    (page, link, anchor)
    for page, text in PAGES.items()
    for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^):]+))?\)", text)
]


@pytest.fixture(autouse=True, scope="module")
def without_nvidia() -> Iterator[None]:
    with page_reader.without_nvidia():
        yield


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Somebody in a clone, as far as the page names its files."""
    for name in ("models", "tests"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    return Reader(tmp_path, monkeypatch)


def parts() -> dict[str, str]:
    """Heading, or group of commands, -> its text, in the order of the page."""
    pieces = re.split(r"^(?:## |\*\*)([^*\n]+)(?:\*\*)?$", TEXT, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.nightly)])
def test_the_first_page_is_followed_from_top_to_bottom(whole: bool, clone: Reader) -> None:
    for title, text in parts().items():
        if whole or title in IN_DAY:
            clone.follow_text(text)
    assert (clone.folder / "state.npz").is_file()
    assert (clone.folder / "imported" / "manifest.json").is_file()


def test_import_prints_what_its_page_shows(clone: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    page = REPOSITORY / "docs" / "import.md"
    clone.follow(page)
    printed = {line.rstrip() for line in capsys.readouterr().out.splitlines()}
    (shown,) = (text for language, text in fences(page) if language == "text")
    assert set(shown.splitlines()) - {"..."} <= printed


def test_every_command_and_every_snippet_is_in_a_part_that_is_followed() -> None:
    assert [fence for text in parts().values() for fence in page_reader.FENCE.findall(text)] == fences(README)
    assert parts().keys() >= IN_DAY | {"Commands", "Export", "Check", "Train"}
    assert not re.search(
        r"^ {4}\S", page_reader.FENCE.sub("", TEXT), re.MULTILINE
    )  # code without a fence would be followed by nobody
    for line in lines():
        understood(line)


def lines() -> list[str]:
    return [line for language, text in fences(README) if language == "sh" for line in typed_lines(text)]


def test_installation_names_the_wheel_of_this_version() -> None:
    (name,) = {wheel for line in lines() for wheel in re.findall(r"build/dist/(\S+\.whl)", line)}
    assert name == f"drnn_deploy-{PROJECT['version']}-py3-none-any.whl"
    assert set(PROJECT["optional-dependencies"]) - {"dev", "docs", "release"} == {
        extra for row in re.findall(r"^\| (`.+?) \|", parts()["Install"], re.MULTILINE)
        for extra in re.findall(r"`([\w-]+)`", row)
    }  # fmt: skip


def test_the_first_screen_has_the_purpose_the_picture_and_the_two_commands() -> None:
    first = TEXT[: TEXT.index("## Install")]
    assert len(first.splitlines()) <= 30
    assert re.findall(r"^make (\w+)", first, re.MULTILINE) == ["demo", "test"]
    assert first.index("![") < first.index("## Two commands")
    purpose = TEXT.split("\n\n")[1]
    assert len(re.findall(r"[.](?:\s|$)", purpose)) == 3
    contents = re.findall(r"\]\(#([\w-]+)\)", first)
    headings = [title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", TEXT, re.MULTILINE)]
    assert contents == headings


def test_snippets_need_no_deep_module() -> None:
    snippets = [text for language, text in fences(README) if language == "python"]
    assert len(snippets) == 3
    imports = [node for text in snippets for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    ours = {str(node.module) for node in imports if str(node.module).startswith("drnn_")}
    assert ours == {"drnn_models", "drnn_runtimes"}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_are_understood(line: str) -> None:
    understood(line)


def test_every_figure_is_on_a_page() -> None:
    shown = {(page.parent / link).resolve() for page, link, _ in LINKS}
    figures = [path for path in (REPOSITORY / "docs").rglob("*.*") if path.suffix in (".svg", ".png")]
    assert [path.name for path in figures if path not in shown] == []


def test_there_are_commands_to_check() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize(("page", "link", "anchor"), sorted(set(LINKS)), ids=lambda value: str(value)[-60:])
def test_links_lead_somewhere(page: Path, link: str, anchor: str) -> None:
    target = (page.parent / link).resolve() if link else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


def anchors(page: Path) -> set[str]:
    """Those of a page's headings, as mkdocs names them; of the commands' page, which is generated, one a command."""
    if page.name == "commands.md":
        return {"-".join(("drnn-deploy", *words)) for words in leaves()}
    headings = re.findall(r"^#+ (.+)$", page_reader.FENCE.sub("", PAGES[page]), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}

"""docs/_make/transcript.py types the first page as it is, in one shell; the page that it wrote has no failure in it."""

from __future__ import annotations

import re

import pytest

from tests.page_reader import fences, typed_lines
from tests.site.test_pictures import DOCS, maker

README = (DOCS.parent / "README.md").read_text(encoding="utf-8")
TRANSCRIPT = (DOCS / "transcript.md").read_text(encoding="utf-8")


def test_lines_share_a_shell_and_their_ends_are_told() -> None:
    typed = [
        ("x=3", "x=3"),
        ("", "echo $x; echo wrong >&2"),
        ("", "false"),
        ("", "cat <<'E'\n$x\nE"),
        ("", "sleep 0.2"),
    ]
    results = maker("transcript").run(typed)
    assert [(output, code) for output, _, code in results] == [
        ("", 0), ("3\nwrong\n", 0), ("", 1), ("$x\n", 0), ("", 0)
    ]  # fmt: skip
    assert 0.2 <= results[-1][1] < 2


def test_output_is_without_progress_hosts_and_places() -> None:
    module = maker("transcript")
    lines = [
        *(
            "bar\rdone",
            "\x1b[32mPASSED\x1b[0m",
            "checking torch (4 s, 9%, about 39 s left)",
            "starting (4 s)",
            "",
            "see https://a.b.c:80/x",
            "Looking in links: /x",
        ),
        f"{module.REPOSITORY}/model.pt",
    ]
    assert module.shortened("\n".join(lines)) == "    done\n    PASSED\n    see https://.../x\n    ./model.pt\n"
    long = module.shortened("\n".join(map(str, range(99)))).split()
    assert (long[0], long[module.FIRST], long[-1], len(long)) == ("0", "...", "98", module.FIRST + module.LAST + 1)


def test_every_command_of_the_first_page_is_typed_in_order() -> None:
    typed = maker("transcript").steps(README)
    commands = [shown for shown, line in typed if "<<'PYTHON'" not in line]
    assert commands == [line for language, text in fences(DOCS.parent / "README.md") if language == "sh"
                        for line in typed_lines(text)]  # fmt: skip
    assert sum("<<'PYTHON'" in line for _, line in typed) == 3


def test_the_transcript_begins_with_the_page_and_nothing_failed() -> None:
    told = [line.removeprefix("    $ ") for line in TRANSCRIPT.splitlines() if line.startswith("    $ ")]
    assert told[0] == "make demo"
    assert (
        len(told) == len(re.findall(r"^\*\*[\d.]+ s\*\*$", TRANSCRIPT, re.MULTILINE)) > 20
    )  # no exit code beside a time


@pytest.mark.parametrize("word", ["/tmp", "/home", "/root", "/opt", "registry", "proxy"])
def test_the_transcript_names_no_machine(word: str) -> None:
    assert word not in TRANSCRIPT.lower()

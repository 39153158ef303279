"""`drnn-deploy cache`: what is kept is shown, and goes where it is asked to."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

Command = Any  # see conftest
ANSWER = f"{'a' * 64}.npz"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRNN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "references").mkdir(parents=True)
    (tmp_path / "cache" / "references" / ANSWER).write_bytes(bytes(2000))
    return tmp_path / "cache"


@pytest.mark.parametrize("words", [("cache",), ("cache", "show")])
def test_kinds_are_shown_with_size_and_limit(words: tuple[str, ...], command: Command, root: Path) -> None:
    ran = command("drnn-deploy", *words)
    assert ran.code == 0
    (line,) = (line for line in ran.out.splitlines() if "references" in line)
    assert re.split(r" {2,}", line.strip())[2:5] == ["1", "2 kB", "537 MB"]
    assert str(root) in ran.out


def test_json_says_the_same(command: Command) -> None:
    written = json.loads(command("drnn-deploy", "cache", "show", "--json", "-").out)
    kinds = {kind["name"]: kind for kind in written["kinds"]}
    assert (kinds["references"]["bytes"], kinds["references"]["entries"]) == (2000, 1)
    assert (kinds["engines"]["bytes"], kinds["engines"]["last_used"]) == (0, None)


def test_clear_removes_what_was_named(command: Command, root: Path) -> None:
    (root / "references" / "notes.txt").write_text("mine", encoding="utf-8")
    assert "cleared native: 0 bytes" in command("drnn-deploy", "cache", "clear", "native").out
    assert (root / "references" / ANSWER).exists()
    ran = command("drnn-deploy", "cache", "clear")
    assert "cleared references: 2 kB" in ran.out
    assert [path.name for path in (root / "references").iterdir()] == ["notes.txt"]


def test_unknown_kinds_are_refused(command: Command, root: Path) -> None:
    ran = command("drnn-deploy", "cache", "clear", "everything")
    assert ran.code == 2
    assert "there is no kind 'everything'" in ran.err
    assert (root / "references" / ANSWER).exists()

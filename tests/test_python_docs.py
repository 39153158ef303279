"""docs/python.md: its examples run. docs/reference/errors.md: its table says what is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.python_errors import PAGE, written

PYTHON = PAGE.parents[1] / "python.md"


def test_every_wrong_line_is_answered_with_what_the_table_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == written()


def test_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", PYTHON.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) >= 2
    names: dict[str, object] = {}
    for example in examples:
        exec(example, names)

"""The page of the rules names each of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import drnn_export.lint
from drnn_export.lint.tables import load_table

PAGE = Path(__file__).parents[3] / "docs" / "lint.md"
MAKERS = {"Finding", "_error", "_about_file", "error", "finding"}  # that take a rule's name


def is_name(word: object) -> bool:
    return isinstance(word, str) and re.fullmatch("[a-z0-9-]+", word) is not None


def rules_in_the_source() -> Iterator[str]:
    for path in Path(drnn_export.lint.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in MAKERS:
                words = [word.value for word in call.args if isinstance(word, ast.Constant)]
                yield from [word for word in words if is_name(word) and word not in ("error", "warning")][:1]


def test_every_rule_is_on_the_page() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("| Rule |")[2].partition("The facts are in")[0]
    told = {name for row in table.splitlines()[2:] if row for name in re.findall(r"`([a-z0-9-]+)`", row.split("|")[1])}
    of_attributes = {rule.name for rules in load_table("tensorrt-rtx").attributes.values() for rule in rules}
    found = {*rules_in_the_source(), *of_attributes}
    assert len(found) > 30
    assert told == found

"""What must not depend on the machine: every text file is read and written in UTF-8, whatever the locale says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "drnn_deploy", "export", "models", "runtimes", "tests")
TEXT = {"read_text", "write_text"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_encodings_are_named(folder: str) -> None:
    paths = sorted((REPOSITORY / folder).rglob("*.py"))
    calls = [(path, node) for path in paths for node in ast.walk(ast.parse(path.read_bytes())) if _is_text(node)]
    assert paths
    assert [(path.name, node.lineno) for path, node in calls if not _names_encoding(node)] == []


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TEXT


def _names_encoding(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and any(keyword.arg == "encoding" for keyword in node.keywords)

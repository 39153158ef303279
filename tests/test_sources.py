"""What every source keeps to: text files are UTF-8, whatever the locale says, and docstrings name the arguments."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "docs", "drnn_deploy", "examples", "export", "models", "runtimes", "tests")
TEXT = {"read_text", "write_text"}
PRODUCT = ("drnn_deploy", "export", "models", "runtimes")
COMMAND = re.compile(r"\b(command|group)\b")  # click's decorators; it shows the docstring to people


@pytest.mark.parametrize("folder", FOLDERS)
def test_encodings_are_named(folder: str) -> None:
    paths = sorted((REPOSITORY / folder).rglob("*.py"))
    calling = [path for path in paths if any(name.encode() in path.read_bytes() for name in TEXT)]
    calls = [(path, node) for path in calling for node in ast.walk(_tree(path)) if _is_text(node)]
    assert paths
    assert [(path.name, node.lineno) for path, node in calls if not _names_encoding(node)] == []


def test_public_docstrings_name_the_arguments() -> None:
    sources = [path for folder in PRODUCT for path in sorted((REPOSITORY / folder).rglob("*.py"))]
    trees = {path: _tree(path) for path in sources}
    classes = {node.name: node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    inherited = functools.cache(functools.partial(_inherited, classes=classes))
    protocols = {name for node in classes.values() if "Protocol" in _bases(node) for name in _documented(node)}
    faults = [
        f"{path.relative_to(REPOSITORY)}:{function.lineno}: {fault}"
        for path, tree in trees.items()
        for function, owner in _public_functions(tree)
        for fault in _faults(function, protocols | inherited(owner) if owner else set())
    ]
    assert trees
    assert faults == []


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def _faults(function: ast.FunctionDef, documented: set[str]) -> Iterator[str]:
    """`documented`: methods that a base class or a protocol describes; theirs may be a line on what differs."""
    docstring, taken = ast.get_docstring(function) or "", function.args
    names = {argument.arg for argument in (*taken.posonlyargs, *taken.args, *taken.kwonlyargs)} - {"self", "cls"}
    if len(names) > 1 and "Args:" not in docstring and function.name not in documented:
        yield f"{function.name} has no Args"
    if "Raises `" in docstring:
        yield f"{function.name} has Raises in prose"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in TEXT


def _names_encoding(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and any(keyword.arg == "encoding" for keyword in node.keywords)


def _public_functions(tree: ast.Module | ast.ClassDef) -> Iterator[tuple[ast.FunctionDef, ast.ClassDef | None]]:
    """The public functions and methods, each with its class, but for click's commands and pytest's hooks."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node)
        elif isinstance(node, ast.FunctionDef) and not (node.name.startswith(("_", "pytest_")) or _is_command(node)):
            yield node, tree if isinstance(tree, ast.ClassDef) else None


def _is_command(function: ast.FunctionDef) -> bool:
    return any(COMMAND.search(ast.unparse(decorator)) for decorator in function.decorator_list)


def _inherited(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> set[str]:
    bases = [classes[name] for name in _bases(node) if name in classes]
    return {name for base in bases for name in _documented(base) | _inherited(base, classes)}


def _bases(node: ast.ClassDef) -> list[str]:
    """As they are written: one of another package has its module before it, and may be named as one of ours."""
    return [ast.unparse(base).partition("[")[0] for base in node.bases]


def _documented(node: ast.ClassDef) -> set[str]:
    methods = [method for method in node.body if isinstance(method, ast.FunctionDef)]
    return {method.name for method in methods if "Args:" in (ast.get_docstring(method) or "")}

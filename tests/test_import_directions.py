"""Imports go one way: among the import packages, and among the parts of drnn_deploy."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = {  # package -> its folder; a package imports only itself and those before it
    "drnn_core": "models",
    "drnn_models": "models",
    "drnn_runtimes": "runtimes",
    "drnn_export": "export",
    "drnn_zoo": "models",
    "drnn_deploy": ".",
}
BELOW = {  # part of drnn_deploy -> the parts that it imports; also those that these import
    "parity": (),
    "datasets": (),
    "planner": ("datasets",),
    "audio_classifier": ("datasets",),
    "debug": ("parity",),
    "exporter": ("parity", "planner"),
    "tasks": ("datasets",),
    "bench": ("exporter", "parity", "planner"),
    "evaluation": ("parity", "tasks"),
    "importing": ("parity",),
    "matrix": ("exporter", "parity", "tasks"),
    "reports": ("debug", "parity"),
    "training": ("tasks",),
}
STRING = re.compile(r"""["'](drnn_\w+(?:\.\w+)*)["']""")  # which names a module, for importlib or a child
TOP = {"__init__", "__main__", "cli", "pytest_plugin"}  # import every part; no part imports them


@functools.cache
def imports() -> tuple[tuple[str, list[str], list[str]], ...]:
    """What `every_import` gives; all sources are parsed once."""
    return tuple(every_import())


def every_import() -> Iterator[tuple[str, list[str], list[str]]]:
    """Line of an import, names of the module that it is in, and of what it imports (also where a string says it)."""
    for package, folder in PACKAGES.items():
        for path in sorted((ROOT / folder / package).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            names = [(node.lineno, name) for node in statements(ast.parse(text)) for name in imported(node)]
            for said in STRING.finditer(text):
                names.append((text.count("\n", 0, said.start()) + 1, f"{said[1]}."))
            here = [*path.relative_to(ROOT / folder).with_suffix("").parts]
            for line, name in names:
                there = name.split(".")
                if there[0] in PACKAGES:
                    yield f"{path.relative_to(ROOT)}:{line}", here, there


def statements(node: ast.AST) -> Iterator[ast.stmt]:
    """Those inside of a node, however deep; expressions, which are most of a tree, are passed by."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
            yield from statements(child)


def imported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [f"{alias.name}." for alias in node.names] if isinstance(node, ast.Import) else []


def allowed(part: str) -> set[str]:
    return {part}.union(*(allowed(below) for below in BELOW[part]))


def test_a_package_imports_only_those_below_it() -> None:
    order, found = list(PACKAGES), list(imports())
    assert {here[0] for _, here, _ in found} == set(PACKAGES)
    assert [(line, there) for line, here, there in found if order.index(there[0]) > order.index(here[0])] == []


def test_a_part_of_drnn_deploy_imports_only_those_below_it() -> None:
    found = [(line, here[1], there[1]) for line, here, there in imports() if here[0] == there[0] == "drnn_deploy"]
    parts = {part for _, part, _ in found} - TOP
    assert parts == set(BELOW), "every part has its place in BELOW"
    assert [(line, there) for line, part, there in found if part in parts and there not in allowed(part)] == []

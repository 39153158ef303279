"""The size of compiled code."""

from __future__ import annotations

from pathlib import Path

import pytest

from drnn_runtimes.native import code_size as module
from drnn_runtimes.native.code_size import code_size
from drnn_runtimes.native.compiler import compiler
from tests.compilers import with_compiler

SOURCES = {"one.c": '#include "one.h"\nint one(int x) { return ONE(x); }\n', "one.h": "#define ONE(x) ((x) * 3)\n"}


@with_compiler
def test_code_is_measured() -> None:
    text = code_size(SOURCES, "one.c")
    size, _, how = text.partition(" (")
    assert 0 < int(size) < 100 and Path(compiler()[0]).name in how
    larger = code_size({**SOURCES, "one.c": SOURCES["one.c"] + "int two(int x) { return x / 7 + x % 11; }\n"}, "one.c")
    assert int(larger.partition(" (")[0]) > int(size)


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "compiler", list)
    assert code_size(SOURCES, "one.c") == "not measured: there was no C compiler"


@pytest.mark.parametrize("command", ["false", "no-such-compiler"])
def test_where_a_compiler_fails_it_says_so(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "compiler", lambda: [command])
    assert code_size(SOURCES, "one.c").startswith("not measured: ")

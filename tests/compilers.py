"""Tests of the runtime `native`, alone or among others in a list of runtimes: left out where there is no C compiler."""

from __future__ import annotations

import pytest

from drnn_runtimes.native.compiler import compiler

with_compiler = pytest.mark.skipif(not compiler(), reason="there is no C compiler")
NATIVE = pytest.param("native", marks=with_compiler)

"""The runtime `native` among others in a list of runtimes: left out where there is no C compiler."""

from __future__ import annotations

import pytest

from drnn_runtimes.native.compiler import compiler

NATIVE = pytest.param("native", marks=pytest.mark.skipif(not compiler(), reason="there is no C compiler"))

"""What tests with the mark `gpu` need: a GPU, or to be skipped with the reason why there is none."""

from __future__ import annotations

import pytest

from drnn_runtimes.registry import find_runtime


def need(runtime: str) -> None:
    """Skip the test where the runtime cannot be used here, with its own reason."""
    available = find_runtime(runtime).availability()
    if not available.usable:
        pytest.skip(f"{runtime}: {available.detail}")

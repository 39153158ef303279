"""Runtimes that tests see only where their file asks: `pytestmark = pytest.mark.optional_runtimes("tract")`.

All other tests take them for missing, in this process and whether or not they are installed. So a further runtime makes
no test slower, and reports are the same on every machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

import pytest

from drnn_core.types import Availability

OPTIONAL = frozenset({"native", "openvino", "tract"})
HIDDEN = Availability(False, "left out of this test", "see tests/optional_runtimes.py")


@contextlib.contextmanager
def hidden(names: Collection[str]) -> Iterator[None]:
    """Inside, these runtimes say that they cannot run here."""
    from drnn_runtimes.registry import find_runtime

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(find_runtime(name), "availability", lambda: HIDDEN)
        yield


@contextlib.contextmanager
def shown(names: Collection[str]) -> Iterator[None]:
    """Inside `hidden`, these runtimes say again what they find."""
    from drnn_runtimes.registry import find_runtime

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            assert name in OPTIONAL
            patch.delattr(find_runtime(name), "availability")
        yield

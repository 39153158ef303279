"""Numbers below 1.2e-38: vanishing gradients are full of them, and some processors compute with them a hundred times as
slowly. Each thread has a switch of its own that takes them for zero, and gives it to the threads that it starts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


def subnormals_are_zero() -> bool:
    """Whether this thread takes them for zero."""
    return not torch.tensor(1e-38).mul(1e-2).item()


@contextlib.contextmanager
def without_subnormals() -> Iterator[None]:
    """Let this thread take them for zero, where its processor can."""
    before = subnormals_are_zero()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)

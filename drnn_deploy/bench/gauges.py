"""What tells how fast and how quiet the machine is, measured in turn with the contenders and like them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from drnn_core.types import Availability
from drnn_deploy.bench.contender import Array, Call
from drnn_runtimes.bundle import Bundle, GraphInfo

_TURNS = 2_000  # of the idle loop: some tens of microseconds
_SIDE = 384  # of the matrices, which fit a second-level cache
PRODUCT_OPERATIONS = 2 * _SIDE**3


class _Gauge:
    name: str
    reads_graph = has_threads = False

    def availability(self) -> Availability:
        """See `Contender.availability`."""
        return Availability(True, "NumPy")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """See `Contender.unsupported`."""
        return ""


class IdleLoop(_Gauge):
    """A loop that does nothing: whatever makes its calls differ is the machine."""

    name = "idle loop"

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo, *, batch: int, threads: int, folder: Path) -> Iterator[Call]:
        """See `Contender.load`."""

        def call(inputs: Array) -> Array:
            for _ in range(_TURNS):
                pass
            return inputs

        yield call


class MatrixProduct(_Gauge):
    """A float32 product of square matrices in NumPy's BLAS: near the most that the processor computes."""

    name = "matrix product"

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo, *, batch: int, threads: int, folder: Path) -> Iterator[Call]:
        """See `Contender.load`."""
        left, right = np.random.default_rng(0).standard_normal((2, _SIDE, _SIDE), dtype=np.float32)
        product = np.empty_like(left)
        yield lambda inputs: np.matmul(left, right, out=product)

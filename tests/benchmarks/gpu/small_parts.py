"""A small network, a runtime that is a little wrong, and the rows of a part that has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.plan import Row, Rows
from drnn_models.cells import Cell
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.onnxrt.runtime import OnnxRuntime

LENGTH = 12


def small(cell: Cell) -> DilatedRNN:
    torch.manual_seed(0)
    return DilatedRNN(ModelSpec(cell, (3, 3), (1, 2), Continuous(1), Head("last", 2))).eval()


def done(found: Row | Rows) -> Row:
    """What a part answers, with the rows that it yielded before."""
    if not isinstance(found, Generator):
        return found
    rows: list[Row] = []
    while True:
        try:
            rows.append(next(found))
        except StopIteration as end:
            return {**end.value, "rows": rows}


class Off(OnnxRuntime):
    """A runtime whose numbers are off by a little."""

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Any]:
        with super().load(bundle, graph) as session:
            run = session.run

            def off(inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[Any]]:
                return {name: value + np.float32(1e-3) for name, value in run(inputs).items()}

            session.run = off  # type: ignore[method-assign]
            session.bind = lambda ins, outs: (
                lambda: [  # type: ignore[assignment,method-assign]
                    outs[name].__setitem__(..., value) for name, value in off(ins).items()
                ]
            )
            yield session

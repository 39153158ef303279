"""A loaded graph: the protocol that every runtime's sessions keep, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_runtimes.bundle import GraphInfo

Arrays = dict[str, NDArray[np.generic]]


class Session(Protocol):
    """A loaded graph."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Compute all outputs for one batch. Raises `InputError` for a wrong name, type or shape."""

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """A call that reads these arrays and writes into those, again and again, as they are at that time.

        Raises `InputError` like `run`. The arrays must be contiguous and stay where they are.
        """


class CopyingSession:
    """`bind` for sessions that have nothing better: `run`, and copy."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """See `Session.run`."""
        raise NotImplementedError

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """See `Session.bind`."""

        def call() -> None:
            found = self.run(inputs)
            for name, value in outputs.items():
                value[...] = found[name]

        return call


def check_inputs(graph: GraphInfo, inputs: Mapping[str, NDArray[np.generic]]) -> None:
    """Raise `InputError` unless `inputs` are exactly the graph's, by name, type and shape (-1: any size >= 1)."""
    expected = {tensor.name: tensor for tensor in graph.inputs}
    if set(inputs) != set(expected):
        raise InputError(f"{graph.name} takes the inputs {sorted(expected)}, got {sorted(inputs)}")
    for name, tensor in expected.items():
        value = inputs[name]
        fits = value.ndim == len(tensor.shape) and all(
            size == want or (want == -1 and size >= 1) for size, want in zip(value.shape, tensor.shape, strict=True)
        )
        if not fits or str(value.dtype) != tensor.dtype:
            raise InputError(
                f"input {name!r} of {graph.name} must be {tensor.dtype} of shape {tensor.shape}, "
                f"got {value.dtype} of shape {value.shape}"
            )

"""The protocol that every runtime keeps: the same verbs, whatever runs underneath."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from drnn_models.description import Availability
from drnn_models.errors import InputError
from drnn_runtimes.bundle import Bundle, GraphInfo

if TYPE_CHECKING:
    from drnn_runtimes.stream import Stream

Arrays = dict[str, NDArray[np.generic]]


class Session(Protocol):
    """A loaded graph."""

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Compute all outputs for one batch. Raises `InputError` for a wrong name, type or shape."""

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """A call that reads these arrays and writes into those, again and again, as they are at that time.

        Raises `InputError` like `run`. The arrays must be contiguous and stay where they are.
        """


class Runtime(Protocol):
    """A way of running bundles."""

    @property
    def name(self) -> str:
        """As in `--runtime` and tables."""

    @property
    def reads_graph(self) -> bool:
        """Whether the graph's file is what runs; otherwise the weights are, and emissions make no difference."""

    @property
    def runs_any_graph(self) -> bool:
        """Whether `load` takes any ONNX file, so that a graph can be changed to show what is inside it."""

    @property
    def caveat(self) -> str:
        """What a passed check does not show, for reports; "" where the graph or the weights ran as they will."""

    def availability(self) -> Availability:
        """Whether `load` can work on this machine; never raises."""

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Why this runtime cannot run this graph of this bundle here, or "" where it can."""

    def load(self, bundle: Bundle, graph: GraphInfo) -> AbstractContextManager[Session]:
        """Open a session; leaving the context frees what it holds.

        Raises `RuntimeUnavailableError` where the runtime is missing or would fall back to another device, `InputError`
        for a damaged graph, `EngineError` for an engine that does not fit this machine.
        """

    def stream(
        self, bundle: Bundle, form: str | None = None, *, batch: int | None = None
    ) -> AbstractContextManager[Stream]:
        """Open a stream through a graph with state; see `drnn_runtimes.stream.Streaming`, which has it for all."""


class Copying:
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

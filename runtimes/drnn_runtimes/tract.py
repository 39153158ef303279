"""tract, Sonos's runtime for small devices, on the CPU."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.graph_file import read_graph
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession, check_inputs

_FIX = "pip install 'drnn-deploy[tract]'"


class TractRuntime(StreamingRuntime):
    """Runs a bundle's ONNX graphs of one batch through tract."""

    name = "tract"
    reads_graph = True

    def availability(self) -> Availability:
        """Whether the package can be imported."""
        if importlib.util.find_spec("tract") is None:
            return Availability(False, "tract is not installed", _FIX)
        import tract

        return Availability(True, f"tract {tract.version()}, CPU")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Whatever has no fixed batch."""
        return "" if graph.batch else "takes one fixed batch, the graph any"

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[TractSession]:
        import tract

        path = bundle.path(graph.file)
        if not bundle.checked:
            read_graph(path, bundle.spec, graph)
        try:
            model = tract.onnx().load(str(path)).into_model().into_runnable()
        except tract.TractError as error:
            raise InputError(f"{path} cannot be loaded: {_reason(error)}") from error
        yield TractSession(model, graph)


class TractSession(CopyingSession):
    """See `drnn_runtimes.session.Session`."""

    def __init__(self, model: Any, graph: GraphInfo) -> None:
        self._model, self._graph = model, graph

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in float32."""
        import tract

        check_inputs(self._graph, inputs)
        try:
            outputs = self._model.run([inputs[tensor.name] for tensor in self._graph.inputs])
        except tract.TractError as error:
            raise InputError(f"tract cannot run {self._graph.name}: {_reason(error)}") from error
        return {tensor.name: value.to_numpy() for tensor, value in zip(self._graph.outputs, outputs, strict=True)}


def _reason(error: Exception) -> str:
    """Tract's own words in one line, without the stack that it adds where RUST_BACKTRACE is set."""
    return "; ".join(line.strip() for line in str(error).partition("Stack backtrace")[0].splitlines() if line.strip())

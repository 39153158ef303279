"""The oracle as a runtime: the loop in float64 over a bundle's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession
from drnn_runtimes.streaming.delay_lines import LAYER_BY_LAYER, next_states, whole_lines


class ReferenceRuntime(StreamingRuntime):
    """Runs the weights of a bundle in float64; always there, slow, and right by construction."""

    name = "reference"
    is_reference = True
    reads_graph = False

    def availability(self) -> Availability:
        """Always usable."""
        return Availability(True, f"NumPy {np.__version__}, float64, CPU")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Every form is the same equation, but a skewed graph has its layers at different steps."""
        return LAYER_BY_LAYER if graph.delay else ""

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[ReferenceSession]:
        yield ReferenceSession(bundle, graph)


class ReferenceSession(CopyingSession):
    """See `drnn_runtimes.session.Session`."""

    def __init__(self, bundle: Bundle, graph: GraphInfo) -> None:
        self._network = self._spec = bundle.spec
        self._weights, self._graph = bundle.weights, graph

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in float64, states too."""
        lines = whole_lines(self._network, self._graph, inputs) if self._graph.states else None
        reference = run_reference(self._network, self._weights, inputs["input"], lines)
        return {"output": reference.outputs, **next_states(self._graph, reference.state)}

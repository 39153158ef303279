"""Every kind of graph of random networks, as a bundle of its own, with what is right for its first steps from zero."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.types import PRECISIONS
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Head, ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.reference.low_precision import graph_weights
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.streaming.delay_lines import zero_states
from tests.networks import Case, make_case, specs
from tests.runtimes.bundle import graphs
from tests.runtimes.bundle.graphs import info_of

DYNAMIC = 2  # sequences through a graph that takes any number


@dataclasses.dataclass(frozen=True)
class Graph:
    """One graph, alone in a bundle without other files."""

    bundle: Bundle
    info: GraphInfo
    case: Case

    def outputs(self, runtime: StreamingRuntime) -> NDArray[np.generic]:
        """From zero states, whether or not the runtime says that it can."""
        with runtime._open(self.bundle, self.info) as session:
            inputs = self.case.inputs[:, : self.info.steps]
            return session.run({"input": inputs, **zero_states(self.info, len(inputs))})["output"]

    def passes(self, outputs: NDArray[np.generic]) -> bool:
        """Whether they are those of the equation, as parity sees it."""
        case, precision = self.case, self.info.precision
        weights = graph_weights(case.weights, precision)
        right, limit = run_reference(case.spec, weights, case.inputs).outputs, case.limit(precision)
        return outputs.shape == right.shape and bool((np.abs(outputs - right) <= limit + 1e-30).all())


def write_graph(folder: Path, spec: ModelSpec, request: GraphRequest, seed: int = 0) -> Graph:
    """Emit a graph of a network with random weights.

    Raises:
        InputError: There is no such graph.
    """
    case = make_case(spec, request.batch or DYNAMIC, request.steps, seed)
    model = emit(spec, case.weights, request)
    folder.mkdir(exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    info = info_of(spec, request, model)
    return Graph(Bundle(folder, spec, {}, (info,), (), {}, {}), info, case)


def requests() -> st.SearchStrategy[GraphRequest]:
    """Graphs of up to 16 steps that answer at once (a skewed one is right after some steps only)."""
    emissions, precisions = ("fused", "unrolled", "mixed", "blocked"), (*PRECISIONS, "fp32", "fp32")
    return graphs.requests(16, (1, 1, 2, 3, None), emissions, range(2, 6), precisions)


@st.composite
def networks(draw: st.DrawFn) -> ModelSpec:
    """Whose heads answer every step, so that those of a chunk are those of a sequence."""
    spec = draw(specs())
    return dataclasses.replace(spec, head=Head("sequence", spec.head.outputs))

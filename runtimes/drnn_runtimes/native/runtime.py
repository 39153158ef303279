"""The compiled network as a runtime: `drnn.h` with a bundle's weights, on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.native.compiler import compiler_availability
from drnn_runtimes.native.kernel import Kernel
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession, check_inputs
from drnn_runtimes.streaming.delay_lines import LAYER_BY_LAYER, next_states, whole_lines


class NativeRuntime(StreamingRuntime):
    """Compiles a bundle's network with the C compiler of the machine: from its weights, never from what lies in it."""

    name = "native"
    reads_graph = False

    def availability(self) -> Availability:
        """Whether there is a C compiler."""
        return compiler_availability()

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Every form in float32, but a skewed graph has its layers at different steps."""
        if graph.delay:
            return LAYER_BY_LAYER
        return "" if graph.precision == "fp32" else f"computes in fp32, the graph in {graph.precision}"

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[NativeSession]:
        """Compile the network, or take what was compiled before."""
        yield NativeSession(Kernel(bundle.spec, bundle.weights), graph)


class NativeSession(CopyingSession):
    """See `drnn_runtimes.session.Session`."""

    def __init__(self, kernel: Kernel, graph: GraphInfo) -> None:
        self._kernel, self._graph = kernel, graph

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in float32."""
        check_inputs(self._graph, inputs)
        samples, spec = inputs["input"], self._kernel.spec
        if self._graph.pruned:
            return {"output": self._shaped(self._kernel.run(samples))}
        stream = self._kernel.stream(len(samples))
        if not self._graph.states:
            return {"output": self._shaped(stream.push(samples))}
        stream.set_lines(whole_lines(spec, self._graph, inputs))
        output = self._shaped(stream.push(samples))
        return {"output": output, **next_states(self._graph, stream.lines())}

    def _shaped(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, outputs) with head `last`, else (B, k, outputs)."""
        return outputs[:, 0] if self._kernel.spec.head.kind == "last" else outputs

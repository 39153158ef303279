"""The compiled kernel as a runtime: `drnn.h` over a bundle's weights, on the CPU, in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.native.compiler import compiler_availability
from drnn_runtimes.native.kernel import Kernel, KernelStream
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession
from drnn_runtimes.streaming.delay_lines import LAYER_BY_LAYER, next_states, whole_lines

_PRECISIONS = "fp32", "int8"


class NativeRuntime(StreamingRuntime):
    """Runs the weights of a bundle through `drnn.h`, compiled once for each cell by the C compiler of this machine."""

    name = "native"
    reads_graph = False

    def availability(self) -> Availability:
        """Whether there is a C compiler, and `drnn.h` knows the processor."""
        return compiler_availability()

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """The kernel computes every form, with float32 or int8 weights, but no graph whose layers are skewed."""
        if graph.delay:
            return LAYER_BY_LAYER
        return "" if graph.precision in _PRECISIONS else f"computes in fp32 or int8, the graph in {graph.precision}"

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[NativeSession]:
        yield NativeSession(Kernel(bundle.spec, bundle.weights, narrow=graph.precision == "int8"), graph)


class NativeSession(CopyingSession):
    """See `drnn_runtimes.session.Session`. The kernel looks at tokens."""

    def __init__(self, kernel: Kernel, graph: GraphInfo) -> None:
        self._kernel, self._graph = kernel, graph

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in float32, states too."""
        if not self._graph.states:
            return {"output": self._shaped(self._kernel.run(inputs["input"]))}
        stream = KernelStream(self._kernel, inputs["input"])
        stream.set_lines(whole_lines(self._kernel.spec, self._graph, inputs))
        outputs = self._shaped(stream.run())
        return {"output": outputs, **next_states(self._graph, stream.lines())}

    def _bound(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """Whole sequences of numbers are read and written in place."""
        arrays = [*inputs.values(), *outputs.values()]
        in_place = len(arrays) == 2 and all(array.flags.c_contiguous for array in arrays)
        if self._graph.states or not in_place or arrays[0].dtype.kind != "f":
            return super()._bound(inputs, outputs)
        return self._kernel.bind(*arrays)

    def stream(self, samples: NDArray[np.generic]) -> KernelStream:
        """See `drnn_runtimes.streaming.buffers.KeepsLines`."""
        return KernelStream(self._kernel, samples)

    def _shaped(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, k, outputs) as the graph gives them: without k with head `last`."""
        return outputs[:, 0] if self._kernel.spec.head.kind == "last" else outputs

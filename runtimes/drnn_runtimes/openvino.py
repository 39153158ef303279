"""OpenVINO on the CPU as a runtime, in float32."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, Availability
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.functions import NO_FUNCTIONS
from drnn_runtimes.bundle.graph_file import read_graph
from drnn_runtimes.packages import broken, imported
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession

MOST_NODES = 5000  # it compiles 2,256 in 5 s and 15,754 in 49 s
_WIDE = (
    "OpenVINO computes fp16 graphs in fp32 but for the weights: what rounding to fp16 does, and fp16's range, were not "
    "checked; tensorrt-network does"
)


class OpenVinoRuntime(StreamingRuntime):
    """Runs a bundle's ONNX graphs through OpenVINO's CPU plugin.

    Args:
        threads: Of a run; None for OpenVINO's default.
    """

    name = "openvino"
    reads_graph = runs_any_graph = has_threads = True

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads

    def availability(self) -> Availability:
        """Whether the package is here."""
        openvino = imported("openvino", "OpenVINO", "'drnn-deploy[openvino]'")
        if isinstance(openvino, Availability):
            return openvino
        try:
            devices = openvino.Core().available_devices
        except Exception as error:  # it finds no plugins
            return broken("openvino", "OpenVINO", _reason(error))
        version = f"OpenVINO {openvino.__version__.partition('-')[0]}"
        if "CPU" not in devices:
            return Availability(False, f"{version} has no plugin for this CPU", "Choose another runtime.")
        return Availability(True, f"{version}, float32, CPU")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Large graphs would take minutes to compile, and it reads no functions."""
        if graph.emission == "plugin":
            return f"OpenVINO {NO_FUNCTIONS}"
        if graph.nodes > MOST_NODES:
            return f"{graph.nodes:,} nodes are more than the {MOST_NODES:,} that it compiles in reasonable time"
        return ""

    def caveat(self, graph: GraphInfo) -> str:
        """That float16 becomes float32. bfloat16 is rounded to where the graph says so."""
        return _WIDE if graph.precision == "fp16" else ""

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[OpenVinoSession]:
        """Raises InputError where the graph is damaged."""
        path = bundle.path(graph.file)
        if not bundle.checked:
            read_graph(path, bundle.spec, graph)
        try:
            compiled = self._compiled(path, graph)
        except RuntimeError as error:
            raise InputError(f"{path} cannot be loaded: {_reason(error)}") from error
        yield OpenVinoSession(compiled, graph, bundle.spec)

    def _compiled(self, path: Path, graph: GraphInfo) -> Any:
        import openvino
        from openvino.passes import ConstantFolding, Manager

        core = openvino.Core()
        model = core.read_model(path)
        if PRECISIONS[graph.precision].weights_only:  # it cannot compile products of them with constant zeros
            manager = Manager()
            manager.register_pass(ConstantFolding())
            manager.run_passes(model)
        # Without the first, a CPU with units for bfloat16 would round every product to that.
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        threads = {} if self._threads is None else {"INFERENCE_NUM_THREADS": self._threads}
        return core.compile_model(model, "CPU", settings | threads)


class OpenVinoSession(CopyingSession):
    """See `drnn_runtimes.session.Session`."""

    _by_address = True

    def __init__(self, compiled: Any, graph: GraphInfo, spec: ModelSpec) -> None:
        self._compiled, self._graph, self._spec = compiled, graph, spec
        self._request, self._alone = compiled.create_infer_request(), threading.Lock()  # to make one takes 1 ms

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in float32. Threads that share a session run one after the other."""
        with self._alone, self._refusing():
            results = self._request.infer(dict(inputs), share_inputs=True)
            return {tensor.name: results[tensor.name] for tensor in self._graph.outputs}

    def _bound(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """The arrays themselves are bound."""
        import openvino

        with self._refusing():
            request = self._compiled.create_infer_request()
            bound = {name: openvino.Tensor(value, shared_memory=True) for name, value in (inputs | outputs).items()}
            request.set_tensors(bound)

        def call(held: Any = bound) -> None:
            with self._refusing():
                request.infer()

        return call

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError) as error:  # of a wrong graph; of an array that cannot be bound
            raise InputError(f"OpenVINO cannot run {self._graph.name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The first line that says what is wrong, not where in OpenVINO's sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Exception from")), type(error).__name__)

"""OpenVINO on the CPU as a runtime, in float32."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.graph_file import read_graph
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, check_inputs

_FIX = "pip install 'drnn-deploy[openvino]'"


class OpenVinoRuntime(StreamingRuntime):
    """Runs a bundle's ONNX graphs through OpenVINO's CPU plugin.

    Args:
        threads: For all of a graph; None for OpenVINO's default.
    """

    name = "openvino"
    reads_graph = True

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads

    def availability(self) -> Availability:
        """Whether the package can be imported."""
        if importlib.util.find_spec("openvino") is None:
            return Availability(False, "OpenVINO is not installed", _FIX)
        import openvino

        return Availability(True, f"OpenVINO {openvino.__version__.partition('-')[0]}, CPU")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Nothing."""
        return ""

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[OpenVinoSession]:
        """Raises InputError where the graph is damaged."""
        import openvino

        path = bundle.path(graph.file)
        if not bundle.checked:
            read_graph(path, bundle.spec, graph)
        try:
            compiled = openvino.Core().compile_model(str(path), "CPU", self._settings())
        except RuntimeError as error:
            raise InputError(f"{path} cannot be loaded: {_first_line(error)}") from error
        yield OpenVinoSession(compiled, graph)

    def _settings(self) -> dict[str, Any]:
        """Float32 all through: CPUs with units for bfloat16 would be given that otherwise."""
        settings = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY", "PERFORMANCE_HINT": "LATENCY"}
        return settings if self._threads is None else settings | {"INFERENCE_NUM_THREADS": self._threads}


class OpenVinoSession:
    """See `drnn_runtimes.session.Session`."""

    def __init__(self, compiled: Any, graph: GraphInfo) -> None:
        self._compiled, self._graph = compiled, graph

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in float32."""
        check_inputs(self._graph, inputs)
        request = self._compiled.create_infer_request()
        try:
            results = request.infer(dict(inputs), share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise self._refused(error) from error
        return {tensor.name: results[tensor.name] for tensor in self._graph.outputs}

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """The arrays themselves are bound."""
        import openvino

        check_inputs(self._graph, inputs)
        request = self._compiled.create_infer_request()
        for name, value in (inputs | outputs).items():
            request.set_tensor(name, openvino.Tensor(value, shared_memory=True))
        held = (inputs, outputs)

        def call(infer: Any = request.infer, held: Any = held) -> None:
            infer()

        return call

    def _refused(self, error: Exception) -> InputError:
        return InputError(f"OpenVINO cannot run {self._graph.name}: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]

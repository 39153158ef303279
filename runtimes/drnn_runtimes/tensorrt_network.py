"""What TensorRT's compiler is given, checked without a GPU: the network that NVIDIA's parser makes, evaluated in NumPy.

It proves gate order, reset gate, fold, state and types of the parsed network. The engine is not executed: that takes a
GPU and runtime `tensorrt` or `tensorrt-rtx`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drnn_models import cuda
from drnn_models.cuda import Flavour, TensorRTModule
from drnn_models.description import Availability
from drnn_models.errors import InputError, RuntimeUnavailableError
from drnn_models.tensorrt_parser import RefusedError, parse_network
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.network_program import NetworkProgram
from drnn_runtimes.runtime import Arrays, Copying, check_inputs
from drnn_runtimes.stream import Streaming

MOST_NODES = 6_000  # of the graph; beyond it the parser and the walk take longer than a minute
_FLAVOURS: tuple[Flavour, ...] = ("tensorrt", "tensorrt-rtx")


class TensorRTNetworkRuntime(Streaming):
    """See `drnn_runtimes.runtime.Runtime`. Uses whichever of NVIDIA's modules is installed."""

    name = "tensorrt-network"
    reads_graph = True

    def availability(self) -> Availability:
        """Usable with either of NVIDIA's modules; no GPU, no driver."""
        module = _module()
        if module is None:
            return Availability(
                False, "neither TensorRT nor TensorRT-RTX is installed", "pip install 'drnn-deploy[rtx]'"
            )
        what = "the network of its parser, evaluated in NumPy; the engine is not executed"
        return Availability(True, f"{module.title} {module.version}: {what}")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Says so where the walk would take minutes."""
        if graph.nodes > MOST_NODES:
            return f"{graph.nodes:,} nodes are more than the {MOST_NODES:,} that are walked in reasonable time"
        return ""

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[TensorRTNetworkSession]:
        """Parse the graph and read the network.

        Raises `RuntimeUnavailableError` without NVIDIA's modules, `InputError` where the parser refuses the graph or
        the network holds what is not evaluated.
        """
        module = _module()
        if module is None:
            available = self.availability()
            raise RuntimeUnavailableError(f"{self.name}: {available.detail}", available.fix)
        logger = cuda.collecting_logger(module.loaded)
        builder = module.loaded.Builder(logger)
        try:
            network = parse_network(module.loaded, builder, logger, str(bundle.path(graph.file)))
        except RefusedError as error:
            details = "; ".join(" ".join(text.split()) for text in error.details[:3])
            raise InputError(f"{module.title} {module.version} on {graph.file}: {error}: {details}") from error
        constants = functools.partial(_constants, bundle.path(graph.file))
        yield TensorRTNetworkSession(NetworkProgram(module.loaded, network, constants), graph)


class TensorRTNetworkSession(Copying):
    """See `drnn_runtimes.runtime.Session`."""

    def __init__(self, program: NetworkProgram, graph: GraphInfo) -> None:
        self._program, self._graph = program, graph

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in the types that TensorRT's network declares."""
        check_inputs(self._graph, inputs)
        found: Arrays = self._program.run(inputs)
        for tensor in self._graph.outputs:
            got = found.get(tensor.name)
            if got is None or str(got.dtype) != tensor.dtype:
                what = "is missing" if got is None else f"is {got.dtype} and not {tensor.dtype}"
                raise InputError(f"output {tensor.name!r} of TensorRT's network {what}")
        return found


@functools.lru_cache(maxsize=1)
def _constants(path: Path) -> Arrays:
    import onnx

    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def _module() -> TensorRTModule | None:
    found = (cuda.tensorrt_module(flavour) for flavour in _FLAVOURS)
    return next((module for module in found if module.loaded is not None), None)

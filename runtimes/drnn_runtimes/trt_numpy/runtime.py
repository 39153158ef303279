"""What TensorRT's compiler is given, checked without a GPU: the network that NVIDIA's parser makes, evaluated in NumPy.

It proves gate order, reset gate, fold, state and types of the parsed network. The engine is not executed: that takes a
GPU and runtime `tensorrt` or `tensorrt-rtx`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drnn_core import gpu
from drnn_core.errors import InputError
from drnn_core.types import Availability
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.graph_file import parse_graph, read_graph
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession
from drnn_runtimes.trt.bindings import (
    Flavour,
    RefusedError,
    TensorRTModule,
    collecting_logger,
    parse_network,
    tensorrt_module,
)
from drnn_runtimes.trt_numpy.program import NetworkProgram

if TYPE_CHECKING:
    import onnx

# Of the graph. 15,736 take 4 s to parse and read, and with the golden data 11 s, where the reference takes 8.
MOST_NODES = 20_000
_FLAVOURS: tuple[Flavour, ...] = ("tensorrt-rtx", "tensorrt")


class TensorRTNetworkRuntime(StreamingRuntime):
    """See `drnn_runtimes.runtime.Runtime`. Uses whichever of NVIDIA's modules is installed."""

    name = "tensorrt-network"
    reads_graph = runs_any_graph = True

    def caveat(self, graph: GraphInfo) -> str:
        """That no engine ran."""
        return "the network of NVIDIA's parser was checked; the engine was not executed"

    def availability(self) -> Availability:
        """Usable with TensorRT-RTX on any machine, and with TensorRT where there is a GPU."""
        module = _module()
        if module is None:
            what = "TensorRT-RTX is not installed, and TensorRT, whose parser needs a GPU, is not usable either"
            return Availability(False, what, "pip install 'drnn-deploy[rtx]'")
        what = "the network of its parser, evaluated in NumPy; the engine is not executed"
        return Availability(True, f"{module.title} {module.version}: {what}")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Large graphs would take minutes to walk."""
        if graph.nodes > MOST_NODES:
            return f"{graph.nodes:,} nodes are more than the {MOST_NODES:,} that are walked in reasonable time"
        return ""

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[TensorRTNetworkSession]:
        """Parse the graph and read the network.

        Raises:
            InputError: The parser refuses the graph, or the network holds what is not evaluated.
        """
        module = _module()
        assert module is not None, "availability() has seen it"
        read = parse_graph if bundle.checked else read_graph
        model = read(bundle.path(graph.file), bundle.spec, graph)
        logger = collecting_logger(module.loaded)
        builder = module.loaded.Builder(logger)
        try:
            network = parse_network(module.loaded, builder, logger, str(bundle.path(graph.file)))
        except RefusedError as error:
            details = "; ".join(" ".join(text.split()) for text in error.details[:3])
            raise InputError(f"{module.title} {module.version} on {graph.file}: {error}: {details}") from error
        program = NetworkProgram(module.loaded, network, functools.cache(lambda: _constants(model)))
        _check_edges(program, graph)
        yield TensorRTNetworkSession(program, graph, bundle.spec)


class TensorRTNetworkSession(CopyingSession):
    """See `drnn_runtimes.session.Session`."""

    def __init__(self, program: NetworkProgram, graph: GraphInfo, spec: ModelSpec) -> None:
        self._program, self._graph, self._spec = program, graph, spec

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in the types that TensorRT's network declares."""
        outputs: Arrays = self._program.run(inputs)
        return outputs


def _constants(model: onnx.ModelProto) -> Arrays:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _check_edges(program: NetworkProgram, graph: GraphInfo) -> None:
    """Raise `InputError` unless the network takes and gives what the manifest says, but for sizes one leaves free."""
    for side, in_network, in_manifest in (
        ("takes", program.inputs, graph.inputs),
        ("gives", program.outputs, graph.outputs),
    ):
        same = len(in_network) == len(in_manifest) and all(
            (got.name, got.dtype) == (want.name, want.dtype)
            and len(got.shape) == len(want.shape)
            and all(-1 in pair or pair[0] == pair[1] for pair in zip(got.shape, want.shape, strict=True))
            for got, want in zip(in_network, in_manifest, strict=True)
        )
        if not same:
            shown, expected = (
                [dataclasses.astuple(tensor) for tensor in tensors] for tensors in (in_network, in_manifest)
            )
            raise InputError(
                f"TensorRT's network of {graph.file} {side} {shown}, the manifest says {expected}",
                "Export it again: drnn-export model.pt",
            )


def _module() -> TensorRTModule | None:
    """TensorRT-RTX, else TensorRT with a GPU: without one its builder, which every network needs, does not start."""
    modules = {flavour: tensorrt_module(flavour) for flavour in _FLAVOURS}
    usable = (flavour for flavour, module in modules.items() if module.loaded is not None)
    chosen = next((flavour for flavour in usable if flavour == "tensorrt-rtx" or gpu.gpu() is not None), None)
    return modules[chosen] if chosen else None

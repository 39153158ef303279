"""ONNX Runtime on the CPU or through its CUDA or TensorRT provider, without silent fallback."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.types import PRECISIONS, Availability
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.graph_file import read_graph
from drnn_runtimes.onnxrt.cuda_libraries import FIX as LIBRARIES_FIX
from drnn_runtimes.onnxrt.cuda_libraries import load_cuda
from drnn_runtimes.onnxrt.providers import (
    GPU_FIX,
    NO_FALLBACK,
    PROVIDERS,
    RECORD,
    WEIGHTS_ONLY,
    Device,
    check_placement,
    describe,
    elsewhere,
    missing_tensorrt,
    prepared,
    provider_settings,
)
from drnn_runtimes.packages import imported
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession

_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)"}
_REBUILD = "Export it again: drnn-export model.pt"


class OnnxRuntime(StreamingRuntime):
    """Runs a bundle's ONNX graphs through one provider.

    Args:
        device: "cpu", "cuda" or "tensorrt".
        threads: Within one operator; None for ONNX Runtime's default.
    """

    reads_graph = runs_any_graph = True

    def __init__(self, device: Device, threads: int | None = None) -> None:
        self._device, self._threads = device, threads
        self.name = f"onnxruntime-{device}"
        self.has_threads = device == "cpu"

    def availability(self) -> Availability:
        """Whether ONNX Runtime has the provider and, for CUDA and TensorRT, a GPU and libraries to run it with."""
        onnxruntime = imported("onnxruntime", "ONNX Runtime", "drnn-deploy")
        if isinstance(onnxruntime, Availability):
            return onnxruntime
        version, provider = f"ONNX Runtime {onnxruntime.__version__}", PROVIDERS[self._device]
        if provider not in onnxruntime.get_available_providers():
            return Availability(False, f"{version} was built without {provider}", GPU_FIX)
        if self._device == "cpu":
            return Availability(True, f"{version}, CPU")
        from drnn_core.gpu import gpu, gpu_reason

        device, title = gpu(), {"cuda": "CUDA", "tensorrt": "TensorRT"}[self._device]
        if device is None:
            return Availability(False, f"{version} has the {title} provider, but {gpu_reason()}", GPU_FIX)
        with prepared(self._device):
            absent = load_cuda()
        if absent:
            said = f"{version} has the {title} provider, but cannot load {', '.join(absent)}"
            return Availability(False, said, LIBRARIES_FIX)
        if self._device == "tensorrt" and (missing := missing_tensorrt()):
            release = missing[0].rpartition(".")[2]
            return Availability(
                False,
                f"{version} has the TensorRT provider, but cannot load {', '.join(missing)}",
                f"Install TensorRT {release} itself: pip install 'tensorrt=={release}.*'",
            )
        return Availability(True, f"{version}, {title} on {device.name}")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Every graph of a bundle is ONNX, but not every provider has all types of products."""
        return PRECISIONS[graph.precision].not_in_onnxruntime.get(self._device, "")

    def caveat(self, graph: GraphInfo) -> str:
        """Where a provider computes in other types than the graph says."""
        return PRECISIONS[graph.precision].widened.get(self._device, "")

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[OnnxRuntimeSession]:
        """Where every node landed is read back after each opening.

        It costs 0.1 ms for 30 nodes, and 4 % of the 3.4 s of opening 15,736.

        Raises:
            RuntimeUnavailableError: Nodes would run on another provider; the message names them.
            InputError: The graph is damaged.
        """
        if not bundle.checked:
            read_graph(bundle.path(graph.file), bundle.spec, graph)
        with prepared(self._device):
            yield OnnxRuntimeSession(self._placed_session(bundle, graph), graph, bundle.spec)

    def _placed_session(self, bundle: Bundle, graph: GraphInfo) -> Any:
        path, provider = bundle.path(graph.file), PROVIDERS[self._device]
        digest = bundle.files[graph.file] if self._device == "tensorrt" else ""  # the others keep nothing
        settings = provider_settings(self._device, graph, digest)
        try:
            session = self._session(str(path), settings)
        except Exception as error:  # ONNX Runtime's exceptions share no documented base class
            reason = str(error).splitlines()[0]
            if self._device == "cpu":
                raise InputError(f"{path} cannot be loaded: {reason}", _REBUILD) from error
            what = f"{self.name} cannot run {graph.name}: {self._misplaced(str(path), settings) or reason}"
            raise RuntimeUnavailableError(what, GPU_FIX) from error
        values = [*session.get_inputs(), *session.get_outputs()]
        declared = [(v.name, v.type, tuple(d if isinstance(d, int) else -1 for d in v.shape)) for v in values]
        wanted = [(t.name, _TYPES[t.dtype], tuple(t.shape)) for t in (*graph.inputs, *graph.outputs)]
        if declared != wanted:
            raise InputError(f"{path} takes and gives {declared}, the manifest says {wanted}", _REBUILD)
        check_placement(session, provider, f"{self.name} on {graph.name}")
        return session

    def _session(self, path: str, settings: dict[str, str], *, strict: bool = True) -> Any:
        """strict: ONNX Runtime itself refuses what would run on the CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # failures reach the user as exceptions
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        options.add_session_config_entry(RECORD, "1")
        options.add_session_config_entry(WEIGHTS_ONLY, "1")
        if strict and self._device != "cpu":
            options.add_session_config_entry(NO_FALLBACK, "1")
        providers = [(PROVIDERS[self._device], settings)]
        return onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)

    def _misplaced(self, path: str, settings: dict[str, str]) -> str:
        """What ONNX Runtime does not say when it refuses: which nodes would have run elsewhere."""
        provider = PROVIDERS[self._device]
        with contextlib.suppress(Exception):
            wrong = elsewhere(self._session(path, settings, strict=False), provider)
            return describe(wrong, provider) if wrong else ""
        return ""


class OnnxRuntimeSession(CopyingSession):
    """See `drnn_runtimes.session.Session`."""

    def __init__(self, session: Any, graph: GraphInfo, spec: ModelSpec | None = None) -> None:
        self._session, self._graph, self._spec = session, graph, spec
        self._names = [tensor.name for tensor in graph.outputs]
        self._by_address = session.get_providers()[0] == PROVIDERS["cpu"]

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in the graph's precision."""
        try:
            outputs = self._session.run(self._names, dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions share no documented base class
            raise self._refused(error) from error
        return dict(zip(self._names, outputs, strict=True))

    def _bound(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """On the CPU the arrays themselves are bound; a GPU copies from and to them."""
        if not self._by_address:
            return super()._bound(inputs, outputs)
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_input(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        for name, value in outputs.items():
            binding.bind_output(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        held = (inputs, outputs)  # bound by address: they must live as long as the call

        def call(run: Any = self._session.run_with_iobinding, held: Any = held) -> None:
            try:
                run(binding)
            except Exception as error:  # as in `_compute`
                raise self._refused(error) from error

        return call

    def _refused(self, error: Exception) -> InputError:
        return InputError(f"ONNX Runtime cannot run {self._graph.name}: {str(error).splitlines()[0]}")

"""ONNX Runtime on the CPU or through its CUDA provider, without silent fallback."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_models.description import Availability
from drnn_models.errors import InputError, RuntimeUnavailableError
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Arrays, Copying, check_inputs
from drnn_runtimes.stream import Streaming

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)"}
_REBUILD = "Export it again: drnn-export model.pt"
_GPU_FIX = "Run on a machine with an NVIDIA GPU and driver, with onnxruntime-gpu, CUDA and cuDNN installed."


class OnnxRuntime(Streaming):
    """Runs a bundle's ONNX graphs. `device`: "cpu" or "cuda"; `threads`: within one operator, None for the default."""

    reads_graph = runs_any_graph = True

    def __init__(self, device: str, threads: int | None = None) -> None:
        self._device, self._threads = device, threads
        self.name = f"onnxruntime-{device}"

    def availability(self) -> Availability:
        """Whether ONNX Runtime has the provider and, for CUDA, a GPU to run it on."""
        if importlib.util.find_spec("onnxruntime") is None:
            return Availability(False, "ONNX Runtime is not installed", "pip install drnn-deploy")
        import onnxruntime

        version = f"ONNX Runtime {onnxruntime.__version__}"
        if _PROVIDERS[self._device] not in onnxruntime.get_available_providers():
            return Availability(False, f"{version} was built without {_PROVIDERS[self._device]}", _GPU_FIX)
        if self._device == "cpu":
            return Availability(True, f"{version}, CPU")
        from drnn_models.cuda import gpu, gpu_reason

        device = gpu()
        if device is None:
            return Availability(False, f"{version} has the CUDA provider, but {gpu_reason()}", _GPU_FIX)
        return Availability(True, f"{version}, CUDA on {device.name}")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Every graph of a bundle is ONNX, but the CPU has no products of bfloat16."""
        if graph.precision == "bf16" and self._device == "cpu":
            return "ONNX Runtime's CPU has no kernels for bfloat16"
        return ""

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[OnnxRuntimeSession]:
        """Open the graph; for CUDA, refuse any node that would run on the CPU."""
        available = self.availability()
        if not available.usable:
            raise RuntimeUnavailableError(f"{self.name}: {available.detail}", available.fix)
        yield OnnxRuntimeSession(self._open(bundle, graph), graph)

    def _open(self, bundle: Bundle, graph: GraphInfo) -> Any:
        import onnxruntime

        path, provider = bundle.path(graph.file), _PROVIDERS[self._device]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # failures reach the user as exceptions
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        settings: dict[str, str] = {}
        if self._device != "cpu":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            settings["use_tf32"] = "0"
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=[(provider, settings)])
        except Exception as error:  # ONNX Runtime's exceptions share no documented base class
            reason = str(error).splitlines()[0]
            if self._device != "cpu":
                raise RuntimeUnavailableError(f"{self.name} cannot run {graph.name}: {reason}", _GPU_FIX) from error
            raise InputError(f"{path} cannot be loaded: {reason}", _REBUILD) from error
        values = [*session.get_inputs(), *session.get_outputs()]
        found = [(v.name, v.type, tuple(d if isinstance(d, int) else -1 for d in v.shape)) for v in values]
        wanted = [(t.name, _TYPES[t.dtype], tuple(t.shape)) for t in (*graph.inputs, *graph.outputs)]
        if found != wanted:
            raise InputError(f"{path} takes and gives {found}, the manifest says {wanted}", _REBUILD)
        if session.get_providers()[0] != provider:
            raise RuntimeUnavailableError(f"{self.name} fell back to {session.get_providers()[0]}", _GPU_FIX)
        return session


class OnnxRuntimeSession(Copying):
    """See `drnn_runtimes.runtime.Session`."""

    def __init__(self, session: Any, graph: GraphInfo) -> None:
        self._session, self._graph = session, graph
        self._names = [tensor.name for tensor in graph.outputs]

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in the graph's precision."""
        check_inputs(self._graph, inputs)
        try:
            outputs = self._session.run(self._names, dict(inputs))
        except Exception as error:  # ONNX Runtime's exceptions share no documented base class
            raise self._refused(error) from error
        return dict(zip(self._names, outputs, strict=True))

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """On the CPU the arrays themselves are bound; a GPU copies from and to them."""
        if self._session.get_providers()[0] != _PROVIDERS["cpu"]:
            return super().bind(inputs, outputs)
        check_inputs(self._graph, inputs)
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_input(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        for name, value in outputs.items():
            binding.bind_output(name, "cpu", 0, value.dtype.type, value.shape, value.ctypes.data)
        held = (inputs, outputs)  # bound by address: they must live as long as the call

        def call(run: Any = self._session.run_with_iobinding, held: Any = held) -> None:
            try:
                run(binding)
            except Exception as error:  # as in `run`
                raise self._refused(error) from error

        return call

    def _refused(self, error: Exception) -> InputError:
        return InputError(f"ONNX Runtime cannot run {self._graph.name}: {str(error).splitlines()[0]}")

"""ONNX Runtime's providers: what each needs and is told, and on which of them every node of a graph landed.

A graph is static, so no node of it computes shapes, and none has a reason to be on the CPU: there are no exceptions.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from drnn_core.cache import cache_folder, shrink
from drnn_core.errors import RuntimeUnavailableError
from drnn_core.types import PRECISIONS
from drnn_core.variables import setting_variables
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.onnxrt.cuda_libraries import load_cuda

Device = Literal["cpu", "cuda", "tensorrt"]
PROVIDERS: dict[Device, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
GPU_FIX = "Run on a machine with an NVIDIA GPU and driver, with onnxruntime-gpu, CUDA and cuDNN installed."
RECORD = "session.record_ep_graph_assignment_info"
# Weights in int8 are made float32 when a session opens, once. Otherwise each run does it; and a product of float32 with
# such a matrix may become one that rounds the other factor, too: on the CPU, MatMulNBits of accuracy level 4.
WEIGHTS_ONLY = "session.disable_quant_qdq"
TF32 = "NVIDIA_TF32_OVERRIDE"
NO_FALLBACK = "session.disable_cpu_ep_fallback"
_LINKED = re.compile(rb"libnv(?:infer|infer_plugin|onnxparser)\.so\.\d+")
_SHOWN = 5  # nodes that a message names


def missing_tensorrt() -> tuple[str, ...]:
    """The libraries of TensorRT that the provider asks for and that cannot be loaded, for example libnvinfer.so.10.

    Those that can are loaded from then on: so the provider finds them also where pip put them. Empty where the provider
    is no such file (not on Linux): then opening a session tells.
    """
    return tuple(name for name in _linked() if not _loads(name))


def provider_settings(device: Device, graph: GraphInfo, sha256: str) -> dict[str, str]:
    """The options of a provider for a graph.

    CUDA: without TF32. TensorRT: float16 and bfloat16 only for graphs that are of them, no int8; engines are kept in a
    folder for this graph's bytes alone, because ONNX Runtime tells engines apart by names of nodes and not by weights;
    the batch profile of the bundle. See onnxruntime.ai, TensorRT Execution Provider, Configurations.

    Args:
        device: Whose provider, as in `PROVIDERS`.
        graph: Its precision and the batch range of its profile count.
        sha256: The digest of the graph's file, 64 hexadecimal digits.

    Returns:
        Option -> value, both as ONNX Runtime spells them; empty for the CPU.
    """
    if device == "cuda":
        return {"use_tf32": "0"}
    if device == "cpu":
        return {}
    wanted = PRECISIONS[graph.precision].provider_option
    return {
        "trt_fp16_enable": "0",
        "trt_int8_enable": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(_engine_folder(graph, sha256)),
        **({wanted: "1"} if wanted else {}),
        **_profile(graph),
    }


@contextlib.contextmanager
def prepared(device: Device) -> Iterator[None]:
    """Open and use a session inside of this: CUDA's libraries are loaded, and none of them makes use of TF32.

    NVIDIA_TF32_OVERRIDE is 0 inside unless the user has set it. TensorRT's provider has no such option; CUDA's has, but
    its recurrent operators do not heed it. It is set before the libraries are loaded, because they may read it then; in
    a process where another package has loaded them before, set it before Python starts.
    """
    if device == "cpu":
        yield
        return
    with _WITHOUT_TF32.inside():
        load_cuda()
        yield


class _WithoutTf32:
    """NVIDIA_TF32_OVERRIDE is 0 while anyone is inside, unless the user has set it; then as it was."""

    def __init__(self) -> None:
        self._lock, self._inside, self._set = threading.Lock(), 0, contextlib.ExitStack()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            if not self._inside:
                self._set.enter_context(setting_variables({} if TF32 in os.environ else {TF32: "0"}))
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._set.close()


_WITHOUT_TF32 = _WithoutTf32()


def elsewhere(session: Any, provider: str) -> list[str] | None:
    """The nodes that are not on `provider`, after ONNX Runtime's basic optimisations.

    Args:
        session: An `onnxruntime.InferenceSession` opened with `RECORD` as "1".
        provider: The execution provider that all nodes should be on.

    Returns:
        Each as: name (operator) on the provider it landed on. None where ONNX Runtime does not tell, which is before
        1.24: there a session of one provider with `NO_FALLBACK` is the only proof.
    """
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    parts = ask()
    if not parts:
        return ["every node (ONNX Runtime assigned none)"]
    return [
        f"{node.name or 'unnamed'} ({node.op_type}) on {part.ep_name}"
        for part in parts
        if part.ep_name != provider
        for node in part.get_nodes()
    ]


def check_placement(session: Any, provider: str, what: str) -> None:
    """Check that a session has `provider` and that every node is on it.

    Args:
        session: As for `elsewhere`.
        provider: As for `elsewhere`.
        what: The runtime and graph, for the message.

    Raises:
        RuntimeUnavailableError: It has not, or nodes are elsewhere; the message names them.
    """
    if session.get_providers()[0] != provider:
        raise RuntimeUnavailableError(f"{what} fell back to {session.get_providers()[0]}", GPU_FIX)
    if wrong := elsewhere(session, provider):
        raise RuntimeUnavailableError(f"{what}: {describe(wrong, provider)}", GPU_FIX)


def describe(wrong: list[str], provider: str) -> str:
    """One sentence on the nodes of `elsewhere`, of which it names the first few.

    Args:
        wrong: What `elsewhere` gave.
        provider: The execution provider that they are not on.
    """
    more = f" and {len(wrong) - _SHOWN:,} more" if len(wrong) > _SHOWN else ""
    return f"{len(wrong):,} nodes did not land on {provider}: {', '.join(wrong[:_SHOWN])}{more}"


def _engine_folder(graph: GraphInfo, sha256: str) -> Path:
    """Where ONNX Runtime keeps its engines of this graph; the folders that were used least lately go."""
    import onnxruntime

    identity = repr((sha256, graph.precision, graph.profile, onnxruntime.__version__, _linked()))
    kept = cache_folder("onnxruntime")
    folder = kept / hashlib.sha256(identity.encode()).hexdigest()
    with contextlib.suppress(OSError):  # a cache that cannot be written to: TensorRT says so itself
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
    shrink(kept, "onnxruntime")
    return folder


def _profile(graph: GraphInfo) -> dict[str, str]:
    """TensorRT's smallest, usual and largest shapes of inputs with a free batch, as NAME:AxBxC,..."""
    free = [tensor for tensor in graph.inputs if -1 in tensor.shape]
    if not free or graph.profile is None:
        return {}
    return {
        f"trt_profile_{which}_shapes": ",".join(
            f"{tensor.name}:{'x'.join(str(size if axis == -1 else axis) for axis in tensor.shape)}" for tensor in free
        )
        for which, size in zip(("min", "opt", "max"), graph.profile, strict=True)
    }


@functools.cache
def _linked() -> tuple[str, ...]:
    """The names under which the provider asks for TensorRT's libraries, read from its own file."""
    spec = importlib.util.find_spec("onnxruntime")
    folders = spec.submodule_search_locations if spec else None
    files = [Path(folder) / "capi" / "libonnxruntime_providers_tensorrt.so" for folder in folders or ()]
    names = {name for file in files if file.is_file() for name in _LINKED.findall(file.read_bytes())}
    return tuple(sorted(name.decode() for name in names))


def _loads(library: str) -> bool:
    """Whether the library is among the system's, or among those that pip installs as the package tensorrt_libs."""
    spec = importlib.util.find_spec("tensorrt_libs")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for path in (library, *(str(Path(folder) / library) for folder in folders)):
        with contextlib.suppress(OSError):
            ctypes.CDLL(path)
            return True
    return False

"""Runs a bundle's TensorRT engines, with either of NVIDIA's modules: tensorrt or tensorrt-rtx. GPU only.

An engine is compared with this machine through its sidecar before NVIDIA's Runtime sees it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator

from drnn_core import gpu
from drnn_core.errors import EngineError
from drnn_core.gpu import Gpu
from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, EngineInfo, GraphInfo
from drnn_runtimes.plugin.creator import loading_with
from drnn_runtimes.plugin.trust import carried_problem, kernel_problem
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.trt.bindings import Flavour, TensorRTModule, tensorrt_module
from drnn_runtimes.trt.session import TensorRTSession
from drnn_runtimes.trt.sidecar import REBUILD, Sidecar, this_platform


@dataclasses.dataclass(frozen=True)
class Machine:
    """What decides whether an engine loads here; the words are the sidecar's."""

    flavour: str
    version: str
    platform: str
    compute_capability: str


def engine_problem(sidecar: Sidecar, machine: Machine, *, engine_sha256: str, onnx_sha256: str) -> str:
    """Why an engine must not be loaded.

    Args:
        sidecar: What the engine is.
        machine: Where it would run.
        engine_sha256: Of the bundle's own engine file.
        onnx_sha256: Of the bundle's own graph.

    Returns:
        One sentence, or "".
    """
    if sidecar.engine_sha256 != engine_sha256:
        return "the engine is not the file that its sidecar describes: its sha256 differs"
    if sidecar.onnx_sha256 != onnx_sha256:
        return f"the engine was built from another {sidecar.onnx} than the bundle's: its sha256 differs"
    return sidecar.mismatch(**dataclasses.asdict(machine))


def edges_problem(sidecar: Sidecar, graph: GraphInfo) -> str:
    """Why an engine is none of a graph.

    Args:
        sidecar: What the engine is.
        graph: What the manifest says of the graph.

    Returns:
        One sentence, or "".
    """
    for side, built, wanted in (
        ("takes", sidecar.inputs, graph.inputs),
        ("gives", sidecar.outputs, graph.outputs),
        ("is for the batches", sidecar.batch, graph.profile),
    ):
        if built != wanted:
            return f"the engine {side} {built!s:.200}, the manifest says {wanted!s:.200}"
    return ""


class TensorRTRuntime(StreamingRuntime):
    """See `drnn_runtimes.runtime.Runtime`.

    Args:
        flavour: "tensorrt" or "tensorrt-rtx", which is also the runtime's name.
    """

    reads_graph = runs_stack = True

    def __init__(self, flavour: Flavour) -> None:
        self._flavour = flavour
        self.name: str = flavour

    def availability(self) -> Availability:
        """Usable with NVIDIA's module, a driver and a GPU."""
        module, device = tensorrt_module(self._flavour), gpu.gpu()
        if module.loaded is None:
            return Availability(False, module.reason, f"Install it: pip install {module.packages}")
        if device is None:
            return Availability(
                False,
                f"{module.title} {module.version} runs on a GPU only, and {gpu.gpu_reason()}",
                "Run on a machine with an NVIDIA GPU, its driver and cuda-bindings, or choose another runtime.",
            )
        where = f"{device.name} (compute capability {device.compute_capability}, {device.driver})"
        return Availability(True, f"{module.title} {module.version}, {where}")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """The bundle must have an engine for the graph. `load` refuses one that does not fit this machine."""
        if self._engine(bundle, graph) is None:
            return f"the bundle has no {self.name} engine for {graph.file}"
        return ""

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[TensorRTSession]:
        """Open a session on the GPU; leaving the context frees its memory there.

        Raises:
            EngineError: The engine does not fit this machine, or the GPU does not take it.
        """
        module, device = tensorrt_module(self._flavour), gpu.gpu()
        assert device is not None, "availability() has seen it"
        data, sidecar = self._fitting_engine(bundle, graph, module, device)
        session = TensorRTSession(graph, sidecar.batch, bundle.spec)
        with contextlib.closing(session):
            with _kernel_inside(module, sidecar, bundle, graph):
                session.open(module.loaded, data, sidecar.version_compatible)
            yield session

    def _engine(self, bundle: Bundle, graph: GraphInfo) -> EngineInfo | None:
        fitting = (engine for engine in bundle.engines if (engine.runtime, engine.graph) == (self.name, graph.file))
        return next(fitting, None)

    def _fitting_engine(
        self, bundle: Bundle, graph: GraphInfo, module: TensorRTModule, device: Gpu
    ) -> tuple[bytes, Sidecar]:
        """The engine's bytes and its sidecar, once nothing speaks against loading it."""
        engine = self._engine(bundle, graph)
        assert engine is not None, "unsupported() has seen it"
        sidecar = Sidecar.read(bundle.path(engine.sidecar))
        path = bundle.path(engine.file)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise EngineError(f"cannot read the engine {path}: {error.strerror or error}", REBUILD) from error
        problem = edges_problem(sidecar, graph) or engine_problem(
            sidecar,
            Machine(self.name, module.version, this_platform(), device.compute_capability),
            engine_sha256=hashlib.sha256(data).hexdigest(),
            onnx_sha256=bundle.files[graph.file],
        )
        if sidecar.kernel and not problem:
            problem = kernel_problem(sidecar.kernel, bundle.spec, graph, device.compute_capability)
        if problem:
            raise EngineError(f"{path}: {problem}", REBUILD)
        return data, sidecar


@contextlib.contextmanager
def _kernel_inside(module: TensorRTModule, sidecar: Sidecar, bundle: Bundle, graph: GraphInfo) -> Iterator[None]:
    """Let an engine be loaded whose kernel is the one of its sidecar; none where that names no kernel.

    Raises:
        EngineError: The engine holds another one, or the GPU does not take it.
    """
    inside = sidecar.kernel
    if inside is None:
        yield
        return
    with loading_with(module.loaded, lambda carried: carried_problem(carried, inside, bundle.spec, graph)) as plugins:
        try:
            yield
        except EngineError as error:
            plugins.raise_error()  # which says more than TensorRT's refusal
            raise error

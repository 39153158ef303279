"""ONNX graph -> TensorRT engine, by NVIDIA's own builder in a child process.

One adapter for two modules with the same API. `tensorrt` builds for the GPU of this machine, which must be there.
`tensorrt-rtx` also builds ahead of time, with no GPU, for a list of compute capabilities.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from drnn_core.arguments import checked_arguments
from drnn_core.errors import EngineError
from drnn_core.files import replacing, sha256
from drnn_core.gpu import Gpu, gpu, gpu_reason
from drnn_core.types import Availability, TensorInfo
from drnn_export.engine.cache import cache_key, keep, take
from drnn_export.engine.checks import check_batch, check_edges, check_graph, check_kernels, inputs_of, read_onnx
from drnn_export.engine.config import BuildControls, command_line
from drnn_export.engine.kernel_inside import as_request, kernel_of
from drnn_export.engine.kernels import read_kernels
from drnn_export.engine.process import EXPORT, run_builder
from drnn_runtimes.plugin.trust import describe
from drnn_runtimes.plugin.versions import parser_rule
from drnn_runtimes.trt.bindings import Flavour, TensorRTModule, tensorrt_module
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path, this_platform

if TYPE_CHECKING:
    import onnx as onnx_module

    from drnn_export.lint.tables import LintTarget

Backend = Flavour
BACKENDS: tuple[Backend, ...] = get_args(Backend)
AHEAD_OF_TIME = ("8.0", "8.6", "8.9", "12.0")  # one file serves them all


@checked_arguments
def backend_availability(backend: Backend, compute_capabilities: Sequence[str] = ()) -> Availability:
    """Whether `build_engine` can work with `backend` on this machine. Never raises.

    Args:
        backend: Which of NVIDIA's builders.
        compute_capabilities: Those to build for. With none, a GPU that tensorrt-rtx does not know makes the backend
            unusable; `build_engine` itself refuses unknown ones in this argument.
    """
    if backend not in BACKENDS:
        return Availability(False, f"there is no backend {backend!r}", f"Choose one of: {', '.join(BACKENDS)}.")
    module, device = tensorrt_module(backend), gpu()
    if module.loaded is None:
        return Availability(False, module.reason, f"Install it: pip install {module.packages}")
    title = f"{module.title} {module.version}"
    if device is not None:
        try:
            build_targets(backend, module, (), None if compute_capabilities else device)
        except EngineError as error:
            return Availability(False, error.message, error.fix)
        return Availability(True, f"{title}, {device.name} (compute capability {device.compute_capability})")
    if backend == "tensorrt-rtx":
        return Availability(True, f"{title}, ahead of time (no GPU: {gpu_reason()})")
    return Availability(
        False,
        f"{title} builds on a GPU only, and {gpu_reason()}",
        "Build on the machine that will run the engine, or ahead of time with the backend tensorrt-rtx.",
    )


class NotBegunError(EngineError):
    """The build of an engine is estimated to take longer than it may."""


@checked_arguments
def build_engine(
    onnx: Path | str,
    engine: Path | str,
    backend: Backend,
    *,
    compute_capabilities: Sequence[str] = (),
    controls: BuildControls | None = None,
    batch: tuple[int, int, int] | None = None,
    time_limit: float = 600.0,
    cache: Path | str | None = None,
    with_kernel: bool = False,
    estimate: float = 0.0,
) -> Sidecar:
    """Compile a graph, and write the engine with its sidecar beside it (see `sidecar_path`).

    Whatever is raised, Ctrl-C included, `engine` and its sidecar stay as they were.

    Args:
        onnx: The graph.
        engine: The file to write.
        backend: Which of NVIDIA's builders.
        compute_capabilities: For example ("8.6",). Empty means this machine's GPU or, without one and with
            tensorrt-rtx, `AHEAD_OF_TIME`.
        controls: How to build.
        batch: The smallest, usual and largest batch, for a graph with a free (batch) axis and for no other.
        time_limit: Seconds.
        cache: The folder of engines that were built before (`drnn_export.engine.cache`). An engine from there has a
            `build_seconds` of 0.
        with_kernel: Whether the project's CUDA kernel goes into the engine, in the place of the stack of layers of a
            graph of emission `plugin`; else the graph is built like any other.
        estimate: Seconds that the build is estimated to take. Over `time_limit` it is not begun; an engine that was
            built before is taken all the same.

    Returns:
        The sidecar.

    Raises:
        NotBegunError: The build is estimated to take too long.
        EngineError: The backend is missing, it refuses the graph, or the builder crashes or runs out of time.
        InputError: The file is damaged, `batch` is wrong, the place cannot be written to, or the graph has no stack
            that the kernel computes.
        RuntimeUnavailableError: The kernel is wanted, and NVRTC is not installed.
    """
    onnx, engine = Path(onnx), Path(engine)
    cache = None if cache is None else Path(cache)
    controls = controls or BuildControls()
    controls.check(backend)
    module, device = _usable(backend, compute_capabilities), gpu()
    targets = build_targets(backend, module, tuple(compute_capabilities), device)
    model, digest = read_onnx(onnx)
    inputs = inputs_of(onnx, model)
    check_batch(onnx, inputs, batch)
    check_graph(onnx, model, lint_target(backend, module.version), targets)
    kernel = kernel_of(onnx, model, targets) if with_kernel else None
    request: dict[str, Any] = {
        "kernel": as_request(kernel, parser_rule(backend, module.version)) if kernel else None,
        "module": module.loaded.__name__,
        "onnx": str(onnx.absolute()),
        "compute_capabilities": targets if backend == "tensorrt-rtx" else (),
        "controls": controls.request,
        "batch": batch,
    }
    ahead_of_time = backend == "tensorrt-rtx" and (device is None or bool(compute_capabilities))
    facts: dict[str, Any] = {
        "flavour": backend,
        "version": module.version,
        "platform": this_platform(),
        "compute_capabilities": targets,
        "driver": None if device is None or ahead_of_time else device.driver,
        "ahead_of_time": ahead_of_time,
        "onnx_sha256": digest,
        "batch": batch,
        "hardware": controls.hardware,
    }
    key = cache_key({**facts, **controls.identity, **({"kernel": [kernel.version, kernel.digests]} if kernel else {})})
    command = (
        _own_command(backend, targets)
        if kernel
        else command_line(
            backend,
            module.version,
            controls,
            onnx=onnx.name,
            engine=os.path.relpath(engine, onnx.parent),
            inputs=inputs,
            batch=batch,
            compute_capabilities=targets if ahead_of_time else (),
        )
    )
    # The sidecar is replaced first: should the machine stop in between, its sha256 tells that the engine is another.
    with replacing(engine) as built, replacing(sidecar_path(engine)) as described:
        cached = take(cache, key, digest, built) if cache else None
        if cached is not None:
            sidecar = dataclasses.replace(cached, onnx=onnx.name, build_seconds=0.0, command=command)
        elif estimate > time_limit:
            raise NotBegunError(f"it would take about {estimate:,.0f} s, over the limit of {time_limit:g} s")
        else:
            request["engine"] = str(built.absolute())
            reply = _build(onnx, request, controls.timing_cache, module, time_limit)
            facts |= {"command": command, "kernel": describe(kernel) if kernel else None}
            sidecar = _described(onnx, model, built, reply, facts)
            if cache:
                keep(cache, key, built, sidecar)
        sidecar.write(described)
    return sidecar


def _own_command(backend: Backend, targets: Sequence[str]) -> str:
    """What builds an engine with a kernel inside; NVIDIA's own tool does not."""
    wanted = "".join(f" --compute-capability {name}" for name in targets) if backend == "tensorrt-rtx" else ""
    return f"drnn-export model.pt --plugin --engine {backend}{wanted}"


def _build(
    onnx: Path, request: dict[str, Any], timings: Path | None, module: TensorRTModule, time_limit: float
) -> dict[str, Any]:
    """The builder's reply. A file of kernel timings is replaced once the build is through."""
    title = f"{module.title} {module.version}"
    if timings is None:
        return run_builder(onnx, {**request, "timings": None}, title, time_limit)
    with replacing(timings) as written:
        both = [str(timings.absolute()), str(written.absolute())]
        return run_builder(onnx, {**request, "timings": both}, title, time_limit)


def _described(
    onnx: Path, model: onnx_module.ModelProto, built: Path, reply: dict[str, Any], facts: dict[str, Any]
) -> Sidecar:
    """The sidecar of what the worker built. Raises `EngineError` where that is not what the graph asks for."""
    kernels = read_kernels(reply["layers"])
    check_kernels(onnx, model, kernels)
    sidecar = Sidecar(
        **facts,
        flags=reply["flags"],
        onnx=onnx.name,
        engine_sha256=sha256(built),
        engine_bytes=built.stat().st_size,
        build_seconds=reply["seconds"],
        inputs=tuple(map(TensorInfo.from_json, reply["inputs"])),
        outputs=tuple(map(TensorInfo.from_json, reply["outputs"])),
        kernels=None if kernels is None else kernels.count,
        loops=None if kernels is None else kernels.loops,
    )
    check_edges(onnx, model, sidecar)
    return sidecar


@checked_arguments
def build_targets(
    backend: Backend, module: TensorRTModule, requested: tuple[str, ...], device: Gpu | None
) -> tuple[str, ...]:
    """The compute capabilities to build for.

    Args:
        backend: Which of NVIDIA's builders.
        module: NVIDIA's module, loaded.
        requested: What was asked for.
        device: The GPU of this machine, or None.

    Raises:
        EngineError: `module` cannot build for one of them here.
    """
    here = (device.compute_capability,) if device else ()
    if backend == "tensorrt":
        if set(requested) - set(here):
            raise EngineError(
                f"TensorRT builds for this machine's GPU only (compute capability {', '.join(here) or 'none'}), "
                f"not for {', '.join(requested)}",
                f"Build on the machine that will run the engine: {EXPORT}",
            )
        return here
    known = known_compute_capabilities(module.loaded)
    targets = tuple(dict.fromkeys(requested)) or here or AHEAD_OF_TIME
    if unknown := [target for target in targets if target not in known]:
        raise EngineError(
            f"{module.title} {module.version} does not build for compute capability {', '.join(unknown)}; "
            f"it knows {', '.join(known)}",
            f"Use the full TensorRT for {', '.join(unknown)}, on a machine with that GPU: {EXPORT} --engine tensorrt",
        )
    return targets


def known_compute_capabilities(module: Any) -> tuple[str, ...]:
    """The compute capabilities that NVIDIA's module builds for ahead of time, ascending: ("7.5", "8.0", ...)."""
    names = [name[2:] for name in module.ComputeCapability.__members__ if name.startswith("SM")]
    return tuple(f"{name[:-1]}.{name[-1]}" for name in sorted(names, key=int))


def lint_target(backend: Backend, version: str) -> LintTarget:
    """The lint table that is nearest to this version of a backend.

    Args:
        backend: Which of NVIDIA's two builders.
        version: Its version, for example "10.3.0.26".
    """
    if backend == "tensorrt-rtx":
        return "tensorrt-rtx"
    return "tensorrt-10.3" if version.startswith("10.") else "tensorrt-11"


def _usable(backend: Backend, compute_capabilities: Sequence[str]) -> TensorRTModule:
    available = backend_availability(backend, compute_capabilities)
    if not available.usable:
        raise EngineError(f"cannot build an engine with {backend}: {available.detail}", available.fix)
    return tensorrt_module(backend)

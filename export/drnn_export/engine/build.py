"""ONNX graph -> TensorRT engine, by NVIDIA's own builder in a child process.

One adapter for two modules with the same API. `tensorrt` builds for the GPU of this machine, which must be there.
`tensorrt-rtx` also builds ahead of time, with no GPU, for a list of compute capabilities.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from drnn_core.errors import EngineError, InputError
from drnn_core.files import replacing, sha256
from drnn_core.gpu import Gpu, gpu, gpu_reason
from drnn_core.types import PRECISIONS, Availability, Precision, TensorInfo
from drnn_export.engine.cache import cache_key, keep, take
from drnn_export.engine.config import BuildControls, command_line
from drnn_export.engine.kernels import Kernels, read_kernels
from drnn_export.engine.process import EXPORT, OTHER_FORM, run_builder
from drnn_runtimes.trt.bindings import Flavour, TensorRTModule, tensorrt_module
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path, this_platform

if TYPE_CHECKING:
    import onnx as onnx_module

    from drnn_export.lint.tables import LintTarget

Backend = Flavour
BACKENDS: tuple[Backend, ...] = get_args(Backend)
AHEAD_OF_TIME = ("8.0", "8.6", "8.9", "12.0")  # one file serves them all


def backend_availability(backend: Backend, compute_capabilities: Sequence[str] = ()) -> Availability:
    """Whether `build_engine` can work with `backend` on this machine; never raises.

    compute_capabilities: those that will be asked for. With none, a GPU that tensorrt-rtx does not know is a reason why
    not; `build_engine` itself refuses unknown ones that were asked for.
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


def build_engine(
    onnx: Path,
    engine: Path,
    backend: Backend,
    *,
    compute_capabilities: Sequence[str] = (),
    controls: BuildControls | None = None,
    batch: tuple[int, int, int] | None = None,
    time_limit: float = 600.0,
    cache: Path | None = None,
    on_message: Callable[[str], None] | None = None,
) -> Sidecar:
    """Compile `onnx` and write `engine` with its sidecar beside it (see `sidecar_path`); returns the sidecar.

    compute_capabilities: for example ("8.6",). Empty means this machine's GPU or, without one and with tensorrt-rtx,
    `AHEAD_OF_TIME`. batch: smallest, usual and largest batch, for a graph whose inputs have a free (batch) axis and
    only for such a graph. time_limit: seconds. cache: folder of engines that were built before
    (`drnn_export.engine.cache`); one taken from there has a `build_seconds` of 0. on_message: gets each warning of the
    builder.

    Raises `EngineError` where the backend is missing, the graph is not taken, or the builder crashes or runs out of
    time; `InputError` for a damaged file, a wrong `batch`, or a place that cannot be written to. Whatever is raised,
    Ctrl-C included, `engine` and its sidecar stay as they were.
    """
    from drnn_export.onnx_surgery import tensor_infos

    controls = controls or BuildControls()
    controls.check(backend)
    module, device = _usable(backend, compute_capabilities), gpu()
    targets = build_targets(backend, module, tuple(compute_capabilities), device)
    model, digest = _read_graph(onnx)
    inputs = tensor_infos(model.graph.input)
    _check_batch(onnx, inputs, batch)
    _check_graph(onnx, model, lint_target(backend, module.version), targets)
    request: dict[str, Any] = {
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
    key = cache_key({**facts, **controls.identity})
    command = command_line(
        backend,
        module.version,
        controls,
        onnx=onnx.name,
        engine=os.path.relpath(engine, onnx.parent),
        inputs=inputs,
        batch=batch,
        compute_capabilities=targets if ahead_of_time else (),
    )
    warnings: list[str] = []
    # The sidecar is replaced first: should the machine stop in between, its sha256 tells that the engine is another.
    with replacing(engine) as built, replacing(sidecar_path(engine)) as described:
        found = take(cache, key, digest, built) if cache else None
        if found is not None:
            sidecar = dataclasses.replace(found, onnx=onnx.name, build_seconds=0.0, command=command)
        else:
            request["engine"] = str(built.absolute())
            reply = _build(onnx, request, controls.timing_cache, module, time_limit)
            facts["command"] = command
            sidecar, warnings = _described(onnx, model, built, reply, facts), reply["warnings"]
            if cache:
                keep(cache, key, built, sidecar)
        sidecar.write(described)
    if on_message is not None:
        for warning in warnings:
            on_message(warning)
    return sidecar


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
    _check_kernels(onnx, model, kernels)
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
    _compare(onnx, model, sidecar)
    return sidecar


def build_targets(
    backend: Backend, module: TensorRTModule, requested: tuple[str, ...], device: Gpu | None
) -> tuple[str, ...]:
    """The compute capabilities to build for. Raises `EngineError` for one that `module` cannot build for here."""
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
    """Those that NVIDIA's `module` can build for ahead of time, in ascending order, for example ("7.5", "8.0")."""
    names = [name[2:] for name in module.ComputeCapability.__members__ if name.startswith("SM")]
    return tuple(f"{name[:-1]}.{name[-1]}" for name in sorted(names, key=int))


def lint_target(backend: Backend, version: str) -> LintTarget:
    """The lint table that is nearest to a backend of this version."""
    if backend == "tensorrt-rtx":
        return "tensorrt-rtx"
    return "tensorrt-10.3" if version.startswith("10.") else "tensorrt-11"


def _usable(backend: Backend, compute_capabilities: Sequence[str]) -> TensorRTModule:
    available = backend_availability(backend, compute_capabilities)
    if not available.usable:
        raise EngineError(f"cannot build an engine with {backend}: {available.detail}", available.fix)
    return tensorrt_module(backend)


def _read_graph(path: Path) -> tuple[onnx_module.ModelProto, str]:
    """The model and the sha256 of its file. Raises `InputError` for what is not an ONNX model."""
    from drnn_export.lint.graph_view import parse_graph

    fix = f"Export it again: {EXPORT}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", fix) from error
    return parse_graph(data, path, fix), hashlib.sha256(data).hexdigest()


def _check_batch(path: Path, inputs: Sequence[TensorInfo], batch: tuple[int, int, int] | None) -> None:
    free = sorted(tensor.name for tensor in inputs if -1 in tensor.shape)
    if free and batch is None:
        what = f"{path} takes any batch (input {free[0]!r})"
        raise InputError(what, "Give the smallest, usual and largest batch that the engine is for.")
    if batch is not None and not free:
        what = f"{path} has a fixed batch, so batch sizes {batch} have no meaning"
        raise InputError(what, "Leave the batch sizes out, or export the graph with a free batch.")
    if batch is not None and not 1 <= batch[0] <= batch[1] <= batch[2]:
        raise InputError(f"batch sizes must be smallest <= usual <= largest, from 1 up, got {batch}")


def _check_graph(path: Path, model: onnx_module.ModelProto, target: LintTarget, capabilities: Sequence[str]) -> None:
    """Raise `EngineError` for what NVIDIA's parser misreads in silence, and for what a GPU generation does not have.

    What the parser refuses, it says best itself.
    """
    from drnn_export.lint.linter import MISREAD, UNBUILDABLE, lint_model

    for finding in lint_model(model, target, path.parent, capabilities):
        if finding.rule in MISREAD | UNBUILDABLE:
            where = f"node {finding.node!r} ({finding.operator}) " if finding.node else ""
            raise EngineError(f"{path.name}: {where}{finding.what}", f"{finding.fix}, or export it again: {EXPORT}")


def _compare(path: Path, model: onnx_module.ModelProto, sidecar: Sidecar) -> None:
    """Raise `EngineError` unless the engine's inputs and outputs are those that the graph declares."""
    from drnn_export.onnx_surgery import tensor_infos

    declared = tensor_infos([*model.graph.input, *model.graph.output])
    built = {tensor.name: tensor for tensor in (*sidecar.inputs, *sidecar.outputs)}
    for tensor in declared:
        if built.get(tensor.name) != tensor:
            what = f"{path.name}: the graph declares {tensor}, TensorRT makes {built.get(tensor.name)}"
            raise EngineError(what, OTHER_FORM)


def _check_kernels(path: Path, model: onnx_module.ModelProto, kernels: Kernels | None) -> None:
    """Raise `EngineError` where the engine's kernels are of another precision than the graph says that it is of."""
    said = {entry.key: entry.value for entry in model.metadata_props}.get("drnn.precision")
    if kernels is None or said not in PRECISIONS:
        return
    if wrong := kernels.mismatch(cast(Precision, said)):
        raise EngineError(f"{path.name} was built in another precision than {said}: {wrong}", OTHER_FORM)

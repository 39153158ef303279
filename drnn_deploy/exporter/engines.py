"""The engines of a bundle: which can be built here, and each as it is built."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from drnn_core.cache import cache_folder, entries
from drnn_core.errors import DeployError, EngineError, InputError, RuntimeUnavailableError
from drnn_core.steps import Notify, Step
from drnn_core.text import choose_from
from drnn_deploy.exporter.options import ExportOptions
from drnn_export.engine.build import BACKENDS, Backend, NotBegunError, backend_availability, build_engine
from drnn_runtimes.bundle import EngineInfo, GraphInfo
from drnn_runtimes.cuda_kernel.nvrtc import nvrtc_availability
from drnn_runtimes.trt.sidecar import Sidecar


@dataclasses.dataclass(frozen=True)
class EngineResult:
    """One engine that was asked for or attempted.

    Attributes:
        backend: The TensorRT flavour.
        graph: The name of the graph.
        sidecar: The description of the engine; None where there is no engine.
        reason: Why there is none.
        fix: What to do about it.
        failed: Whether the engine should have been there.
    """

    backend: str
    graph: str
    sidecar: Sidecar | None
    reason: str = ""
    fix: str = ""
    failed: bool = False  # it should have been there


def chosen_backends(options: ExportOptions) -> list[Backend]:
    """The flavours to build with: those asked for, else the first that can build here, if any.

    Args:
        options: What is asked for.

    Raises:
        InputError: There is no builder of a name, or it does not take a setting.
        EngineError: One that was asked for cannot build here; or none can, and a setting is for one.
    """
    if options.engines is None:
        chosen = [name for name in BACKENDS if backend_availability(name, options.compute_capabilities).usable][:1]
        for builder in chosen:
            options.controls.check(builder)
        if (given := next((name for name, is_given in options.for_engines if is_given), "")) and not chosen:
            reasons = {name: backend_availability(name, options.compute_capabilities) for name in BACKENDS}
            why = "; ".join(f"{name}: {available.detail}" for name, available in reasons.items())
            fix = next(iter(reasons.values())).fix
            raise EngineError(f"{given} would be ignored: no engine can be built here: {why}", fix)
        return chosen
    for name in options.engines:
        if name not in BACKENDS:
            raise InputError(f"there is no engine builder {name!r}", choose_from(name, BACKENDS))
        options.controls.check(name)
        available = backend_availability(name, options.compute_capabilities)
        if not available.usable:
            raise EngineError(f"no {name} engine can be built here: {available.detail}", available.fix)
    return [name for name in BACKENDS if name in options.engines]


def check_compiler(options: ExportOptions, *, plugin: bool) -> None:
    """Check that engines which were asked for by name get the kernel that goes into them.

    Args:
        options: What is asked for.
        plugin: Whether there are graphs for the plugin.

    Raises:
        RuntimeUnavailableError: NVRTC is not installed.
    """
    compiler = nvrtc_availability()
    if plugin and options.engines and not compiler.usable:
        what = f"an engine of a graph for the plugin has a kernel inside, and {compiler.detail}"
        raise RuntimeUnavailableError(what, compiler.fix)


def building_seconds(jobs: Sequence[tuple[Backend, GraphInfo, float]], options: ExportOptions) -> float:
    """The seconds that the engines which are begun are estimated to take.

    Args:
        jobs: The engines to build, with the seconds that each is estimated to take.
        options: With the longest that one may take.
    """
    return sum(seconds for *_, seconds in jobs if seconds <= options.engine_seconds)


def build(
    draft: Path,
    graph: GraphInfo,
    seconds: float,
    backend: Backend,
    options: ExportOptions,
    notify: Notify,
    left: float,
) -> EngineResult:
    """Build an engine, or take one that was built before; none is begun that is estimated to take too long.

    Args:
        draft: The bundle's folder while it is made.
        graph: A graph of it.
        seconds: That the build is estimated to take.
        backend: The TensorRT flavour.
        options: For which GPUs, with which settings and in which time.
        notify: Gets a line on what is done at the moment.
        left: The seconds that the build and all that follows are estimated to take.

    Returns:
        The engine, or why there is none.
    """
    cache = cache_folder("engines") if options.engine_cache else None
    if seconds > options.engine_seconds and not (cache and entries(cache)):
        return _not_begun(backend, graph, seconds, options)
    compiler = nvrtc_availability()
    if graph.emission == "plugin" and not compiler.usable:
        return EngineResult(backend, graph.name, None, f"it has a kernel inside, and {compiler.detail};", compiler.fix)
    notify(Step(f"building the {backend} engine of {graph.name}, about {max(1, round(seconds))} s", left))
    engine = draft / _engine_file(graph, backend)
    try:
        sidecar = build_engine(
            draft / graph.file,
            engine,
            backend,
            compute_capabilities=options.compute_capabilities,
            controls=options.controls,
            batch=graph.profile,
            time_limit=options.engine_seconds,
            cache=cache,
            with_kernel=graph.emission == "plugin",
            estimate=seconds,
        )
    except NotBegunError:
        return _not_begun(backend, graph, seconds, options)
    except DeployError as error:
        return EngineResult(backend, graph.name, None, error.message, error.fix, failed=True)
    return EngineResult(backend, graph.name, sidecar)


def _not_begun(backend: Backend, graph: GraphInfo, seconds: float, options: ExportOptions) -> EngineResult:
    other = "use --style blocked, or " if (graph.form, graph.emission) == ("sequence", "unrolled") else ""
    return EngineResult(
        backend,
        graph.name,
        None,
        f"it would take about {seconds:,.0f} s, over the limit of {options.engine_seconds:g} s;",
        f"{other}to wait for it: --engine-seconds {math.ceil(3 * seconds)}",
    )


def engine_info(result: EngineResult, graphs: Sequence[GraphInfo]) -> EngineInfo:
    """What the manifest says of an engine.

    Args:
        result: The engine.
        graphs: The graphs of the bundle.
    """
    graph = next(graph for graph in graphs if graph.name == result.graph)
    file = _engine_file(graph, result.backend)
    return EngineInfo(file, f"{file}.json", graph.file, result.backend)


def _engine_file(graph: GraphInfo, backend: str) -> str:
    return f"engines/{graph.name.replace('/', '-')}.{backend}.engine"

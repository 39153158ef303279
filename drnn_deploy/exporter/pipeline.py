"""Checkpoint to bundle: emit, build, write down, check. The command `drnn-export` as a function."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drnn_core.arguments import checked_arguments
from drnn_core.cache import cache_folder
from drnn_core.errors import DeployError, EngineError, InputError
from drnn_core.folders import check_replaceable, replacing_folder
from drnn_core.gpu import compute_capability
from drnn_core.plain_data import read_json
from drnn_core.steps import Step
from drnn_core.text import choose_from
from drnn_deploy.exporter.expected import check_seconds
from drnn_deploy.exporter.kernels import KernelImages, image_targets, write_images
from drnn_deploy.exporter.native import NativeSources, native_sources
from drnn_deploy.exporter.options import ExportOptions, graph_requests
from drnn_deploy.parity.cases import CaseInputs
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.edges import edge_precision, is_for
from drnn_deploy.parity.known_answers import ComputedAnswers, reference_seconds, require_time
from drnn_deploy.parity.report_format import as_check, require_format
from drnn_deploy.parity.results import ParityReport
from drnn_deploy.planner.cost_model import build_seconds
from drnn_export.emitter.emit import emit, estimate
from drnn_export.emitter.range import largest_input
from drnn_export.emitter.request import GraphRequest
from drnn_export.emitter.revision import EMITTER_REVISION
from drnn_export.engine.build import BACKENDS, Backend, backend_availability, build_engine
from drnn_export.onnx_surgery import tensor_infos
from drnn_models.checkpoint import Checkpoint, as_checkpoint
from drnn_runtimes.bundle import (
    GOLDEN,
    MANIFEST,
    NATIVE,
    PARITY,
    WEIGHTS,
    Bundle,
    EngineInfo,
    GoldenCase,
    GraphInfo,
    KernelInfo,
)
from drnn_runtimes.bundle.bodies import count_nodes
from drnn_runtimes.bundle.golden import write_golden
from drnn_runtimes.bundle.graph_kind import state_pairs
from drnn_runtimes.bundle.writer import write_manifest, write_weights
from drnn_runtimes.native.cross import check_targets
from drnn_runtimes.native.names import c_name, check_c_name
from drnn_runtimes.registry import RUNTIMES, require
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.trt.sidecar import Sidecar

if TYPE_CHECKING:
    from drnn_models.checkpoint import AnyModel

Notify = Callable[[str], None]
_QUICK = ("reference", "onnxruntime-cpu")  # which are always here


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


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """The bundle with what was found while making it.

    Attributes:
        bundle: The bundle.
        parity: The parity report, without rows where nothing was checked.
        engines: The engines that were asked for or attempted.
        native: The network as C.
        kernels: The images of the CUDA kernel.
        checked: Whether the bundle was checked on any runtime.
    """

    bundle: Bundle
    parity: ParityReport
    engines: tuple[EngineResult, ...]
    native: NativeSources | None = None
    kernels: KernelImages = dataclasses.field(default_factory=KernelImages)
    checked: bool = True

    @property
    def exit_code(self) -> int:
        """0 fine, 1 parity failed, 4 an engine could not be built, else the code of what stopped a runtime."""
        parity = self.parity.exit_code if self.checked else 0
        return parity or (EngineError.exit_code if any(e.failed for e in self.engines) else 0)


@checked_arguments
def export(
    model: AnyModel,
    output: Path | str | None = None,
    options: ExportOptions | None = None,
    *,
    notify: Notify = lambda _: None,
    **settings: Any,
) -> ExportResult:
    """Write the bundle of a trained network and check it on every runtime that is here.

    The folder appears whole or not at all. An earlier bundle there is replaced, unless other files are in the folder.
    Parity that fails and engines that cannot be built are in the result, not raised.

    Args:
        model: A `DilatedRNN`, a checkpoint or its path.
        output: The bundle's folder. Default: NAME-bundle for NAME.pt, in the current folder.
        options: What goes into the bundle.
        notify: Gets a line on what is done at the moment.
        **settings: Fields of `ExportOptions`, for example `length=784`, which take the place of those of `options`.

    Returns:
        The bundle, its parity report and its engines.

    Raises:
        DeployError: A bundle cannot be written, or a runtime or engine that was asked for by name cannot be had.
    """
    options = dataclasses.replace(options or ExportOptions(), **settings)
    options.refuse_ignored()
    capabilities = tuple(map(compute_capability, options.compute_capabilities))
    options = dataclasses.replace(options, compute_capabilities=capabilities)
    tolerance = options.tolerance
    checkpoint = as_checkpoint(model)
    name = Path(model).stem if isinstance(model, (str, Path)) else "model"
    native_name = check_c_name(options.native_name) if options.native_name else c_name(name)
    check_targets(options.native_targets)
    if options.native and options.native_precision not in ("fp32", *options.precisions):
        what = (
            f"the golden data of {' and '.join(options.precisions)} cannot check weights in {options.native_precision}"
        )
        raise InputError(what, f"Export those graphs too: --precision fp32 --precision {options.native_precision}")
    folder = Path(output) if output is not None else Path(f"{name}-bundle")
    check_replaceable(folder, _replaceable)
    runtimes = _runtimes(options)
    backends = _backends(options)
    gpus = image_targets(options.compute_capabilities) if options.cuda_kernel else ()
    requests = graph_requests(checkpoint, options)
    shorter = "Use a smaller --length or a network with fewer units, or --form chunk"
    require_time(checkpoint.dilated, requests, options.reference_minutes, shorter)

    expected = functools.partial(check_seconds, checkpoint.dilated)
    seconds = [build_seconds(checkpoint.dilated, request) for request in requests]
    with replacing_folder(folder, _replaceable) as draft:
        graphs = _write_networks(draft, checkpoint, requests, options, notify)
        here = [runtime for runtime in runtimes if runtime.availability().usable]
        checks = sum(expected(runtime, graph) for runtime in here for graph in graphs)
        jobs = [(backend, *pair) for backend in backends for pair in zip(graphs, seconds, strict=True)]
        left = reference_seconds(checkpoint.dilated, requests) + _building(jobs, options) + checks
        notify(Step("computing the float64 reference", left))
        answers = known_answers(checkpoint, requests)
        cases = golden_cases(answers, requests)
        graphs = [_with_range(checkpoint, graph, cases) for graph in graphs]
        write_golden(draft / GOLDEN, checkpoint.dilated, graphs, cases)
        native = None
        if options.native:
            targets = options.native_targets
            native = native_sources(
                checkpoint,
                native_name,
                cases,
                tolerance,
                targets,
                precision=options.native_precision,
                notify=notify,
            )
            _write_native(draft, native)
        if gpus:
            notify("compiling the CUDA kernel")
        kernels = write_images(draft, checkpoint.dilated, graphs, gpus)
        engines = [
            _build(draft, graph, needed, backend, options, notify, checks + _building(jobs[number:], options))
            for number, (backend, graph, needed) in enumerate(jobs)
        ]
        infos = [_engine_info(result, graphs) for result in engines if result.sidecar is not None]
        _write_manifest(draft, checkpoint, graphs, infos, kernels.images)
        parity = check_parity(
            Bundle.open(draft, verify=False),
            runtimes,
            required=options.runtimes is not None,
            answers=answers,
            tolerance=tolerance,
            notify=notify,
            expected=expected,
            sampled=math.inf if options.runtimes else None,
        )
        if runtimes:
            require_format(as_check(folder, parity.to_json()))
            (draft / PARITY).write_text(json.dumps(parity.to_json(), indent=1) + "\n", encoding="utf-8")
            _write_manifest(draft, checkpoint, graphs, infos, kernels.images)
    return ExportResult(Bundle.open(folder), parity, tuple(engines), native, kernels, checked=bool(runtimes))


def write_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    requests: Sequence[GraphRequest],
    golden: Sequence[GoldenCase],
    options: ExportOptions,
    *,
    notify: Notify = lambda _: None,
) -> Bundle:
    """Write a bundle of exactly these graphs with golden data that is there already, without engines and unchecked.

    Args:
        checkpoint: The network.
        folder: The bundle's folder.
        requests: The graphs to emit.
        golden: The golden cases, which must fit the graphs; see `golden_cases`.
        options: Only `node_budget` and `profile` matter.
        notify: Gets a line on what is done at the moment.

    Returns:
        The bundle.

    Raises:
        InputError: A graph is over the node budget, or the folder cannot be written.
    """
    with replacing_folder(folder, _replaceable) as draft:
        graphs = _write_networks(draft, checkpoint, requests, options, notify)
        graphs = [_with_range(checkpoint, graph, golden) for graph in graphs]
        write_golden(draft / GOLDEN, checkpoint.dilated, graphs, golden)
        _write_manifest(draft, checkpoint, graphs)
    return Bundle.open(folder, verify=False)


def _replaceable(folder: Path) -> set[str]:
    """The files of a folder that an export may replace: an earlier bundle's."""
    if not (folder / MANIFEST).is_file():
        raise InputError(
            f"{folder} is not empty and not a bundle; exporting there would delete what it holds",
            "Choose another folder with --output.",
        )
    try:
        listed = set(read_json(folder / MANIFEST)["files"])
    except (OSError, ValueError, KeyError, TypeError):  # damaged: it may be replaced, and what else is there not
        listed = set()
    return {MANIFEST, GOLDEN, WEIGHTS, PARITY, *map(str, listed)}


def _runtimes(options: ExportOptions) -> list[Runtime]:
    """The runtimes to check with."""
    if options.check != "full":
        return require(_QUICK) if options.check == "quick" else []
    return list(RUNTIMES.values()) if options.runtimes is None else require(options.runtimes)


def _backends(options: ExportOptions) -> list[Backend]:
    """The flavours to build with: those asked for, else the first that can build here, if any."""
    if options.engines is None:
        return [name for name in BACKENDS if backend_availability(name, options.compute_capabilities).usable][:1]
    for name in options.engines:
        if name not in BACKENDS:
            raise InputError(f"there is no engine builder {name!r}", choose_from(name, BACKENDS))
        options.controls.check(name)
        available = backend_availability(name, options.compute_capabilities)
        if not available.usable:
            raise EngineError(f"no {name} engine can be built here: {available.detail}", available.fix)
    return [name for name in BACKENDS if name in options.engines]


def known_answers(checkpoint: Checkpoint, requests: Sequence[GraphRequest]) -> ComputedAnswers:
    """What is right for graphs: on the standard cases, and on the checkpoint's examples as the case `task`.

    Args:
        checkpoint: The network.
        requests: All graphs that are checked.
    """
    more = []
    if (examples := checkpoint.examples) is not None:
        more = [CaseInputs("task", examples.inputs, examples.classes, examples.source)]
    return ComputedAnswers(checkpoint.dilated, checkpoint.weights, requests, more)


def golden_cases(answers: ComputedAnswers, requests: Sequence[GraphRequest]) -> list[GoldenCase]:
    """The cases of the graphs of a bundle, each once: its golden data.

    Args:
        answers: What `known_answers` gives, of these graphs or more.
        requests: The graphs of the bundle.
    """
    every = {case.name: case for request in requests for case in answers.cases(request)}
    return [case for case in every.values() if not case.stream] + [case for case in every.values() if case.stream]


def _with_range(checkpoint: Checkpoint, graph: GraphInfo, cases: Sequence[GoldenCase]) -> GraphInfo:
    """The graph with the range of relu cells, whose numbers nothing else bounds: that of its own cases."""
    own = [case for case in cases if case.stream == bool(graph.states) and is_for(case.name, graph.precision)]
    if checkpoint.dilated.activation != "relu" or not any(edge_precision(case.name) for case in own):
        return graph
    return dataclasses.replace(graph, largest_input=float(max(np.abs(case.inputs).max() for case in own)))


def _write_manifest(
    draft: Path,
    checkpoint: Checkpoint,
    graphs: Sequence[GraphInfo],
    engines: Sequence[EngineInfo] = (),
    kernels: Sequence[KernelInfo] = (),
) -> None:
    write_manifest(draft, checkpoint.dilated, checkpoint.task, graphs, engines, kernels, emitter=EMITTER_REVISION)


def _write_networks(
    draft: Path, checkpoint: Checkpoint, requests: Sequence[GraphRequest], options: ExportOptions, notify: Notify
) -> list[GraphInfo]:
    """The graphs, and the weights that the reference and torch run."""
    write_weights(draft, checkpoint.weights)
    return [_write_graph(draft, checkpoint, request, index, options, notify) for index, request in enumerate(requests)]


def _write_native(draft: Path, native: NativeSources) -> None:
    (draft / NATIVE).mkdir()
    for name, content in native.files.items():
        (draft / NATIVE / name).parent.mkdir(exist_ok=True)
        (draft / NATIVE / name).write_bytes(content)
        if name.endswith("/selftest"):
            (draft / NATIVE / name).chmod(0o755)


def _write_graph(
    draft: Path, checkpoint: Checkpoint, request: GraphRequest, index: int, options: ExportOptions, notify: Notify
) -> GraphInfo:
    size = estimate(checkpoint.dilated, request)
    notify(f"emitting {request.kind}/{request.emission}: {size.nodes:,} nodes, about {size.file_bytes / 1e6:.2g} MB")
    model = emit(checkpoint.dilated, checkpoint.weights, request, node_budget=options.node_budget)
    file = "model.onnx" if index == 0 else f"{request.name.replace('/', '-')}.onnx"
    (draft / file).write_bytes(model.SerializeToString(deterministic=True))
    return GraphInfo(
        file=file,
        form=request.form,
        emission=request.emission,
        pruned=request.prune,
        steps=request.steps,
        batch=request.batch,
        precision=request.precision,
        opset=model.opset_import[0].version,
        nodes=count_nodes(model),
        inputs=tensor_infos(model.graph.input),
        outputs=tensor_infos(model.graph.output),
        states=state_pairs(checkpoint.dilated, request),
        ring=request.ring,
        delay=request.delay(checkpoint.dilated),
        profile=options.profile if request.batch is None else None,
        largest_input=largest_input(checkpoint.dilated, checkpoint.weights, request.precision),
        block=request.block,
    )


def _building(jobs: Sequence[tuple[Backend, GraphInfo, float]], options: ExportOptions) -> float:
    """The seconds that the engines which are begun are estimated to take."""
    return sum(seconds for *_, seconds in jobs if seconds <= options.engine_seconds)


def _build(
    draft: Path,
    graph: GraphInfo,
    seconds: float,
    backend: Backend,
    options: ExportOptions,
    notify: Notify,
    left: float,
) -> EngineResult:
    """seconds: that the build is estimated to take; left: that it and all that follows are."""
    if seconds > options.engine_seconds:
        other = "use --style blocked, or " if (graph.form, graph.emission) == ("sequence", "unrolled") else ""
        return EngineResult(
            backend,
            graph.name,
            None,
            f"it would take about {seconds:,.0f} s, over the limit of {options.engine_seconds:g} s;",
            f"{other}to wait for it: --engine-seconds {3 * seconds:.0f}",
        )
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
            cache=cache_folder("engines") if options.engine_cache else None,
        )
    except DeployError as error:
        return EngineResult(backend, graph.name, None, error.message, error.fix, failed=True)
    return EngineResult(backend, graph.name, sidecar)


def _engine_info(result: EngineResult, graphs: Sequence[GraphInfo]) -> EngineInfo:
    graph = next(graph for graph in graphs if graph.name == result.graph)
    file = _engine_file(graph, result.backend)
    return EngineInfo(file, f"{file}.json", graph.file, result.backend)


def _engine_file(graph: GraphInfo, backend: str) -> str:
    return f"engines/{graph.name.replace('/', '-')}.{backend}.engine"

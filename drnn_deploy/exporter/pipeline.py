"""Checkpoint to bundle: emit, build, write down, check. The command `drnn-export` as a function."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drnn_core.arguments import checked_arguments
from drnn_core.errors import EngineError, InputError
from drnn_core.folders import check_replaceable, replacing_folder
from drnn_core.gpu import compute_capability
from drnn_core.steps import Notify, Step
from drnn_core.types import SMALLER
from drnn_deploy.exporter.contents import (
    golden_cases,
    known_answers,
    put_manifest,
    put_native,
    put_networks,
    replaceable,
    task_inputs,
    with_range,
)
from drnn_deploy.exporter.engines import (
    EngineResult,
    build,
    building_seconds,
    check_compiler,
    chosen_backends,
    engine_info,
)
from drnn_deploy.exporter.expected import check_seconds
from drnn_deploy.exporter.kernels import KernelImages, image_targets, write_images
from drnn_deploy.exporter.native import NativeSources, native_sources
from drnn_deploy.exporter.options import ExportOptions, graph_requests
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.known_answers import check_cost, reference_seconds
from drnn_deploy.parity.report_format import as_check, require_format
from drnn_deploy.parity.results import ParityReport
from drnn_deploy.planner.cost_model import build_seconds
from drnn_models.checkpoint import as_checkpoint
from drnn_runtimes.bundle import (
    GOLDEN,
    PARITY,
    Bundle,
)
from drnn_runtimes.bundle.golden import write_golden
from drnn_runtimes.native.cross import check_targets
from drnn_runtimes.native.names import c_name, check_c_name
from drnn_runtimes.registry import RUNTIMES, require, with_threads
from drnn_runtimes.runtime import Runtime

if TYPE_CHECKING:
    from drnn_models.checkpoint import AnyModel

_QUICK = ("reference", "onnxruntime-cpu")  # which are always here


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
    check_replaceable(folder, replaceable)
    runtimes = _runtimes(options)
    backends = chosen_backends(options)
    gpus = image_targets(options.compute_capabilities) if options.cuda_kernel else ()
    requests = graph_requests(checkpoint, options)
    check_compiler(options, plugin=any(request.emission == "plugin" for request in requests))
    longest = max(requests, key=lambda request: request.steps).form
    chunks = ", or --form chunk" if longest == "sequence" else ""
    shorter = f"Use {SMALLER[longest]}, a network with fewer units{chunks}"
    check_cost(checkpoint.dilated, requests, options.reference_minutes, shorter, task_inputs(checkpoint))

    expected = functools.partial(check_seconds, checkpoint.dilated)
    seconds = [build_seconds(checkpoint.dilated, request) for request in requests]
    with replacing_folder(folder, replaceable) as draft:
        graphs = put_networks(draft, checkpoint, requests, options, notify)
        here = [runtime for runtime in runtimes if runtime.availability().usable]
        checks = sum(expected(runtime, graph) for runtime in here for graph in graphs)
        jobs = [(backend, *pair) for backend in backends for pair in zip(graphs, seconds, strict=True)]
        left = reference_seconds(checkpoint.dilated, requests) + building_seconds(jobs, options) + checks
        notify(Step("computing the float64 reference", left))
        answers = known_answers(checkpoint, requests)
        cases = golden_cases(answers, requests)
        graphs = [with_range(checkpoint, graph, cases) for graph in graphs]
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
            put_native(draft, native)
        if gpus:
            notify("compiling the CUDA kernel")
        kernels = write_images(draft, checkpoint.dilated, graphs, gpus)
        engines = [
            build(draft, graph, needed, backend, options, notify, checks + building_seconds(jobs[number:], options))
            for number, (backend, graph, needed) in enumerate(jobs)
        ]
        infos = [engine_info(result, graphs) for result in engines if result.sidecar is not None]
        put_manifest(draft, checkpoint, graphs, infos, kernels.images)
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
            put_manifest(draft, checkpoint, graphs, infos, kernels.images)
    return ExportResult(Bundle.open(folder), parity, tuple(engines), native, kernels, checked=bool(runtimes))


def _runtimes(options: ExportOptions) -> list[Runtime]:
    """The runtimes to check with."""
    if options.check == "none":
        return []
    names = _QUICK if options.check == "quick" else options.runtimes
    runtimes = list(RUNTIMES.values()) if names is None else require(names)
    return with_threads(runtimes, options.threads, options.runtimes or ())

"""The parity matrix: a bundle's graphs, or those of a checkpoint, through every runtime, with the task's metrics.

Float64 is computed once for each set of inputs: it is the bundle's golden data, and for further task data
`drnn_deploy.matrix.task_metrics`. All lengths, batches and chunkings of a checkpoint share it, too.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy.matrix.task_metrics import TaskCase, task_cases
from drnn_deploy.parity.check import check_parity, shown_name, with_required
from drnn_deploy.parity.results import Missing, ParityReport, ParityRow, TaskResult
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.registry import RUNTIMES, find_runtime, require
from drnn_runtimes.runtime import Runtime

if TYPE_CHECKING:
    from drnn_deploy.matrix.variants import GraphSet, Selection
    from drnn_models.checkpoint import Checkpoint

Notify = Callable[[str], None]
Inspect = Callable[[Bundle, ParityReport, str, Sequence[GoldenCase]], None]


@dataclasses.dataclass(frozen=True)
class MatrixOptions:
    """How a matrix is checked.

    Attributes:
        runtimes: Only these, each of which must be usable. Empty: all that are.
        required: The runtimes that must take part, beside others.
        forms: Of a bundle, only its graphs of these forms; of a checkpoint, the forms to export. Empty: all there are,
            or what `drnn_deploy.matrix.variants` says.
        emissions: The same for emissions.
        precisions: The same for precisions.
        task: The task to measure, in place of the network's own.
        task_data: How many sequences of the task's test split to measure.
        tolerance: Which errors pass.
    """

    runtimes: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    emissions: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    task: str | None = None
    task_data: int | None = None
    tolerance: Tolerance = DEFAULT

    def chosen(self) -> list[Runtime]:
        """The runtimes to check, in the usual order.

        Raises:
            InputError: A name is unknown.
            RuntimeUnavailableError: One of `runtimes` is missing here.
        """
        named = {runtime.name for runtime in require(self.runtimes)} or set(RUNTIMES)
        named |= {find_runtime(name).name for name in self.required}
        return [runtime for name, runtime in RUNTIMES.items() if name in named]


def check_path(
    path: Path, options: MatrixOptions, *, notify: Notify = lambda _: None, inspect: Inspect = lambda *_: None
) -> ParityReport:
    """Check a bundle's folder, or a checkpoint's graphs, which are exported for the check and not kept.

    Args:
        path: A bundle's folder or a checkpoint's file.
        options: What to check, and how.
        notify: Gets a line on what is done at the moment.
        inspect: Gets each bundle while it is there, its report, the label of its graphs, and the cases of both.

    Returns:
        The report on all graphs.

    Raises:
        DeployError: Something cannot be read, exported or chosen.
    """
    if path.is_dir():
        return check_bundle(Bundle.open(path), options, notify=notify, inspect=inspect)
    from drnn_models.checkpoint import load_checkpoint

    return check_checkpoint(load_checkpoint(path), options, notify=notify, inspect=inspect)


def check_bundle(
    bundle: Bundle, options: MatrixOptions, *, notify: Notify = lambda _: None, inspect: Inspect = lambda *_: None
) -> ParityReport:
    """Check every graph of a bundle that the options select, through every runtime, with the task's metrics.

    Args:
        bundle: An open bundle.
        options: What to check, and how.
        notify: Gets a line on what is done at the moment.
        inspect: Gets the bundle with the selected graphs, its report, "" and the cases of both.

    Returns:
        The report on the selected graphs.

    Raises:
        InputError: The options select no graph.
    """
    selected, runtimes = select(bundle, options), options.chosen()
    cases, notes = _task_cases(selected, options, notify)
    report = _check(selected, runtimes, options.tolerance, cases, notify)
    inspect(selected, report, "", _known(selected, cases))
    return with_required(dataclasses.replace(report, notes=tuple(notes)), _required(options))


def check_checkpoint(
    checkpoint: Checkpoint,
    options: MatrixOptions,
    *,
    notify: Notify = lambda _: None,
    inspect: Inspect = lambda *_: None,
) -> ParityReport:
    """Export the graphs of `drnn_deploy.matrix.variants` to a temporary folder and check them through every runtime.

    Args:
        checkpoint: The network.
        options: What to check, and how.
        notify: Gets a line on what is done at the moment.
        inspect: Gets each bundle while it is there, its report, the label of its graphs, and the cases of both.

    Returns:
        One report on all graphs, whose names tell their batches and lengths.

    Raises:
        InputError: No graph that was asked for can be emitted.
    """
    from drnn_deploy.matrix.variants import Selection, plan_graphs

    runtimes = options.chosen()
    selection = Selection(options.forms, options.emissions, options.precisions)
    sets, notes = plan_graphs(checkpoint, selection)
    goldens = _Goldens(checkpoint, sets, selection)
    with tempfile.TemporaryDirectory() as folder:
        bundles = [goldens.write(Path(folder) / f"bundle{n}", graphs, notify) for n, graphs in enumerate(sets)]
        cases, more_notes = _task_cases(bundles[0], options, notify)
        checked = [_check(bundle, runtimes, options.tolerance, cases, notify) for bundle in bundles]
        for bundle, report, graphs in zip(bundles, checked, sets, strict=True):
            inspect(bundle, report, graphs.label, _known(bundle, cases))
    reports = [_labelled(report, graphs.label) for report, graphs in zip(checked, sets, strict=True)]
    whole = ParityReport(
        rows=tuple(row for report in reports for row in report.rows),
        missing=tuple(dict.fromkeys(entry for report in reports for entry in report.missing)),
        tolerance=options.tolerance,
        network=checkpoint.dilated.short_name,
        tasks=tuple(result for report in reports for result in report.tasks),
        notes=(*notes, *more_notes),
    )
    return with_required(whole, _required(options))


def select(bundle: Bundle, options: MatrixOptions) -> Bundle:
    """The bundle with only the graphs that the options select.

    Args:
        bundle: An open bundle.
        options: Of which forms, emissions and precisions count.

    Raises:
        InputError: There are none.
    """
    wanted = {"form": options.forms, "emission": options.emissions, "precision": options.precisions}
    graphs = [
        g for g in bundle.graphs if all(not chosen or getattr(g, name) in chosen for name, chosen in wanted.items())
    ]
    if not graphs:
        said = ", ".join(f"--{name} {value}" for name, chosen in wanted.items() for value in chosen)
        known = ", ".join(f"{g.form}/{g.emission}/{g.precision}" for g in bundle.graphs)
        raise InputError(f"{bundle.folder} has no graph of {said}", f"It has, as form/emission/precision: {known}.")
    return dataclasses.replace(bundle, graphs=tuple(graphs))


def _required(options: MatrixOptions) -> set[str]:
    return {*options.runtimes, *options.required}


def _task_cases(bundle: Bundle, options: MatrixOptions, notify: Notify) -> tuple[list[TaskCase], list[str]]:
    notify("computing the float64 reference of the task's data")
    return task_cases(bundle, options.task, options.task_data)


def _known(bundle: Bundle, cases: Sequence[TaskCase]) -> list[GoldenCase]:
    """What a bundle may have been checked on."""
    return [*bundle.golden, *(task_case.case for task_case in cases if not task_case.carried)]


def _check(
    bundle: Bundle, runtimes: Sequence[Runtime], tolerance: Tolerance, cases: Sequence[TaskCase], notify: Notify
) -> ParityReport:
    """The bundle's golden cases and those of the task that have its length."""
    lengths = {graph.steps for graph in bundle.graphs if graph.form == "sequence"}
    more = [
        task_case.case for task_case in cases if not task_case.carried and task_case.case.inputs.shape[1] in lengths
    ]
    by_name = {task_case.case.name: task_case for task_case in cases}
    results: list[TaskResult] = []

    def observe(runtime: Runtime, graph: GraphInfo, case: GoldenCase, outputs: NDArray[np.generic]) -> None:
        if (task_case := by_name.get(case.name)) is None:
            return
        if result := task_case.measure(runtime.name, shown_name(runtime, graph), outputs):
            results.append(result)

    report = check_parity(bundle, runtimes, tolerance=tolerance, notify=notify, more_cases=more, observe=observe)
    return dataclasses.replace(report, tasks=tuple(results))


def _labelled(report: ParityReport, label: str) -> ParityReport:
    """The report with the label in the name of every graph, so that each row has one of its own."""

    def row(entry: ParityRow) -> ParityRow:
        return dataclasses.replace(entry, graph=f"{entry.graph} {label}".strip())

    def absent(entry: Missing) -> Missing:
        return dataclasses.replace(entry, graph=f"{entry.graph} {label}".strip() if entry.graph else "")

    def result(entry: TaskResult) -> TaskResult:
        return dataclasses.replace(entry, graph=f"{entry.graph} {label}".strip())

    return dataclasses.replace(
        report,
        rows=tuple(map(row, report.rows)),
        missing=tuple(map(absent, report.missing)),
        tasks=tuple(map(result, report.tasks)),
    )


class _Goldens:
    """The golden data of a checkpoint, each length once, and the bundles that share it."""

    def __init__(self, checkpoint: Checkpoint, sets: Sequence[GraphSet], selection: Selection) -> None:
        from drnn_deploy.exporter.golden import make_golden, make_stream
        from drnn_deploy.exporter.options import stream_length

        requests = [request for graphs in sets for request in graphs.requests]
        streamed = [request for request in requests if request.form != "sequence"]
        narrow = sorted({request.precision for request in requests} - {"fp32"})
        self._checkpoint = checkpoint
        self._whole = functools.cache(lambda length: make_golden(checkpoint, length, narrow))
        self._stream = functools.cache(
            lambda: make_stream(checkpoint, stream_length(checkpoint.dilated, streamed), narrow)
        )

    def write(self, folder: Path, graphs: GraphSet, notify: Notify) -> Bundle:
        """A bundle of these graphs."""
        from drnn_deploy.exporter.options import ExportOptions
        from drnn_deploy.exporter.pipeline import write_bundle

        notify("computing the float64 reference")
        lengths = {request.steps for request in graphs.requests if request.form == "sequence"}
        cases = [case for length in lengths for case in self._whole(length)]
        if any(request.form != "sequence" for request in graphs.requests):
            cases.append(self._stream())
        options = ExportOptions(profile=graphs.profile)
        return write_bundle(self._checkpoint, folder, graphs.requests, cases, options, notify=notify)

"""The parity matrix: a bundle's graphs, or those of a checkpoint, through every runtime, with the task's metrics.

Float64 is computed once for each set of inputs (`drnn_deploy.parity.known_answers`), for further task data in
`drnn_deploy.matrix.task_metrics`. All lengths, batches and chunkings of a checkpoint share it, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_core.steps import Notify
from drnn_deploy.exporter.expected import check_seconds
from drnn_deploy.matrix import other_graph, own_inputs
from drnn_deploy.matrix.options import USUAL, MatrixOptions, select
from drnn_deploy.matrix.task_metrics import TaskCase, task_cases
from drnn_deploy.parity.check import check_parity, with_required
from drnn_deploy.parity.golden_file import check_golden_file
from drnn_deploy.parity.graph_file import check_graph_file
from drnn_deploy.parity.graphs import shown_name
from drnn_deploy.parity.known_answers import Answers, ComputedAnswers, StoredAnswers, check_cost, further_inputs
from drnn_deploy.parity.results import FileResult, ParityReport, TaskResult
from drnn_deploy.parity.weights_file import check_against
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.runtime import Runtime

if TYPE_CHECKING:
    from drnn_deploy.matrix.variants import GraphSet
    from drnn_models.checkpoint import Checkpoint

Inspect = Callable[[Bundle, ParityReport, str, Sequence[GoldenCase]], None]
_FOR_BUNDLES = {  # field of `MatrixOptions` -> its option
    **{name: f"--{name}" for name in ("golden", "against", "inputs", "outputs", "graph")},
    "renames": "--rename",
}
_BELIEVED = (
    "compared with the golden data that the bundle carries, not with float64 of its weights, which --golden leaves out"
)


@checked_arguments
def check_path(
    path: Path | str,
    options: MatrixOptions = USUAL,
    *,
    notify: Notify = lambda _: None,
    inspect: Inspect = lambda *_: None,
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
    path = Path(path)
    if path.is_dir():
        return check_bundle(Bundle.open(path), options, notify=notify, inspect=inspect)
    if given := next((option for name, option in _FOR_BUNDLES.items() if getattr(options, name)), ""):
        raise InputError(f"{given} is for a bundle, and {path} is a file", f"Leave {given} out, or name a bundle.")
    from drnn_models.checkpoint import load_checkpoint

    return check_checkpoint(load_checkpoint(path), options, notify=notify, inspect=inspect)


@checked_arguments
def check_bundle(
    bundle: Bundle,
    options: MatrixOptions = USUAL,
    *,
    notify: Notify = lambda _: None,
    inspect: Inspect = lambda *_: None,
) -> ParityReport:
    """Check every graph of a bundle that the options select, through every runtime, with the task's metrics.

    The files of these graphs are compared with what the weights make, and the golden data with what they give.

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
    own = _own_inputs(bundle, options)
    with contextlib.ExitStack() as stack:
        if options.graph is not None:
            renames = other_graph.read_renames(options.renames)
            selected = stack.enter_context(other_graph.with_other_graph(selected, options.graph, renames))
        own_cases = own_inputs.cases_of(selected, own)
        if not options.golden:
            fix = "Give fewer or shorter sequences" if own else "Believe its golden data: --golden"
            more = [*further_inputs(bundle.spec, bundle.golden), *own_cases]
            check_cost(bundle.spec, bundle.graphs, options.reference_minutes, fix, more)
        answers: Answers = StoredAnswers(bundle) if options.golden else ComputedAnswers.of(bundle, own_cases)
        notify("computing the float64 reference")
        cases, notes = _task_cases(selected, answers, options, notify)
        report = _check(selected, runtimes, answers, options, cases, notify)
        if options.graph is not None:
            report = _labelled(report, options.graph.name)
        notes += own_inputs.left_out(selected, own)
        if options.outputs is not None and isinstance(answers, ComputedAnswers):
            rows = own_inputs.output_rows(selected, own, options.outputs.name, answers, options.tolerance)
            report = dataclasses.replace(report, rows=(*report.rows, *rows))
        notify("comparing the files with what the weights make")
        files = tuple(_files(bundle, selected, answers, options))
        notes += [entry.note for entry in files if entry.note] + [_BELIEVED] * options.golden
        report = dataclasses.replace(report, notes=(*report.notes, *notes), files=files)
        inspect(selected, report, "", _known(selected, answers, cases))
        return with_required(report, _required(options))


def _own_inputs(bundle: Bundle, options: MatrixOptions) -> list[own_inputs.OwnInputs]:
    """The user's own inputs.

    Raises:
        InputError: They cannot be read, or options that need them or one another are given alone.
    """
    if options.renames and options.graph is None:
        raise InputError("--rename is for the graph of --graph", "Add --graph FILE.onnx, or leave --rename out.")
    if options.inputs is None:
        if options.outputs is not None:
            raise InputError("--outputs without --inputs: what are they the outputs of?", "Add --inputs FILE.")
        return []
    if options.golden:
        what = "--golden believes what the bundle carries, and nothing in it is known of the inputs of --inputs"
        raise InputError(what, "Leave one of them out.")
    return own_inputs.read_own_inputs(bundle.spec, options.inputs, options.outputs)


def _files(bundle: Bundle, selected: Bundle, answers: Answers, options: MatrixOptions) -> Iterator[FileResult]:
    if options.graph is None:
        for graph in selected.graphs:
            yield check_graph_file(bundle, graph)
        yield check_golden_file(bundle, answers)
    if options.against is not None:
        from drnn_models.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(options.against)
        yield check_against(bundle, checkpoint.dilated, checkpoint.weights)


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
    from drnn_deploy.exporter.contents import known_answers, task_inputs
    from drnn_deploy.matrix.variants import Selection, plan_graphs

    runtimes = options.chosen()
    selection = Selection(options.forms, options.emissions, options.precisions)
    sets, notes = plan_graphs(checkpoint, selection)
    requests = [request for graphs in sets for request in graphs.requests]
    fix = "Check less: --form chunk"
    check_cost(checkpoint.dilated, requests, options.reference_minutes, fix, task_inputs(checkpoint))
    answers = known_answers(checkpoint, requests)
    with tempfile.TemporaryDirectory() as folder:
        bundles = [
            _write(checkpoint, answers, Path(folder) / f"bundle{n}", graphs, notify) for n, graphs in enumerate(sets)
        ]
        cases, more_notes = _task_cases(bundles[0], answers, options, notify)
        checked = [_check(bundle, runtimes, answers, options, cases, notify) for bundle in bundles]
        for bundle, report, graphs in zip(bundles, checked, sets, strict=True):
            inspect(bundle, report, graphs.label, _known(bundle, answers, cases))
    reports = [_labelled(report, graphs.label) for report, graphs in zip(checked, sets, strict=True)]
    whole = ParityReport(
        rows=tuple(row for report in reports for row in report.rows),
        missing=tuple(dict.fromkeys(entry for report in reports for entry in report.missing)),
        tolerance=options.tolerance,
        network=checkpoint.dilated.short_name,
        tasks=tuple(result for report in reports for result in report.tasks),
        notes=tuple(dict.fromkeys((*notes, *more_notes, *(note for report in reports for note in report.notes)))),
    )
    return with_required(whole, _required(options))


def _required(options: MatrixOptions) -> set[str]:
    return {*options.runtimes, *options.required}


def _task_cases(
    bundle: Bundle, answers: Answers, options: MatrixOptions, notify: Notify
) -> tuple[list[TaskCase], list[str]]:
    notify("computing the float64 reference of the task's data")
    carried = {case.name: case for graph in bundle.graphs for case in answers.cases(graph)}
    return task_cases(bundle, list(carried.values()), options.task, options.task_data)


def _known(bundle: Bundle, answers: Answers, cases: Sequence[TaskCase]) -> list[GoldenCase]:
    """What a bundle may have been checked on."""
    known = {case.name: case for graph in bundle.graphs for case in answers.cases(graph)}
    return [*known.values(), *(task_case.case for task_case in cases if not task_case.carried)]


def _check(
    bundle: Bundle,
    runtimes: Sequence[Runtime],
    answers: Answers,
    options: MatrixOptions,
    cases: Sequence[TaskCase],
    notify: Notify,
) -> ParityReport:
    """The known answers, and those of the task's data that have the bundle's length."""
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

    report = check_parity(
        bundle,
        runtimes,
        answers=answers,
        tolerance=options.tolerance,
        notify=notify,
        more_cases=more,
        observe=observe,
        expected=functools.partial(check_seconds, bundle.spec),
        in_full=_required(options),
    )
    ran = {row.runtime for row in report.rows}
    counted = [runtime.name for runtime in runtimes if runtime.has_threads and runtime.name in ran]
    notes = (f"threads of a run: {options.threads} ({', '.join(counted)})",) if options.threads and counted else ()
    return dataclasses.replace(report, tasks=tuple(results), notes=report.notes + notes)


def _labelled(report: ParityReport, label: str) -> ParityReport:
    """The report with the label in the name of every graph, so that each row has one of its own."""

    def named(graph: str) -> str:
        return f"{graph} {label}".strip()

    replace = dataclasses.replace
    return replace(
        report,
        rows=tuple(replace(row, graph=named(row.graph)) for row in report.rows),
        missing=tuple(replace(entry, graph=named(entry.graph) if entry.graph else "") for entry in report.missing),
        tasks=tuple(replace(task, graph=named(task.graph)) for task in report.tasks),
    )


def _write(checkpoint: Checkpoint, answers: ComputedAnswers, folder: Path, graphs: GraphSet, notify: Notify) -> Bundle:
    """A bundle of these graphs."""
    from drnn_deploy.exporter.contents import golden_cases, write_bundle
    from drnn_deploy.exporter.options import ExportOptions

    notify("computing the float64 reference")
    cases = golden_cases(answers, graphs.requests)
    return write_bundle(
        checkpoint, folder, graphs.requests, cases, ExportOptions(profile=graphs.profile), notify=notify
    )

"""The parity check: known answers beside what a bundle's graphs give on every runtime, judged by `parity.compare`."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments
from drnn_core.errors import DeployError, RuntimeUnavailableError
from drnn_core.steps import Step
from drnn_core.types import FLOAT64
from drnn_deploy.parity.cases import DIFFERENT_ROWS
from drnn_deploy.parity.compare import judge, severity
from drnn_deploy.parity.inference import answered_case, median_milliseconds, run_rows
from drnn_deploy.parity.known_answers import Answers, ComputedAnswers, StoredAnswers, as_inputs
from drnn_deploy.parity.notes import weight_notes
from drnn_deploy.parity.results import CaseResult, Missing, ParityReport, ParityRow, all_passed
from drnn_deploy.parity.rows import Rows, assignments, batch_sizes, first_places
from drnn_deploy.parity.seeded_states import SEEDED, Seeded, check_states, seeded
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.session import Session

SAMPLED_SECONDS = 10.0
_TELLING = (DIFFERENT_ROWS, "task", "stream")  # cases
Observer = Callable[[Runtime, GraphInfo, GoldenCase, NDArray[np.generic]], None]


@checked_arguments
def check_parity(
    bundle: Bundle,
    runtimes: Sequence[Runtime],
    *,
    required: bool = False,
    answers: Answers | None = None,
    tolerance: Tolerance = DEFAULT,
    notify: Callable[[str], None] = lambda _: None,
    more_cases: Sequence[GoldenCase] = (),
    observe: Observer = lambda *_: None,
    expected: Callable[[Runtime, GraphInfo], float] | None = None,
    sampled: float | None = None,
) -> ParityReport:
    """Run every case of a bundle through every graph and runtime that is usable here.

    Graphs with state also run from known states (`drnn_deploy.parity.seeded_states`). The row of the reference is the
    golden data beside what the weights give.

    Args:
        bundle: An open bundle.
        runtimes: The runtimes to check. One that is missing here is listed in the report.
        required: Whether a runtime that can run no graph of this bundle fails, too.
        answers: What is right. Default: computed from the bundle's weights.
        tolerance: Which errors pass.
        notify: Gets a line on what is checked at the moment.
        more_cases: Further cases for graphs of whole sequences. The reference does not run them: it made their outputs.
        observe: Gets the outputs of every case, (N, outputs) or (N, k, outputs).
        expected: Estimates how many seconds a runtime takes for a graph, for `notify`.
        sampled: Seconds after which no further case of a runtime begins that is checked for comparison alone. Default:
            `SAMPLED_SECONDS`.

    Returns:
        A row for each runtime and graph that ran, and what did not run.

    Raises:
        InputError: The golden data cannot be read.
    """
    rows: list[ParityRow] = []
    missing: list[Missing] = []
    answers = answers or ComputedAnswers.of(bundle)
    states = functools.cache(lambda graph: seeded(bundle.spec, bundle.weights, graph))
    most = SAMPLED_SECONDS if sampled is None else sampled
    to_run = _runs(bundle, runtimes) if expected else []
    for runtime in runtimes:
        available = runtime.availability()
        if not available.usable:
            missing.append(Missing(runtime.name, "", available.detail, available.fix))
            continue
        for graph in graphs_for(runtime, bundle):
            if reason := runtime.unsupported(bundle, graph):
                missing.append(Missing(runtime.name, shown_name(runtime, graph), reason, ""))
                continue
            left = sum(expected(*pair) for pair in to_run) if expected else None
            notify(Step(f"checking {runtime.name} on {shown_name(runtime, graph)}", left))
            to_run = to_run[1:]
            if runtime.is_reference and isinstance(answers, ComputedAnswers):
                rows.append(_golden_row(bundle, runtime, graph, answers, tolerance, observe))
                continue
            cases, more = answers.cases(graph), () if runtime.is_reference or graph.states else more_cases
            limit = most if runtime.is_sampled else math.inf
            rows.append(_row(bundle, runtime, graph, cases, more, states, tolerance, observe, limit))
    notes = weight_notes(bundle.graphs, answers)
    report = ParityReport(tuple(rows), tuple(missing), tolerance, bundle.spec.short_name, notes=notes)
    return with_required(report, [runtime.name for runtime in runtimes]) if required else report


def _runs(bundle: Bundle, runtimes: Sequence[Runtime]) -> list[tuple[Runtime, GraphInfo]]:
    """The runtimes and graphs of a check that will run, in its order."""
    usable = (runtime for runtime in runtimes if runtime.availability().usable)
    pairs = ((runtime, graph) for runtime in usable for graph in graphs_for(runtime, bundle))
    return [(runtime, graph) for runtime, graph in pairs if not runtime.unsupported(bundle, graph)]


def with_required(report: ParityReport, names: Collection[str]) -> ParityReport:
    """Add a failed row for each runtime that must take part and ran no graph.

    Args:
        report: The report of a check.
        names: The runtimes that must take part.

    Returns:
        The report with a row of exit code 3 for each of them that is missing.
    """
    ran = {row.runtime for row in report.rows}
    code = RuntimeUnavailableError.exit_code
    failed = tuple(
        ParityRow(entry.runtime, entry.graph, "", False, (), None, entry.reason, code)
        for entry in report.missing
        if entry.runtime in names and entry.runtime not in ran
    )
    return dataclasses.replace(report, rows=report.rows + failed)


def graphs_for(runtime: Runtime, bundle: Bundle) -> list[GraphInfo]:
    """The graphs of a bundle that differ for a runtime.

    A runtime that runs the weights gets one graph of each form. The reference computes the same whatever the precision,
    pruning and batch: it gets graphs that take any batch, and so goes through its steps once for many sequences, of no
    narrower precision.

    Args:
        runtime: Whose properties count.
        bundle: An open bundle.
    """
    if runtime.reads_graph:
        return list(bundle.graphs)
    if runtime.is_reference:
        distinct = {(g.kind, g.steps, g.delay): _with_any_batch(g) for g in reversed(bundle.graphs)}
        return list(distinct.values())[::-1]
    graphs = {(g.kind, g.steps, g.batch, g.pruned, g.precision, g.delay): g for g in reversed(bundle.graphs)}
    return list(graphs.values())[::-1]


def _with_any_batch(graph: GraphInfo) -> GraphInfo:
    inputs, outputs = (
        tuple(dataclasses.replace(tensor, shape=(-1, *tensor.shape[1:])) for tensor in side)
        for side in (graph.inputs, graph.outputs)
    )
    return dataclasses.replace(graph, precision="fp32", batch=None, profile=None, inputs=inputs, outputs=outputs)


def names_of_cases(bundle: Bundle, runtime: Runtime, graph: GraphInfo, answers: ComputedAnswers) -> list[str]:
    """The names of the cases in a row of `check_parity`; nothing is computed.

    Args:
        bundle: The open bundle.
        runtime: The runtime of the row.
        graph: The graph of the row.
        answers: What is right for the bundle.
    """
    if runtime.is_reference:
        return [case.name for case in StoredAnswers(bundle).cases(graph)]
    return [*answers.names(graph), *([SEEDED] if graph.states else [])]


def check_named(
    session: Session,
    bundle: Bundle,
    graph: GraphInfo,
    answers: ComputedAnswers,
    name: str,
    tolerance: Tolerance = DEFAULT,
) -> CaseResult:
    """Run one case through a loaded graph and judge it; see `check_parity`.

    Args:
        session: The loaded graph.
        bundle: The bundle that it is of.
        graph: The graph.
        answers: What is right for the bundle.
        name: One of `names_of_cases`.
        tolerance: Which errors pass.
    """
    if name == SEEDED:
        return check_states(session, graph, seeded(bundle.spec, bundle.weights, graph), tolerance)
    (case,) = (case for case in answers.cases(graph) if case.name == name)
    return check_case(session, bundle, graph, case, tolerance)[0]


def shown_name(runtime: Runtime, graph: GraphInfo) -> str:
    """What tables call a runtime's graph: kind/emission, or the kind alone where the runtime runs the weights.

    Args:
        runtime: Whether it reads the graph's file counts.
        graph: One of a bundle's graphs.
    """
    return graph.name if runtime.reads_graph or graph.delay else graph.kind


def arithmetic(runtime: Runtime, graph: GraphInfo) -> str:
    """The precision by whose noise a runtime's outputs are judged: float64's own for the reference.

    A stream keeps its states in float32, whatever computes them.

    Args:
        runtime: The runtime.
        graph: The graph that it runs.
    """
    return FLOAT64 if runtime.is_reference and not graph.states else graph.precision


def _golden_row(
    bundle: Bundle,
    runtime: Runtime,
    graph: GraphInfo,
    answers: ComputedAnswers,
    tolerance: Tolerance,
    observe: Observer,
) -> ParityRow:
    """The row of the reference: what the golden data says, judged by what the weights give."""
    started = time.perf_counter()
    results, cases = [], StoredAnswers(bundle).cases(graph)
    for stored, known in zip(cases, answers.answers(list(map(as_inputs, cases))), strict=True):
        results.append(check_golden(answers, stored, tolerance))
        observe(runtime, graph, known, stored.outputs)
    row = _empty_row(runtime, graph)
    seconds = time.perf_counter() - started
    return dataclasses.replace(row, passed=all_passed(results), cases=tuple(results), seconds=seconds)


def check_golden(answers: ComputedAnswers, stored: GoldenCase, tolerance: Tolerance = DEFAULT) -> CaseResult:
    """Judge a case of a bundle's golden data by what its weights give.

    Args:
        answers: What the weights give.
        stored: The case of the golden data.
        tolerance: Which errors pass, in units of float64's own noise.
    """
    return judge(answers.answer(as_inputs(stored)).judged_as(FLOAT64), stored.outputs, tolerance)


def _empty_row(runtime: Runtime, graph: GraphInfo) -> ParityRow:
    precision = FLOAT64 if runtime.is_reference else graph.precision
    row = ParityRow(runtime.name, shown_name(runtime, graph), precision, False, (), None)
    return dataclasses.replace(row, steps=graph.steps, batch=graph.batch, pruned=graph.pruned)


def _row(
    bundle: Bundle,
    runtime: Runtime,
    graph: GraphInfo,
    cases: Sequence[GoldenCase],
    more: Sequence[GoldenCase],
    states: Callable[[GraphInfo], Seeded],
    tolerance: Tolerance,
    observe: Observer,
    limit: float,
) -> ParityRow:
    """limit: seconds after which no further case of `cases` begins."""
    row = _empty_row(runtime, graph)
    started = time.perf_counter()
    chosen = [*(_telling_first(cases) if limit < math.inf else cases), *more]
    try:
        with runtime.load(bundle, graph) as session:
            results: list[CaseResult] = []
            for number, case in enumerate(chosen):
                if 0 < number < len(cases) and time.perf_counter() - started > limit:
                    continue
                result, outputs = check_case(session, bundle, graph, case, tolerance, arithmetic(runtime, graph))
                results.append(result)
                observe(runtime, graph, case, outputs)
            if graph.states and not runtime.is_reference:
                results.append(check_states(session, graph, states(graph), tolerance))
            seconds = time.perf_counter() - started
            milliseconds = median_milliseconds(session, graph, chosen[0].inputs) if chosen else None
    except DeployError as error:
        reason = error.message.replace(f"{bundle.folder}{os.sep}", "")  # the report travels with the bundle
        seconds = time.perf_counter() - started
        return dataclasses.replace(row, error=reason, exit_code=error.exit_code, seconds=seconds)
    passed = all_passed(results)
    ran = dataclasses.replace(row, passed=passed, cases=tuple(results), milliseconds=milliseconds, seconds=seconds)
    left_out = len(chosen) - len({result.case for result in results} - {SEEDED})
    return dataclasses.replace(ran, caveat=_caveat(runtime, graph, left_out, limit))


def _telling_first(cases: Sequence[GoldenCase]) -> list[GoldenCase]:
    """The cases with those first that tell most."""
    return sorted(cases, key=lambda case: case.name not in _TELLING)


def _caveat(runtime: Runtime, graph: GraphInfo, left_out: int, limit: float) -> str:
    if left_out <= 0:
        return runtime.caveat(graph)
    what = f"{left_out} cases were left out after {limit:g} s; all run with --runtime {runtime.name}"
    return "; ".join(filter(None, (runtime.caveat(graph), what)))


def check_case(
    session: Session,
    bundle: Bundle,
    graph: GraphInfo,
    case: GoldenCase,
    tolerance: Tolerance = DEFAULT,
    precision: str = "",
) -> tuple[CaseResult, NDArray[np.generic]]:
    """Run one case through a loaded graph, in full batches, and judge every row of them.

    Args:
        session: The loaded graph.
        bundle: The bundle that it is of.
        graph: The graph. One that takes any batch runs with every size of its profile, and the worst result counts.
        case: The case. Of case `normal` all sequences differ: it also runs with sizes between those of the profile, and
            so that no two rows can be mixed up unseen.
        tolerance: Which errors pass.
        precision: The precision of the arithmetic, where it is not the graph's.

    Returns:
        The verdict, and the outputs of the case's sequences (N, ..., outputs), which are empty where the graph gives
        none.

    Raises:
        InputError: The case does not fit the graph, or the golden data knows no noise of the graph's precision.
    """
    different = case.name == DIFFERENT_ROWS
    sizes = batch_sizes(graph, between=different)
    judged = [
        check_batches(session, bundle, graph, case, size, tolerance, precision, apart=different and size == sizes[-1])
        for size in sizes
    ]
    return max(judged, key=lambda pair: severity(pair[0]))


def check_batches(
    session: Session,
    bundle: Bundle,
    graph: GraphInfo,
    case: GoldenCase,
    size: int | None,
    tolerance: Tolerance,
    precision: str = "",
    *,
    apart: bool,
) -> tuple[CaseResult, NDArray[np.generic]]:
    """Run one case through a loaded graph in batches of one size; see `check_case`.

    Args:
        session: The loaded graph.
        bundle: The bundle that it is of.
        graph: The graph.
        case: The case.
        size: The rows of a batch; see `drnn_deploy.parity.rows.assignments`.
        tolerance: Which errors pass.
        precision: The precision of the arithmetic, where it is not the graph's.
        apart: Whether no two rows may be mixed up unseen.
    """
    runs = assignments(len(case.inputs), size, apart=apart)
    outputs = run_rows(session, bundle, graph, case.inputs, runs)
    case, rows = answered_case(bundle, graph, case, precision), np.concatenate(runs)
    every = dataclasses.replace(case, outputs=case.outputs[rows], inputs=case.inputs[rows], targets=None)
    result = judge(every, outputs, tolerance)
    if outputs.shape != every.outputs.shape:
        return result, outputs
    first = outputs[first_places(runs, len(case.inputs))]
    alone = judge(case, first, tolerance)
    where = "" if result.verdict == alone.verdict else _worst_row(every.outputs, outputs, runs)
    return dataclasses.replace(result, agreement=alone.agreement, accuracy=alone.accuracy, where=where), first


def _worst_row(right: NDArray[np.float64], outputs: NDArray[np.generic], runs: Sequence[Rows]) -> str:
    """Which row is furthest off, for people."""
    error = np.abs(outputs.astype(np.float64) - right).reshape(len(right), -1)
    error[~np.isfinite(error)] = np.inf
    place = int(error.max(axis=1).argmax())
    for rows in runs:
        if place < len(rows):
            return f"row {place} of a batch of {len(rows)}"
        place -= len(rows)
    raise AssertionError("a row beyond all runs")

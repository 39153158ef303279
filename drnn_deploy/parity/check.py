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
from drnn_deploy.parity.graphs import arithmetic, graphs_for, shown_name
from drnn_deploy.parity.inference import median_milliseconds
from drnn_deploy.parity.known_answers import Answers, ComputedAnswers, StoredAnswers, as_inputs
from drnn_deploy.parity.notes import weight_notes
from drnn_deploy.parity.one_case import check_case, check_golden
from drnn_deploy.parity.results import CaseResult, Missing, ParityReport, ParityRow, all_passed
from drnn_deploy.parity.seeded_states import SEEDED, Seeded, check_states, seeded
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.runtime import Runtime

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
    in_full: Collection[str] = (),
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
        in_full: The runtimes of which no case is left out, however long they take.

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
            limit = most if runtime.is_sampled and runtime.name not in in_full else math.inf
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

"""The parity check: a bundle's golden cases through its graphs and runtimes, each judged by `parity.compare`."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import DeployError, RuntimeUnavailableError
from drnn_core.types import FLOAT64
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.inference import answered_case, median_milliseconds, run_inputs
from drnn_deploy.parity.results import CaseResult, Missing, ParityReport, ParityRow, all_passed
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.session import Session

Observer = Callable[[Runtime, GraphInfo, GoldenCase, NDArray[np.generic]], None]


def check_parity(
    bundle: Bundle,
    runtimes: Sequence[Runtime],
    *,
    required: bool = False,
    tolerance: Tolerance = DEFAULT,
    notify: Callable[[str], None] = lambda _: None,
    more_cases: Sequence[GoldenCase] = (),
    observe: Observer = lambda *_: None,
) -> ParityReport:
    """Run every golden case of a bundle through every graph and runtime that is usable here.

    Args:
        bundle: The bundle.
        runtimes: The runtimes to check. One that is missing here is listed in the report.
        required: Whether a runtime that can run no graph of this bundle fails, too.
        tolerance: Which errors pass.
        notify: Gets a line on what is checked at the moment.
        more_cases: Further cases for graphs of whole sequences. The reference does not run them: it made their outputs.
        observe: Gets the outputs of every case, (N, outputs) or (N, k, outputs).

    Returns:
        A row for each runtime and graph that ran, and what did not run.

    Raises:
        InputError: The golden data cannot be read.
    """
    rows: list[ParityRow] = []
    missing: list[Missing] = []
    for runtime in runtimes:
        available = runtime.availability()
        if not available.usable:
            missing.append(Missing(runtime.name, "", available.detail, available.fix))
            continue
        for graph in graphs_for(runtime, bundle):
            if reason := runtime.unsupported(bundle, graph):
                missing.append(Missing(runtime.name, shown_name(runtime, graph), reason, ""))
                continue
            notify(f"checking {runtime.name} on {shown_name(runtime, graph)}")
            cases = golden_cases(bundle, graph)
            if not runtime.is_reference and not graph.states:
                cases += more_cases
            rows.append(_row(bundle, runtime, graph, cases, tolerance, observe))
    report = ParityReport(tuple(rows), tuple(missing), tolerance, bundle.spec.short_name)
    return with_required(report, [runtime.name for runtime in runtimes]) if required else report


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
    pruning and batch: it gets graphs that take any batch, and so goes through its steps once for many sequences.
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
    return dataclasses.replace(graph, batch=None, profile=None, inputs=inputs, outputs=outputs)


def golden_cases(bundle: Bundle, graph: GraphInfo) -> list[GoldenCase]:
    """The golden cases that are for a graph: the stream for a graph with state, all others for one without."""
    return [case for case in bundle.golden if case.stream == bool(graph.states)]


def shown_name(runtime: Runtime, graph: GraphInfo) -> str:
    """What tables call a runtime's graph: kind/emission, or the kind alone where the runtime runs the weights."""
    return graph.name if runtime.reads_graph or graph.delay else graph.kind


def arithmetic(runtime: Runtime, graph: GraphInfo) -> str:
    """The precision by whose noise a runtime's outputs are judged: float64's own for the reference.

    A stream keeps its states in float32, whatever computes them.
    """
    return FLOAT64 if runtime.is_reference and not graph.states else graph.precision


def _row(
    bundle: Bundle,
    runtime: Runtime,
    graph: GraphInfo,
    cases: Sequence[GoldenCase],
    tolerance: Tolerance,
    observe: Observer,
) -> ParityRow:
    precision = FLOAT64 if runtime.is_reference else graph.precision
    row = ParityRow(runtime.name, shown_name(runtime, graph), precision, False, (), None)
    row = dataclasses.replace(row, steps=graph.steps, batch=graph.batch, pruned=graph.pruned)
    started = time.perf_counter()
    try:
        with runtime.load(bundle, graph) as session:
            results = []
            for case in cases:
                result, outputs = check_case(session, bundle, graph, case, tolerance, arithmetic(runtime, graph))
                results.append(result)
                observe(runtime, graph, case, outputs)
            seconds = time.perf_counter() - started
            milliseconds = median_milliseconds(session, graph, cases[0].inputs) if cases else None
    except DeployError as error:
        reason = error.message.replace(f"{bundle.folder}{os.sep}", "")  # the report travels with the bundle
        seconds = time.perf_counter() - started
        return dataclasses.replace(row, error=reason, exit_code=error.exit_code, seconds=seconds)
    passed = all_passed(results)
    ran = dataclasses.replace(row, passed=passed, cases=tuple(results), milliseconds=milliseconds, seconds=seconds)
    return dataclasses.replace(ran, caveat=runtime.caveat)


def check_case(
    session: Session,
    bundle: Bundle,
    graph: GraphInfo,
    case: GoldenCase,
    tolerance: Tolerance = DEFAULT,
    precision: str = "",
) -> tuple[CaseResult, NDArray[np.generic]]:
    """Run one golden case through a loaded graph and judge it.

    Args:
        session: The loaded graph.
        bundle: The bundle that it is of.
        graph: The graph. One that takes any batch runs with every size of its profile, and the worst result counts.
        case: The golden case.
        tolerance: Which errors pass.
        precision: The precision of the arithmetic, where it is not the graph's.

    Returns:
        The verdict, and the outputs (N, ..., outputs), which are empty where the graph gives none.

    Raises:
        InputError: The case does not fit the graph, or the golden data knows no noise of the graph's precision.
    """
    answered = answered_case(bundle, graph, case, precision)
    outputs = [run_inputs(session, bundle, graph, case.inputs, size) for size in graph.profile or (None,)]
    judged = [(judge(answered, output, tolerance), output) for output in outputs]
    return max(judged, key=lambda pair: (not pair[0].passed, pair[0].in_noise or 0.0))

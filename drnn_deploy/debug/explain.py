"""Why a runtime fails parity: the stage of the network that is wrong by itself, and the operator or constant in it.

1. The golden data is computed again: where it is not of the bundle's weights, nothing else matters.
2. The graph is compared with what the weights make (`drnn_export.onnx_diff`), its inputs and outputs first.
3. Every stage runs on the reference's values and states. The first one that is wrong on right inputs is the culprit.
4. The reason is the first difference in the culprit. Without a difference the graph is right and the runtime is wrong:
   the first node of the culprit that is off is named.

Where the inside of a runtime cannot be seen, ONNX Runtime runs its graph in its place, or its weights run layer by
layer.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from drnn_core.arguments import checked_arguments
from drnn_core.errors import DeployError, EngineError, RuntimeUnavailableError
from drnn_core.types import FLOAT64
from drnn_deploy.debug.explanation import Explanation
from drnn_deploy.debug.isolate import isolate_stages
from drnn_deploy.debug.isolate_weights import isolate_layers
from drnn_deploy.debug.repro import minimize
from drnn_deploy.debug.stage_errors import Expected, conditioning
from drnn_deploy.debug.verdict import Evidence, to_explanation
from drnn_deploy.parity.compare import comparable, judge
from drnn_deploy.parity.inference import answered_case
from drnn_deploy.parity.results import ParityReport, ParityRow
from drnn_deploy.parity.rows import batch_sizes
from drnn_deploy.parity.seeded_states import SEEDED
from drnn_deploy.parity.tolerance import Tolerance
from drnn_deploy.parity.trace_noises import trace_noises
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.onnx_diff import differences, edge_differences, narrower_types
from drnn_export.onnx_surgery import read_graph
from drnn_models.spec import Head
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.bundle.functions import STACK_NODE, inlined
from drnn_runtimes.bundle.graph_file import refusal
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.reference.low_precision import graph_weights
from drnn_runtimes.runtime import Runtime

_ELSEWHERE = "onnxruntime-cpu"
_NOT_OURS = (RuntimeUnavailableError.exit_code, EngineError.exit_code)  # a missing runtime explains itself


@checked_arguments
def explain_report(
    bundle: Bundle,
    report: ParityReport,
    runtimes: Sequence[Runtime],
    *,
    cases: Sequence[GoldenCase] | None = None,
    target: str = "",
    folder: Path | str | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> tuple[Explanation, ...]:
    """Explain every row of a parity report that failed on its numbers or its graph.

    Args:
        bundle: The bundle that was checked.
        report: What `check_parity` said of it.
        runtimes: The runtimes that were checked.
        cases: The cases that they were checked on. Default: the bundle's golden cases, which the reference's row is of.
        target: What the command line calls the bundle.
        folder: Where to write a reproduction of each failure (`drnn_deploy.debug.repro`). The folder is made.
        notify: Gets a line on what is explained at the moment.

    Returns:
        An explanation for each failed row, in the report's order.

    Raises:
        InputError: A reproduction cannot be written.
    """
    folder = None if folder is None else Path(folder)
    by_name = {runtime.name: runtime for runtime in runtimes}
    explanations = []
    for row in report.rows:
        if row.passed or row.exit_code in _NOT_OURS or row.runtime not in by_name:
            continue
        notify(f"explaining {row.runtime} on {row.graph}")
        runtime, known = by_name[row.runtime], _failed_cases(bundle, row, cases)
        explanation = explain(bundle, runtime, row, known)
        command = f"drnn-parity {shlex.quote(target or str(bundle.folder))} --runtime {row.runtime} --explain"
        command += "".join(f" {option}" for option in report.tolerance.options)
        written = "" if folder is None else _write_reproduction(bundle, runtime, row, known, report.tolerance, folder)
        explanations.append(dataclasses.replace(explanation, command=command, reproduction=written))
    return tuple(explanations)


def explain(bundle: Bundle, runtime: Runtime, row: ParityRow, cases: Sequence[GoldenCase]) -> Explanation:
    """Explain one row that failed. What keeps a step from being done is in the note, not raised.

    Args:
        bundle: The bundle that was checked.
        runtime: The runtime of the row.
        row: A failed row of the bundle's report.
        cases: The cases that failed, the worst first. They run until one shows a stage that is wrong.

    Returns:
        The explanation of the case that shows most.
    """
    graph = bundle.graph(row.graph)
    evidence = Evidence(row.runtime, row.graph, error=row.error)
    if runtime.reads_graph:
        evidence = with_differences(bundle, graph, evidence)
    if not cases and (only := row.worst) is not None and only.case == SEEDED and not only.passed:
        what = f"{only.where or 'the output'} is off on {only.case} inputs; no other inputs show it"
        evidence = dataclasses.replace(evidence, case=only.case, note=evidence.note or what)
    worst: Evidence | None = None
    for case in cases:
        expected, agrees = expected_for(bundle, graph, case)
        seen = dataclasses.replace(evidence, case=case.name)
        if not agrees:
            return to_explanation(dataclasses.replace(seen, stale=True))
        if not comparable(expected.case).any():
            seen = dataclasses.replace(seen, conditioning=conditioning(expected))
        seen = _with_stages(bundle, runtime, expected, seen)
        if seen.wrong or seen.edges:
            return to_explanation(seen)
        worst = worst or seen
    return to_explanation(worst or evidence)


def _failed_cases(bundle: Bundle, row: ParityRow, cases: Sequence[GoldenCase] | None) -> list[GoldenCase]:
    """The cases that keep a row from passing, the worst first. A row that did not get as far as numbers has none."""
    causes = (case for case in row.cases if case.verdict == row.verdict)
    failed = sorted(causes, key=lambda case: -(case.in_noise or np.inf))
    if not failed:
        return []
    known = {case.name: case for case in (bundle.golden if cases is None or row.is_reference else cases)}
    return [known[case.case] for case in failed if case.case in known]


def with_differences(bundle: Bundle, graph: GraphInfo, evidence: Evidence) -> Evidence:
    """Add what differs between the graph's file and the graph that its weights make.

    Args:
        bundle: The open bundle that holds the graph.
        graph: One of the bundle's graphs.
        evidence: What is known so far; it stays as it is.

    Returns:
        The evidence with edges, differences and narrower, and with the model where it can be run; only with a note
        where one of the graphs cannot be had.
    """
    try:
        model = read_graph(bundle, graph)
        right = emit(bundle.spec, bundle.weights, GraphRequest.of(graph), node_budget=2 * graph.nodes)
    except DeployError as error:
        return dataclasses.replace(evidence, note=error.message)
    versions = {side.producer_version for side in (model, right)}
    note = "" if len(versions) == 1 else "the graph was emitted by another version of drnn-deploy"
    edges, inside = tuple(edge_differences(model, right)), tuple(differences(model, right))
    types = " and ".join(narrower_types(model, right))
    narrower = f"the graph computes in {types}, the manifest says {graph.precision}" if types else ""
    runs = None if refusal(model, bundle.spec, graph) else model
    return dataclasses.replace(evidence, model=runs, edges=edges, differences=inside, narrower=narrower, note=note)


def _with_stages(bundle: Bundle, runtime: Runtime, expected: Expected, evidence: Evidence) -> Evidence:
    """Add every stage on right inputs, on this runtime or another."""
    if not runtime.reads_graph:
        stages, note = isolate_layers(runtime, bundle, expected)
        return dataclasses.replace(evidence, stages=stages, note=note)
    if evidence.model is None or evidence.edges:
        return evidence
    seen = runtime if runtime.runs_any_graph else _elsewhere()
    model = evidence.model if seen.runs_stack else inlined(evidence.model)
    isolated = isolate_stages(seen, bundle, expected, model, lambda stage: bool(evidence.changed(stage)))
    in_engine = STACK_NODE if seen is not runtime and runtime.runs_stack and evidence.model.functions else ""
    return dataclasses.replace(
        evidence,
        stages=isolated.stages,
        states=isolated.states,
        node=isolated.node or in_engine,
        rounding=isolated.rounding,
        seen_on="" if seen is runtime else seen.name,
        note="; ".join(filter(None, (evidence.note, isolated.note))),
    )


def _elsewhere() -> Runtime:
    from drnn_runtimes.registry import find_runtime

    return find_runtime(_ELSEWHERE)


def expected_for(bundle: Bundle, graph: GraphInfo, case: GoldenCase) -> tuple[Expected, bool]:
    """Compute a golden case again in float64.

    Args:
        bundle: The open bundle that holds the graph.
        graph: The graph that answers the case.
        case: The golden case.

    Returns:
        What is right for this graph, and whether the golden data says the same.
    """
    spec = bundle.spec
    every = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs)) if case.stream else spec
    weights = graph_weights(bundle.weights, graph.precision)
    right = run_reference(every, weights, case.inputs, traced=True)
    answered = answered_case(bundle, graph, case)
    measured = trace_noises(every, weights, graph.precision, case.inputs, right).trace
    agrees = judge(case.judged_as(graph.precision).judged_as(FLOAT64), right.outputs).verdict != "failed"
    return Expected(spec, graph, answered, right.trace, measured), agrees


def _write_reproduction(
    bundle: Bundle, runtime: Runtime, row: ParityRow, cases: Sequence[GoldenCase], tolerance: Tolerance, folder: Path
) -> str:
    """Write what still fails of the worst case. Returns the file in `folder`; "" where nothing fails again."""
    graph = bundle.graph(row.graph)
    for case in cases[:1]:
        for size in batch_sizes(graph, between=True):
            reproduction = minimize(runtime, bundle, graph, case, size, tolerance)
            if reproduction is not None:
                path = folder / f"{row.runtime}-{row.graph.replace('/', '-')}.npz"
                reproduction.save(path)
                return str(path)
    return ""

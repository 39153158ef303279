"""One case of the parity check: through a loaded graph in batches of every size, and judged row by row."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import FLOAT64
from drnn_deploy.parity.cases import DIFFERENT_ROWS
from drnn_deploy.parity.compare import judge, severity
from drnn_deploy.parity.inference import answered_case, run_rows
from drnn_deploy.parity.known_answers import ComputedAnswers, StoredAnswers, as_inputs
from drnn_deploy.parity.results import CaseResult
from drnn_deploy.parity.rows import Rows, assignments, batch_sizes, first_places
from drnn_deploy.parity.seeded_states import SEEDED, check_states, seeded
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.session import Session

_LONG = 4096  # steps of a sequence, of which no run is made twice


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


def check_golden(answers: ComputedAnswers, stored: GoldenCase, tolerance: Tolerance = DEFAULT) -> CaseResult:
    """Judge a case of a bundle's golden data by what its weights give.

    Args:
        answers: What the weights give.
        stored: The case of the golden data.
        tolerance: Which errors pass, in units of float64's own noise.
    """
    return judge(answers.answer(as_inputs(stored)).judged_as(FLOAT64), stored.outputs, tolerance)


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

    Where the way counts by which a program runs a graph, a run is made once more in that way: `Session.bind` for case
    `normal`, and pushes of a step and a few for streams of single steps.

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
    runs, as_used = assignments(len(case.inputs), size, apart=apart), _as_used(graph, case)
    if as_used and case.inputs.shape[1] <= max(_LONG, graph.steps):
        runs = [*runs, runs[-1]]
    outputs = run_rows(session, bundle, graph, case.inputs, runs, as_used=bool(as_used))
    case, rows = answered_case(bundle, graph, case, precision), np.concatenate(runs)
    every = dataclasses.replace(case, outputs=case.outputs[rows], inputs=case.inputs[rows], targets=None)
    result = judge(every, outputs, tolerance)
    if outputs.shape != every.outputs.shape:
        return result, outputs
    first = outputs[first_places(runs, len(case.inputs))]
    alone = judge(case, first, tolerance)
    where = "" if result.verdict == alone.verdict else _worst_row(every.outputs, outputs, runs, as_used)
    return dataclasses.replace(result, agreement=alone.agreement, accuracy=alone.accuracy, where=where), first


def _as_used(graph: GraphInfo, case: GoldenCase) -> str:
    """How the run that is made as a program makes it is called; "" where no such run is needed."""
    if graph.states:
        return " that is pushed a few steps at a time" if graph.steps == 1 else ""
    return " of a bound call" if case.name == DIFFERENT_ROWS else ""


def _worst_row(right: NDArray[np.float64], outputs: NDArray[np.generic], runs: Sequence[Rows], as_used: str) -> str:
    """Which row is furthest off, for people; as_used: what is said of the last run."""
    error = np.abs(outputs.astype(np.float64) - right).reshape(len(right), -1)
    error[~np.isfinite(error)] = np.inf
    place = int(error.max(axis=1).argmax())
    for number, rows in enumerate(runs):
        if place < len(rows):
            return f"row {place} of a batch of {len(rows)}{as_used * (number == len(runs) - 1)}"
        place -= len(rows)
    raise AssertionError("a row beyond all runs")

"""Inputs for contenders and what float64 makes of them: a contender that computes something else is not timed.

Two different sequences take turns over a batch's rows. That any two rows can be told apart is parity's business.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from drnn_core.types import NamedGraph
from drnn_deploy.bench.contender import Array
from drnn_deploy.parity.cases import (
    DIFFERENT_ROWS,
    CaseInputs,
    answered_steps,
    sequence_cases,
    stream_case,
    stream_length,
)
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.known_answers import ComputedAnswers, has_state
from drnn_deploy.parity.results import CaseResult
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle import GoldenCase, GraphInfo

_SEQUENCES = 2


def answer_for(spec: ModelSpec, weights: Weights, graphs: Sequence[NamedGraph]) -> GoldenCase:
    """Inputs for graphs of one setting, and what is right for them; kept in the user's cache.

    Args:
        spec: The network.
        weights: Its weights.
        graphs: All of the same form and steps.

    Returns:
        Normally distributed sequences, or random tokens; for graphs with state a stream of several pieces.
    """
    first = graphs[0]
    if has_state(first):
        case = stream_case(spec, stream_length(spec, graphs), first.steps)
    else:
        (case,) = (case for case in sequence_cases(spec, first.steps) if case.name == DIFFERENT_ROWS)
    case = CaseInputs(case.name, case.inputs[:_SEQUENCES], stream=case.stream)
    return ComputedAnswers(spec, weights, graphs).answer(case)


def batch_inputs(case: GoldenCase, batch: int) -> Array:
    """The inputs of a batch, (B, T, ...).

    Args:
        case: What `answer_for` gives.
        batch: How many rows.
    """
    return np.ascontiguousarray(case.inputs[_rows(case, batch)])


def judge_outputs(
    spec: ModelSpec, graph: GraphInfo, case: GoldenCase, batch: int, outputs: Array, tolerance: Tolerance = DEFAULT
) -> CaseResult:
    """Compare what a contender gave for `batch_inputs` with what is right.

    Args:
        spec: The network.
        graph: What the contender computed.
        case: What `answer_for` gives.
        batch: How many sequences it was given.
        outputs: (B, outputs) or (B, k, outputs); of a stream all its answers, one after the other.
        tolerance: Which errors pass.
    """
    case = case.judged_as(graph.precision)
    if graph.states:
        steps = answered_steps(graph.steps, spec.head.output_steps(graph.steps), case.inputs.shape[1])
        case = case.at_steps(steps[: len(steps) - graph.delay])  # a graph with a delay has not said the last ones yet
    rows = _rows(case, batch)
    every = dataclasses.replace(case, inputs=case.inputs[rows], outputs=case.outputs[rows])
    return judge(every, outputs, tolerance)


def _rows(case: GoldenCase, batch: int) -> Array:
    return np.arange(batch) % len(case.inputs)

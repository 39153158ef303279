"""The error of every stage and every state against float64, in units of the noise of that tensor."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.debug.explanation import Deviation, StateResult
from drnn_deploy.debug.stages import Stage, StateRows, state_rows
from drnn_deploy.debug.taps import BatchRuns
from drnn_deploy.parity.cases import answered_steps
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.state_layout import Array, Trace, rows_at, states_after, states_before
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GoldenCase, GraphInfo
from drnn_runtimes.bundle.golden import Noise

Noises = Mapping[str, NDArray[np.float64]]  # by the names of a trace, (T, H) each


@dataclasses.dataclass(frozen=True)
class Expected:
    """One golden case in float64, as a graph answers it.

    Attributes:
        spec: The network.
        graph: One of the bundle's graphs.
        case: The case, with the outputs that the graph answers.
        trace: The values between the layers.
        noises: Their noises, by the same names.
    """

    spec: ModelSpec
    graph: GraphInfo
    case: GoldenCase
    trace: Trace
    noises: Noises


def conditioning(expected: Expected) -> str:
    """Say how fast the layers of a network amplify rounding, in one sentence.

    Args:
        expected: What is right for the graph in a case, with its noises.
    """
    top = expected.noises[f"l{expected.spec.layers - 1}_h"].max(axis=1)
    end = int(np.argmax(top >= top[-1] / 2))  # it grows no further than the values themselves
    decades = float(np.log10(top[end] / top[0]))
    speed = f", tenfold every {end / decades:.2g} steps" if end and decades > 1 else ""
    return (
        f"conditioning: the network amplifies a rounding of {top[0]:.0e} at first to {top[end]:.0e} by step {end}"
        f"{speed}, in any arithmetic of this precision; nothing else was found wrong"
    )


def measure_stage(expected: Expected, stage: Stage, batches: Sequence[BatchRuns]) -> Deviation | None:
    """Measure a stage's tensor in these runs.

    Args:
        expected: What is right for the graph in this case.
        stage: The input or a layer.
        batches: What the runs over each batch of the case gave.

    Returns:
        Its deviation; None where the graph lacks the tensor or the runs do not reach it.
    """
    if any(stage.tensor not in run for batch in batches for run in batch.runs.values()):
        return None
    length = expected.case.inputs.shape[1]
    observed, right, times = [], [], np.zeros(0, np.int64)
    for batch in batches:
        pieces = []
        for number, run in batch.runs.items():
            steps = stage.steps(number)
            inside = steps < length  # before the sequence, where there is such a step, all is zero
            value = stage.observed(run[stage.tensor], len(batch.sequences))
            if value.ndim != 3:
                return _misshapen(float(expected.noises[stage.source].max()), int(steps.max()))
            pieces.append((value[: batch.used, inside], steps[inside]))
        observed.append(np.concatenate([value for value, _ in pieces], axis=1))
        times = np.concatenate([steps for _, steps in pieces])
        right.append(rows_at(expected.trace[stage.source][batch.sequences[: batch.used]], times))
    if not len(times):
        return None
    return _deviation(np.concatenate(observed), np.concatenate(right), expected.noises[stage.source][times], times)


def measure_head(expected: Expected, batches: Sequence[BatchRuns]) -> Deviation | None:
    """Measure the output in these runs.

    Args:
        expected: What is right for the graph in this case.
        batches: What the runs over each batch of the case gave.

    Returns:
        Its deviation; None where the graph does not give it or the runs do not reach it.
    """
    graph, case, noise = expected.graph, expected.case, expected.case.noise
    answers = expected.spec.head.output_steps(graph.steps)  # of a run
    observed, right, every = [], [], _output_times(expected)
    times = every
    for batch in batches:
        numbers = [number for number in batch.runs if 0 <= number - graph.delay < case.inputs.shape[1] // graph.steps]
        if not numbers or any("output" not in run for run in batch.runs.values()):
            return None
        answers_right = case.outputs[batch.sequences[: batch.used]]
        outputs = [batch.runs[number]["output"][: batch.used] for number in numbers]
        if graph.states:
            places = np.array([(number - graph.delay) * answers + np.arange(answers) for number in numbers]).reshape(-1)
            outputs = [output if output.ndim == 3 else output[:, None] for output in outputs]
            answers_right, times = answers_right[:, places], every[places]
            noise = case.at_steps(places).noise
        observed.append(np.concatenate(outputs, axis=1))
        right.append(answers_right)
    return _deviation(np.concatenate(observed), np.concatenate(right), noise, times)


def measure_states(expected: Expected, batches: Sequence[BatchRuns]) -> list[StateResult]:
    """Measure the states that come out of runs whose states went in right.

    Args:
        expected: What is right for the graph in this case.
        batches: What the runs over each batch of the case gave.

    Returns:
        A result for each state output, or for its rows of each stage.
    """
    seen = [_StatesOf(expected, batch) for batch in batches]
    return [_measure_state(expected, rows, seen) for rows in state_rows(expected.spec, expected.graph)]


class _StatesOf:
    """The states of a batch's runs by name, one run after the other: (B, runs * rows, H) each."""

    def __init__(self, expected: Expected, batch: BatchRuns) -> None:
        trace = {name: value[batch.sequences[: batch.used]] for name, value in expected.trace.items()}
        self.numbers = list(batch.runs)
        self.observed = [
            {after: run[after][: batch.used] for _, after in expected.graph.states} for run in batch.runs.values()
        ]
        self.right = [states_after(expected.spec, expected.graph, trace, number) for number in batch.runs]
        self.before = [states_before(expected.spec, expected.graph, trace, number) for number in batch.runs]


def _measure_state(expected: Expected, rows: StateRows, seen: Sequence[_StatesOf]) -> StateResult:
    def joined(name: str, runs: Callable[[_StatesOf], Sequence[Mapping[str, NDArray[Any]]]]) -> NDArray[Any]:
        stages = [[run[name][:, rows.rows, : rows.width] for run in runs(states)] for states in seen]
        return np.concatenate([np.concatenate(stage, axis=1) for stage in stages])

    observed, right = joined(rows.name, lambda states: states.observed), joined(rows.name, lambda states: states.right)
    rows_per_run = observed.shape[1] // len(seen[0].numbers)
    times = np.repeat([(number + 1) * expected.graph.steps - 1 for number in seen[0].numbers], rows_per_run)
    noise: Noise = float(np.finfo(np.float32).eps)
    if rows.source in expected.noises:
        every = expected.noises[rows.source]
        noise = every[np.minimum(times, len(every) - 1), : rows.width]
    deviation = _deviation(observed, right, noise, times)
    remark = ""
    if not deviation.passed:
        before = joined(rows.before, lambda states: states.before)
        others = {
            name: joined(name, lambda states: states.right) for _, name in expected.graph.states if name != rows.name
        }
        remark = _resemblance(observed, right, before, rows_per_run, rows, others, deviation.limit)
    return StateResult(rows.stage, rows.name, deviation, remark)


def _resemblance(
    observed: Array,
    right: Array,
    before: Array,
    rows_per_run: int,
    rows: StateRows,
    others: Mapping[str, Array],
    limit: float,
) -> str:
    """What a wrong state is in place of the right one. `rows_per_run`: the rows of one run."""

    def same(value: Array) -> bool:
        return observed.shape == value.shape and bool(np.abs(observed - value).max() <= limit)

    if same(np.zeros_like(right)):
        return "is all zeros"
    if same(before):
        return f"is not carried on: it is {rows.before}, unchanged"
    if observed.shape == right.shape:
        newest_first = right.reshape(len(right), -1, rows_per_run, right.shape[2])[:, :, ::-1].reshape(right.shape)
        if same(newest_first):
            return "has its rows in the reverse order"
    return next((f"holds what {name} should" for name, value in others.items() if same(value)), "")


def _output_times(expected: Expected) -> NDArray[np.int64]:
    """The time step that each output step answers."""
    length, head = expected.case.inputs.shape[1], expected.spec.head
    if expected.graph.states:
        return answered_steps(expected.graph.steps, head.output_steps(expected.graph.steps), length)
    return np.arange(length - head.output_steps(length), length)


def _deviation(observed: NDArray[Any], right: Array, noise: Noise, times: NDArray[np.int64]) -> Deviation:
    case = GoldenCase("", np.zeros((len(right), 1), np.float32), right.astype(np.float64), noise)
    result = judge(case, observed)
    first = result.first_bad_step
    step = None if first is None else max(0, int(times[min(first, len(times) - 1)]))
    return Deviation(result.absolute, result.in_noise, result.limit, step, result.growth)


def _misshapen(noise: float, step: int) -> Deviation:
    return Deviation(None, None, NOISE_MULTIPLE * noise, step, ())

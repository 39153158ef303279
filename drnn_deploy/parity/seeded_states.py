"""Graphs with state from states that are not zero: the outputs, and every row of every state that comes out.

A graph with state is one function of a chunk and the states before it. One that gives right outputs and right next
states for arbitrary ones is right for every stream, however long its delay lines are: no stream has to go round them.
The reference goes through one chunk, which takes milliseconds; so it is computed anew at every check.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import PRECISIONS
from drnn_deploy.parity.compare import judge, severity
from drnn_deploy.parity.results import CaseResult
from drnn_deploy.parity.rows import Rows, assignments, batch_sizes
from drnn_deploy.parity.state_layout import Array, Lines, states_after, states_before
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_deploy.parity.trace_noises import trace_noises
from drnn_models.spec import Head, ModelSpec, Tokens
from drnn_models.weights import Weights
from drnn_runtimes.bundle import GoldenCase, GraphInfo
from drnn_runtimes.bundle.graph_kind import OUTPUT
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.reference.low_precision import graph_weights
from drnn_runtimes.session import Arrays, Session

SEEDED = "seeded states"
_SEQUENCES = 4
_MOST_BYTES = 64 << 20  # of the seeded delay lines, as float32
_BEYOND = 8.0  # times what tanh gives
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_FLAGS = "next_state_started"  # of emission skewed: ones, which no rounding reaches


@dataclasses.dataclass(frozen=True)
class Seeded:
    """One run of a graph from known states, and what float64 makes of it.

    Attributes:
        feed: Every input of the graph by name, of N sequences.
        right: Every output by name, float64.
        noises: The noise of every output by name, like one sequence's.
    """

    feed: Arrays
    right: dict[str, Array]
    noises: dict[str, NDArray[np.float64]]


def seeded(spec: ModelSpec, weights: Weights, graph: GraphInfo) -> Seeded:
    """Make states that are not zero, inputs, and what float64 makes of them in one run of a graph.

    Args:
        spec: The network.
        weights: Its weights.
        graph: A graph with state.
    """
    run = spec.layers if graph.delay else 0  # of a skewed graph one in which every layer is at a step of the sequence
    start = _lines(spec)
    inputs = _inputs(spec, len(next(iter(start.values()))), run + graph.steps)
    short, reached = _within(spec, start, inputs.shape[1])
    weights = graph_weights(weights, graph.precision)
    right = run_reference(short, weights, inputs, reached, traced=True)
    noise = trace_noises(short, weights, graph.precision, inputs, right, reached)
    answered = np.arange(graph.steps - spec.head.output_steps(graph.steps), graph.steps) + run - graph.delay
    if spec.head.kind == "last":
        answered = answered[-1]
    before = states_before(spec, graph, right.trace, run, start)
    after = states_after(spec, graph, right.trace, run, start)
    known = {name: np.full((1, *line.shape[1:]), PRECISIONS[graph.precision].spacing) for name, line in start.items()}
    noises = states_after(spec, graph, {name: value[None] for name, value in noise.trace.items()}, run, known)
    noises |= {_FLAGS: np.full_like(noises[_FLAGS], PRECISIONS["fp32"].spacing)} if _FLAGS in noises else {}
    feed = {"input": inputs[:, run : run + graph.steps], **before}
    return Seeded(
        {name: value if name == "input" else value.astype(np.float32) for name, value in feed.items()},
        {OUTPUT: right.outputs[:, answered], **after},
        {OUTPUT: noise.outputs[answered], **{name: value[0] for name, value in noises.items()}},
    )


def check_states(session: Session, graph: GraphInfo, known: Seeded, tolerance: Tolerance = DEFAULT) -> CaseResult:
    """Run a graph from known states, with every size of its batch, and compare all that comes out.

    Args:
        session: The loaded graph.
        graph: The graph.
        known: What `seeded` gives.
        tolerance: Which errors pass.

    Returns:
        The result of the output or state that is furthest off; `where` names a state.
    """
    judged = []
    for size in batch_sizes(graph, between=True):
        runs = assignments(len(known.feed["input"]), size, apart=True)
        outputs = [
            session.run({name: np.ascontiguousarray(x[rows]) for name, x in known.feed.items()}) for rows in runs
        ]
        judged += [_judged(known, name, runs, outputs, tolerance) for name in known.right]
    return max(judged, key=severity)


def _judged(known: Seeded, name: str, runs: list[Rows], outputs: list[Arrays], tolerance: Tolerance) -> CaseResult:
    rows = np.concatenate(runs)
    right = known.right[name][rows]
    case = GoldenCase(SEEDED, known.feed["input"][rows], right.astype(np.float64), known.noises[name])
    values = [output.get(name, np.zeros(0)) for output in outputs]
    alike = len({value.shape[1:] for value in values}) == 1
    result = judge(case, np.concatenate(values) if alike else np.zeros(0), tolerance)
    return result if name == OUTPUT else dataclasses.replace(result, where=name)


def _lines(spec: ModelSpec) -> dict[str, NDArray[np.float32]]:
    """Delay lines in which all values differ, the same on every machine: from -1 to 1, as tanh gives.

    An LSTM's c and a relu's h have no such bound: those of half the sequences go further.
    """
    shapes = spec.state_shapes(1)
    size = 4 * sum(int(np.prod(shape)) for shape in shapes.values())
    count = max(1, min(_SEQUENCES, _MOST_BYTES // size))
    lines, used = {}, 1
    for name, (_, length, hidden) in shapes.items():
        numbers = np.arange(used, used + count * length * hidden, dtype=np.float64)
        used += len(numbers)
        values = (2.0 * (numbers * _GOLDEN_RATIO % 1.0) - 1.0).reshape(count, length, hidden)
        if name.endswith("c") or spec.activation == "relu":
            values[count // 2 :] *= _BEYOND
        lines[name] = values.astype(np.float32)
    return lines


def _inputs(spec: ModelSpec, count: int, steps: int) -> NDArray[np.generic]:
    random = np.random.default_rng(1)
    if isinstance(spec.input, Tokens):
        return random.integers(0, spec.input.vocabulary, (count, steps), dtype=np.int64)
    return random.standard_normal((count, steps, spec.input.features), dtype=np.float32)


def _within(spec: ModelSpec, start: Lines, steps: int) -> tuple[ModelSpec, Lines]:
    """The network that gives the same outputs for so many steps, with no longer delay lines than they reach.

    The head answers every step.
    """
    dilations = tuple(min(dilation, steps) for dilation in spec.dilations)
    if spec.window > 1:
        dilations = (spec.dilations[0], *dilations[1:])  # which the window is as long as
    head = Head("sequence", spec.head.outputs)
    short = dataclasses.replace(spec, dilations=dilations, fusion=spec.window > 1, head=head)
    return short, {name: start[name][:, :length] for name, (_, length, _) in short.state_shapes(1).items()}

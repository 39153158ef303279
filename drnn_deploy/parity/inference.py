"""Sequences through a loaded graph, in its batches and as a stream where it has state; and how long that takes."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import TensorInfo
from drnn_deploy.parity.cases import answered_steps
from drnn_deploy.parity.rows import Rows
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.session import Arrays, Session
from drnn_runtimes.streaming.delay_lines import zero_states
from drnn_runtimes.streaming.stream import Stream
from drnn_runtimes.whole_runs import read_stream

_TIMING_RUNS, _TIMING_SECONDS = 30, 1.0
_PIECES = 1, 1, 1, 1, 2, 1, 3  # steps that are pushed together, again and again
_BEYOND_RINGS, _MOST_PIECEWISE = 256, 2048  # steps in such pieces


def run_case(session: Session, graph: GraphInfo, inputs: NDArray[np.generic], size: int | None = None) -> Arrays:
    """Run any number of sequences through a graph, in its batches. Repeated rows fill the last batch.

    Args:
        session: The loaded graph.
        graph: What was loaded: its steps, batch and states count.
        inputs: The sequences, (N, T, C) float32 or (N, T) int64 tokens.
        size: The size of a batch for a graph that takes any. Default: that for which its profile is best.

    Returns:
        Every output of the graph by name, with N rows each.
    """
    size = graph.batch or size or (graph.profile[1] if graph.profile else None)
    runs = [(session.run({"input": batch}), used) for batch, used in batches(inputs, size)]
    return {name: np.concatenate([outputs[name][:used] for outputs, used in runs]) for name in runs[0][0]}


def run_stream(
    session: Session,
    bundle: Bundle,
    graph: GraphInfo,
    inputs: NDArray[np.generic],
    size: int | None = None,
    *,
    piecewise: bool = False,
) -> Arrays:
    """Feed the whole chunks of sequences through a graph with state, in its batches, from the zero state.

    Args:
        session: The loaded graph.
        bundle: The bundle that it is of.
        graph: The graph, which has states.
        inputs: The sequences, (N, T, C) float32 or (N, T) int64 tokens.
        size: The size of a batch for a graph that takes any.
        piecewise: Whether they are pushed a step or a few at a time until every delay line went round, if that is soon.

    Returns:
        {"output": (N, m, outputs)}, with the m outputs of `drnn_deploy.parity.cases.answered_steps`.
    """
    whole = inputs.shape[1] // graph.steps * graph.steps
    outputs, feed = [], _push_pieces if piecewise else read_stream
    for batch, used in batches(inputs[:, :whole], graph.batch or size):
        outputs.append(feed(session, bundle, graph, batch)[:used])
    return {"output": np.concatenate(outputs)}


def run_rows(
    session: Session,
    bundle: Bundle,
    graph: GraphInfo,
    inputs: NDArray[np.generic],
    runs: Sequence[Rows],
    *,
    as_used: bool = False,
) -> NDArray[np.generic]:
    """Run batches whose rows are these sequences, as streams where the graph has states.

    Args:
        session: The loaded graph.
        bundle: The bundle that it is of.
        graph: The graph.
        inputs: The sequences, (N, T, C) float32 or (N, T) int64 tokens.
        runs: For each run, the sequence of each row.
        as_used: Whether the last run is made as a program makes it: with a bound call, or a step of a stream at a time.

    Returns:
        The output of every row, runs one after the other, (rows, ..., outputs); (0,) where the graph gives none.
    """
    outputs = []
    for number, rows in enumerate(runs):
        batch, so = np.ascontiguousarray(inputs[rows]), as_used and number == len(runs) - 1
        if graph.states:
            outputs.append(run_stream(session, bundle, graph, batch, len(batch), piecewise=so)["output"])
        elif so and outputs[-1].shape == _arrays(graph.outputs, len(batch))["output"].shape:  # else it is wrong anyway
            outputs.append(bound_call(session, graph, len(batch))(batch))
        else:
            outputs.append(session.run({"input": batch}).get("output", np.zeros(0)))
    return np.concatenate(outputs) if len({output.shape[1:] for output in outputs}) == 1 else np.zeros(0)


def bound_call(session: Session, graph: GraphInfo, batch: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Make a call that copies its inputs to where the session reads them; its outputs are good until the next one.

    Args:
        session: The loaded graph.
        graph: The graph, which has no states.
        batch: How many sequences it takes.
    """
    inputs, outputs = _arrays(graph.inputs, batch), _arrays(graph.outputs, batch)
    run = session.bind(inputs, outputs)

    def call(samples: NDArray[Any]) -> NDArray[Any]:
        np.copyto(inputs["input"], samples)
        run()
        return outputs["output"]

    return call


def _arrays(tensors: Sequence[TensorInfo], batch: int) -> Arrays:
    shapes = {t.name: [batch if size == -1 else size for size in t.shape] for t in tensors}
    return {t.name: np.zeros(shapes[t.name], t.dtype) for t in tensors}


def _push_pieces(session: Session, bundle: Bundle, graph: GraphInfo, batch: NDArray[np.generic]) -> NDArray[np.generic]:
    """What `read_stream` gives, of small pieces: a runtime may compute the steps of a large one in another way."""
    some, steps = min(max(bundle.spec.dilations) + _BEYOND_RINGS, _MOST_PIECEWISE), batch.shape[1]
    ends = itertools.takewhile(lambda end: end < min(some, steps), itertools.accumulate(itertools.cycle(_PIECES)))
    outputs, start = [], 0
    with contextlib.closing(Stream(session, bundle, graph, len(batch))) as stream:
        for end in (*ends, steps):
            outputs.append(stream.push(batch[:, start:end]))
            start = end
        return np.concatenate([*outputs, stream.finish()], axis=1)


def answered_case(bundle: Bundle, graph: GraphInfo, case: GoldenCase, precision: str = "") -> GoldenCase:
    """A case as a graph answers it: the noise of its precision; with state, only outputs that it gives.

    Args:
        bundle: The open bundle that holds the graph.
        graph: One of the bundle's graphs.
        case: The case as it is known; it stays as it is.
        precision: The precision of the arithmetic, where it is not the graph's.

    Raises:
        InputError: Nothing is known of the noise of the precision.
    """
    case = case.judged_as(precision or graph.precision)
    if graph.states:
        answers = bundle.spec.head.output_steps(graph.steps)
        case = case.at_steps(answered_steps(graph.steps, answers, case.inputs.shape[1]))
    return case


def batches(inputs: NDArray[np.generic], size: int | None) -> Iterator[tuple[NDArray[np.generic], int]]:
    """Split rows into batches. The last batch is filled up with repeated rows.

    Args:
        inputs: The rows, (N, ...).
        size: The rows of a batch; None for a graph that takes any number and has no profile.

    Yields:
        Each batch, and how many of its rows are not repeated.
    """
    if size is None:  # a dynamic batch is checked as one sequence and as all the others together
        yield inputs[:1], 1
        if len(inputs) > 1:
            yield inputs[1:], len(inputs) - 1
        return
    for start in range(0, len(inputs), size):
        rows = np.arange(start, start + size) % len(inputs)
        yield np.ascontiguousarray(inputs[rows]), min(size, len(inputs) - start)


def median_milliseconds(session: Session, graph: GraphInfo, inputs: NDArray[np.generic]) -> float:
    """The time of a run, in milliseconds per sequence.

    Args:
        session: The loaded graph.
        graph: What was loaded: its steps, batch and states count.
        inputs: The sequences, (N, T, ...); the first batch of them is run.

    Returns:
        The median of up to 30 runs, or of as many as one second holds.
    """
    batch, _ = next(batches(inputs, graph.batch or (graph.profile[0] if graph.profile else None)))
    feed: Mapping[str, NDArray[np.generic]] = {"input": batch[:, : graph.steps], **zero_states(graph, len(batch))}
    times: list[float] = []
    started = time.perf_counter()
    while not times or (len(times) < _TIMING_RUNS and time.perf_counter() - started < _TIMING_SECONDS):
        before = time.perf_counter()
        session.run(feed)
        times.append(time.perf_counter() - before)
    return float(np.median(times)) * 1e3 / len(batch)

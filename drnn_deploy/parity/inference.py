"""Sequences through a loaded graph, in its batches and as a stream where it has state; and how long that takes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_models.spec import Head
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.session import Arrays, Session
from drnn_runtimes.streaming.delay_lines import zero_states
from drnn_runtimes.streaming.stream import Stream

_TIMING_RUNS, _TIMING_SECONDS = 30, 1.0


def run_case(session: Session, graph: GraphInfo, inputs: NDArray[np.generic], size: int | None = None) -> Arrays:
    """Run any number of sequences through a graph, in its batches. Repeated rows fill the last batch.

    Args:
        session: The loaded graph.
        graph: What was loaded: its steps, batch and states count.
        inputs: The sequences, (N, T, C) float32 or (N, T) int64 tokens.
        size: The size of a batch for a graph that takes any.

    Returns:
        Every output of the graph by name, with N rows each.
    """
    runs = [(session.run({"input": batch}), used) for batch, used in batches(inputs, graph.batch or size)]
    return {name: np.concatenate([outputs[name][:used] for outputs, used in runs]) for name in runs[0][0]}


def run_stream(
    session: Session, bundle: Bundle, graph: GraphInfo, inputs: NDArray[np.generic], size: int | None = None
) -> Arrays:
    """Feed the whole chunks of sequences through a graph with state, in its batches, from the zero state.

    Args:
        session: The loaded graph.
        bundle: The bundle that it is of.
        graph: The graph, which has states.
        inputs: The sequences, (N, T, C) float32 or (N, T) int64 tokens.
        size: The size of a batch for a graph that takes any.

    Returns:
        {"output": (N, m, outputs)}, with the m outputs of `answered_steps`.
    """
    whole = inputs.shape[1] // graph.steps * graph.steps
    outputs = []
    for batch, used in batches(inputs[:, :whole], graph.batch or size):
        stream = Stream(session, bundle, graph, len(batch))
        outputs.append(np.concatenate([stream.push(batch), stream.finish()], axis=1)[:used])
    return {"output": np.concatenate(outputs)}


def answered_steps(chunk: int, head: Head, length: int) -> NDArray[np.int64]:
    """The time steps of a stream that get an output: the last ones of every chunk, as many as the head answers.

    Args:
        chunk: The time steps of a run.
        head: The head of the network.
        length: The time steps of the stream.

    Returns:
        The time steps (m,), in ascending order.
    """
    ends = np.arange(chunk, length + 1, chunk)
    count = head.output_steps(chunk)
    return (ends[:, None] + np.arange(-count, 0)).reshape(-1)


def answered_case(bundle: Bundle, graph: GraphInfo, case: GoldenCase) -> GoldenCase:
    """A case as a graph answers it: the noise of its precision; with state, only the outputs of `answered_steps`.

    Args:
        bundle: The open bundle that holds the graph.
        graph: One of the bundle's graphs.
        case: The case as the golden data has it; it stays as it is.

    Raises:
        InputError: The golden data has no noise for the graph's precision.
    """
    case = dataclasses.replace(case, noise=case.noise_of(graph.precision))
    if graph.states:
        steps = answered_steps(graph.steps, bundle.spec.head, case.inputs.shape[1])
        case = dataclasses.replace(case, outputs=case.outputs[:, steps])
    return case


def run_inputs(
    session: Session, bundle: Bundle, graph: GraphInfo, inputs: NDArray[np.generic], size: int | None = None
) -> NDArray[np.generic]:
    """Run any number of sequences through a graph, as a stream where it has states.

    Args:
        session: The loaded graph.
        bundle: The bundle that it is of.
        graph: One of the bundle's graphs.
        inputs: The sequences, (N, T, C) float32 or (N, T) int64 tokens.
        size: The size of a batch for a graph that takes any.

    Returns:
        The output, (N, ..., outputs); (0,) where the graph gives none.
    """
    if graph.states:
        return run_stream(session, bundle, graph, inputs, size)["output"]
    return run_case(session, graph, inputs, size).get("output", np.zeros(0))


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
    batch, _ = next(batches(inputs, graph.batch))
    feed: Mapping[str, NDArray[np.generic]] = {"input": batch[:, : graph.steps], **zero_states(graph, len(batch))}
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < _TIMING_RUNS and time.perf_counter() - started < _TIMING_SECONDS:
        before = time.perf_counter()
        session.run(feed)
        times.append(time.perf_counter() - before)
    return float(np.median(times)) * 1e3 / len(batch)

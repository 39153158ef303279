"""Any number of sequences through a graph of a bundle, whole or as streams: what `Bundle.run` does."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.memory import Need, require_memory
from drnn_core.steps import Step
from drnn_models.sequences import as_sequences
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime, first_that_runs
from drnn_runtimes.session import Session
from drnn_runtimes.streaming.stream import Stream

_PIECE = 4096  # steps of a stream between two looks at how far it is: a second at the slowest
_COPIES = 2  # of the outputs: of each batch, and of all


@dataclasses.dataclass(frozen=True)
class WholeRun:
    """What sequences gave.

    Attributes:
        outputs: (N, outputs) or (N, k, outputs) of graphs of whole sequences; (N, m, outputs) of streams, which answer
            every step or, with a head that looks back, every chunk.
        graph: The graph that ran.
        seconds: The time of all batches, without loading.
    """

    outputs: NDArray[np.generic]
    graph: GraphInfo
    seconds: float


def run_sequences(
    bundle: Bundle,
    inputs: object,
    runtime: Runtime,
    form: str | None = None,
    *,
    name: str = "the input",
    notify: Callable[[str], None] = lambda _: None,
) -> WholeRun:
    """Run sequences, each from the zero state, in the graph's batches.

    Args:
        bundle: An open bundle.
        inputs: (N, T, C) or tokens (N, T), of any type of numbers.
        runtime: What runs them.
        form: Name, kind or form of the graph; None for the first that takes T steps and that the runtime can run.
        name: What messages call the inputs.
        notify: Gets a line on how far it is.

    Raises:
        InputError: The inputs are none of the network's, no graph takes as many steps, or memory is too small.
        DeployError: What `Runtime.load` raises.
    """
    sequences = as_sequences(bundle.spec, name, inputs)
    graph = choose_graph(bundle, sequences.shape[1], runtime, form, name=name)
    size = 4 * len(sequences) * _answers(bundle, graph, sequences.shape[1]) * bundle.spec.head.outputs
    require_memory("the run", [Need("the outputs", _COPIES * size, "Run fewer sequences at a time.")])
    with runtime.load(bundle, graph) as session:
        started, outputs, through = time.perf_counter(), [], 0

        def tick(steps: int) -> None:
            count, whole = sequences.shape[:2]
            share = (through + used * steps / whole) / count
            sequence = f", {steps:,} of {whole:,} steps of the next" if steps < whole else ""
            finished = through if sequence else through + used
            left = (time.perf_counter() - started) * (1 / share - 1)
            notify(Step(f"{finished:,} of {count:,} sequences of {name}{sequence}", left))

        for batch, used in _batches(sequences, graph):
            outputs.append(_run(session, bundle, graph, batch, tick)[:used])
            through += used
        return WholeRun(np.concatenate(outputs), graph, time.perf_counter() - started)


def read_stream(
    session: Session,
    bundle: Bundle,
    graph: GraphInfo,
    batch: NDArray[np.generic],
    tick: Callable[[int], None] = lambda _: None,
) -> NDArray[np.generic]:
    """Feed sequences to a graph with state, from the zero state to their end.

    Args:
        session: The loaded graph.
        bundle: The bundle that it is of.
        graph: The graph, which has states.
        batch: As many sequences as the graph takes, (B, T, C) float32 or (B, T) int64 tokens.
        tick: Gets the number of steps that are through, every few thousand.

    Returns:
        (B, m, outputs): of every step or, with a head that looks back, of every chunk.
    """
    outputs, steps = [], batch.shape[1]
    with contextlib.closing(Stream(session, bundle, graph, len(batch))) as stream:
        for start in range(0, steps, _PIECE):
            outputs.append(stream.push(batch[:, start : start + _PIECE]))
            tick(min(start + _PIECE, steps))
        return np.concatenate([*outputs, stream.finish()], axis=1)


def choose_graph(
    bundle: Bundle, steps: int, runtime: Runtime, form: str | None = None, *, name: str = "the input"
) -> GraphInfo:
    """Find the graph that answers whole sequences of a length.

    Args:
        bundle: An open bundle.
        steps: Time steps of the sequences.
        runtime: What will run it.
        form: Name, kind or form of the graph; None for the first of whole sequences that fits, else the first with
            state.
        name: What messages call the sequences.

    Raises:
        InputError: There is none.
        RuntimeUnavailableError: There is one, but the runtime is missing or cannot run it.
    """
    graphs = [bundle.graph(form)] if form else sorted(bundle.graphs, key=lambda graph: bool(graph.states))
    fitting = [graph for graph in graphs if takes_steps(bundle, graph, steps)]
    if not fitting:
        known = "; ".join(f"{graph.name} takes {_steps_taken(bundle, graph)}" for graph in graphs)
        fix = f"Export one that does: drnn-export MODEL --length {steps}, or --form step, which takes any."
        raise InputError(f"{name} has {steps:,} steps, which no graph of {bundle.folder} takes: {known}"[:600], fix)
    return first_that_runs(runtime, bundle, fitting)


def takes_steps(bundle: Bundle, graph: GraphInfo, steps: int) -> bool:
    """Whether a graph answers whole sequences of a length, as a stream where it has states.

    Args:
        bundle: The open bundle that holds the graph.
        graph: One of the bundle's graphs.
        steps: Time steps of the sequences.
    """
    if not graph.states:
        return graph.steps == steps
    return bundle.spec.head.kind == "sequence" or steps % graph.steps == 0


def _steps_taken(bundle: Bundle, graph: GraphInfo) -> str:
    if not graph.states:
        return f"{graph.steps:,}"
    return "any" if takes_steps(bundle, graph, graph.steps + 1) else f"multiples of {graph.steps:,}"


def _answers(bundle: Bundle, graph: GraphInfo, steps: int) -> int:
    """Outputs of one sequence."""
    head = bundle.spec.head
    if not graph.states:
        return head.output_steps(steps)
    return steps if head.kind == "sequence" else steps // graph.steps * head.output_steps(graph.steps)


def _batches(inputs: NDArray[np.generic], graph: GraphInfo) -> Iterator[tuple[NDArray[np.generic], int]]:
    """Batches that the graph takes, and how many of their rows are not repeated to fill one up."""
    low, _, high = graph.profile or (1, 1, graph.largest_batch)
    size = graph.batch or min(max(low, len(inputs)), high)
    for start in range(0, len(inputs), size):
        used = min(size, len(inputs) - start)
        rows = start + np.arange(size if graph.batch else max(low, used)) % used
        yield np.ascontiguousarray(inputs[rows]), used


def _run(
    session: Session, bundle: Bundle, graph: GraphInfo, batch: NDArray[np.generic], tick: Callable[[int], None]
) -> NDArray[np.generic]:
    if graph.states:
        return read_stream(session, bundle, graph, batch, tick)
    outputs = session.run({"input": batch})["output"]
    tick(batch.shape[1])
    return outputs

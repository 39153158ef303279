"""Streams: a network that reads samples as they come, in pieces of any length, and never loses its place.

A stream owns the states of its batch of sequences and the samples that do not fill a chunk yet. Many streams share one
loaded session. Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_core.memory import Need, require_memory
from drnn_core.types import PRECISIONS
from drnn_runtimes.bundle import WEIGHTS, Bundle, GraphInfo
from drnn_runtimes.session import Session, beyond_range, session_closed
from drnn_runtimes.streaming.buffers import Closes, TakesBlocks, delay_lines
from drnn_runtimes.streaming.delay_lines import line_shapes
from drnn_runtimes.streaming.samples import TOGETHER, SampleChecks
from drnn_runtimes.streaming.state import StreamState

_BESIDE = 64 << 20  # bytes of a state file beyond what fits the stream, so that one of another network is called that
_SMALL = 16 << 20  # bytes that every machine has


class Stream:
    """`batch` sequences that are fed in step, by one thread at a time; see `drnn_runtimes.runtime.Runtime.stream`."""

    def __init__(self, session: Session, bundle: Bundle, graph: GraphInfo, batch: int = 1) -> None:
        """Start at the zero state.

        Args:
            session: The loaded graph.
            bundle: The graph's bundle.
            graph: A graph with state.
            batch: Sequences that are fed in step.

        Raises:
            InputError: The graph has no state or takes another batch, or memory is too small.
        """
        if not graph.states:
            raise InputError(f"{graph.name} has no state to stream with", "Export a chunk: drnn-export --form chunk")
        if batch < 1:
            raise InputError(f"a stream is of one sequence at least, got {batch}", "Give it batch=1 or more.")
        if graph.batch not in (None, batch):
            raise InputError(
                f"{graph.name} takes a batch of {graph.batch}, got {batch}", f"Export it with --batch {batch}."
            )
        self._session, self._spec, self._graph, self._batch = session, bundle.spec, graph, batch
        self._model = fingerprint(bundle)
        (sample,) = (tensor for tensor in graph.inputs if tensor.name == "input")
        self._shapes = line_shapes(bundle.spec, graph, batch)
        needs = self._needs(sample.shape[2:])
        if sum(need.bytes for need in needs) > _SMALL:  # to ask the system takes as long as ten steps
            require_memory("the stream", needs)
        self._input = np.zeros((batch, *sample.shape[1:]), sample.dtype)
        self._check = SampleChecks(bundle, graph, self._input).check
        self._waiting = self._steps = 0
        self._late = graph.delay  # runs until every row must have an answer
        self._in_use = threading.Lock()
        self._closed = False
        self._memory = delay_lines(session, bundle.spec, graph, self._input)
        self._blocks = self._memory if graph.steps == 1 and isinstance(self._memory, TakesBlocks) else None

    @property
    def steps(self) -> int:
        """Time steps that have been computed since the start."""
        return self._steps

    @property
    def waiting(self) -> int:
        """Samples that wait for the chunk to be full."""
        return self._waiting

    @property
    def chunk(self) -> int:
        """Steps of one run of the graph."""
        return self._graph.steps

    @property
    def delay(self) -> int:
        """Steps between a sample and its output."""
        return self._graph.delay

    def push(self, samples: NDArray[np.generic], *, rate: int | None = None) -> NDArray[np.generic]:
        """Feed samples. What fills no chunk waits.

        Args:
            samples: (B, k, C) float32, or tokens (B, k) int64, k >= 0.
            rate: Their rate in Hz, to compare with the model's.

        Returns:
            (B, m, outputs) of the chunks that became full, m >= 0: with head `sequence` one for each step, with `last`
            one for each chunk, with `last_k` min(k, n) for each. With a delay the first outputs come that many steps
            late, and those of a row that was reset by itself are NaN until then.

        Raises:
            InputError: The samples have another type, shape or rate, hold NaN, numbers beyond the graph's range or
                tokens beyond the vocabulary; the stream is closed; or another thread uses it. Nothing is taken in.
        """
        with _Exclusive(self):
            self._check(samples, rate)
            return self._feed(samples)

    def finish(self) -> NDArray[np.generic]:
        """End the sequences. All start again from zero.

        Returns:
            (B, m, outputs): the late outputs of a graph with a delay, and with head `sequence` those of the samples
            that wait.

        Raises:
            InputError: Samples wait with another head, which looks at whole chunks.
        """
        with _Exclusive(self):
            waiting = self._waiting
            if waiting and self._spec.head.kind != "sequence":
                what = (
                    f"{waiting} samples wait for a chunk of {self._graph.steps}, whose end head {self._spec.head.kind}"
                )
                raise InputError(f"{what} answers for", "Push the rest of the chunk first, or export form step.")
            more = self._graph.delay + (self._graph.steps - waiting if waiting else 0)
            shape = (self._batch, more, *self._input.shape[2:])
            outputs = self._feed(np.zeros(shape, self._input.dtype))
            self._start(np.arange(self._batch))
            self._waiting = self._steps = 0
            return outputs[:, :waiting] if waiting else outputs

    @checked_arguments
    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Start again from the zero state.

        Args:
            rows: Rows of the batch; None for all.

        Raises:
            InputError: A row is not there, or only some are given while samples wait.
        """
        with _Exclusive(self):
            if rows is None:
                self._waiting = self._steps = 0
            elif self._waiting:
                what = f"{self._waiting} samples wait for a chunk of {self._graph.steps}"
                raise InputError(
                    f"{what}: rows can start between chunks only",
                    "Push the rest of the chunk first, or export form step.",
                )
            if rows is not None and not all(0 <= row < self._batch for row in rows):
                raise InputError(f"rows are 0 to {self._batch - 1}, got {list(rows)!s:.200}", "Count the rows from 0.")
            self._start(np.arange(self._batch) if rows is None else np.asarray(rows, np.int64))

    def state(self) -> StreamState:
        """Copy everything that the stream remembers, for another stream of the same model to go on with."""
        with _Exclusive(self):
            waiting = self._input[:, : self._waiting].copy()
            return StreamState(self._model, self._steps, waiting, self._memory.lines())

    @checked_arguments
    def restore(self, state: StreamState) -> None:
        """Go on where `state` was taken, perhaps on another runtime or with another chunk length.

        Raises:
            InputError: The state is of another model, batch or shape, holds what is no sample or not finite, or more
                waiting samples than fit this graph's chunk. Nothing is changed.
        """
        with _Exclusive(self):
            self._check_state(state)
            self._memory.set_lines(state.lines)
            self._late = self._graph.delay
            self._waiting, self._steps = state.waiting.shape[1], state.steps
            self._input[:, : self._waiting] = state.waiting

    @checked_arguments
    def save_state(self, path: Path | str) -> None:
        """Write `state()` to a file, whole or not at all.

        Raises:
            InputError: The file cannot be written, or the state is not finite.
        """
        self.state().save(path)

    @checked_arguments
    def load_state(self, path: Path | str) -> None:
        """Do `restore` from a file.

        Raises:
            InputError: The file is damaged or no state, or `restore` refuses it.
        """
        room = self._input.nbytes + self._state_bytes()
        self.restore(StreamState.load(path, room + _BESIDE))

    def close(self) -> None:
        """End the stream; it takes no more samples, and what it holds on a GPU is freed. Twice is once."""
        with self._in_use:
            if not self._closed and isinstance(self._memory, Closes):
                self._memory.close()
            self._closed = True

    def _state_bytes(self) -> int:
        return 4 * sum(math.prod(shape) for shape in self._shapes.values())

    def _needs(self, sample: tuple[int, ...]) -> list[Need]:
        """What it takes at least; sample: the axes of one."""
        advice = "Give it a smaller batch, or stream one part of the sequences after the other."
        samples = 4 * self._batch * math.prod(sample) * (self._graph.steps + TOGETHER)
        return [Need("its states", 2 * self._state_bytes(), advice), Need("its samples", samples, advice)]

    def _feed(self, samples: NDArray[np.generic]) -> NDArray[np.generic]:
        if self._blocks is not None:
            answers = self._blocks.run_block(samples)
            self._steps += samples.shape[1]
            return answers
        done, outputs = 0, []
        while done < samples.shape[1]:
            taken = min(self._graph.steps - self._waiting, samples.shape[1] - done)
            self._input[:, self._waiting : self._waiting + taken] = samples[:, done : done + taken]
            self._waiting, done = self._waiting + taken, done + taken
            if self._waiting == self._graph.steps:
                outputs.append(self._answer(self._memory.run()))
                self._waiting, self._steps = 0, self._steps + self._graph.steps
        if len(outputs) == 1:
            return outputs[0]
        empty = np.zeros((self._batch, 0, self._spec.head.outputs), np.float32)
        return np.concatenate(outputs or [empty], axis=1)

    def _answer(self, output: NDArray[np.generic]) -> NDArray[np.generic]:
        """(B, outputs) or (B, k, outputs) of one chunk -> a copy (B, k, outputs) of what answers a step: k may be 0."""
        answer: NDArray[np.generic] = output.copy() if output.ndim == 3 else output[:, None].copy()
        if self._late:
            self._late -= 1
            started = self._memory.started()
            answer[~started] = np.nan
            return answer if started.any() else answer[:, :0]
        return answer

    def _start(self, rows: NDArray[np.int64]) -> None:
        lines = self._memory.lines()
        for line in lines.values():
            line[rows] = 0
        self._memory.set_lines(lines)
        self._late = self._graph.delay

    def _check_state(self, state: StreamState) -> None:
        """Refuse what `restore` refuses. Waiting samples are as good as those that are pushed."""
        state.check_for(self._model, self._shapes, self._batch)
        try:
            self._check(state.waiting, None)
        except InputError as error:
            raise InputError(f"the state's waiting {error.message}", error.fix) from error
        largest = PRECISIONS[self._graph.precision].largest
        for name, line in state.lines.items():
            if line.size and np.abs(line).max() > largest:
                raise beyond_range(self._graph, f"the values of the state's {name}", line, largest)
        if state.waiting.shape[1] >= self._graph.steps:
            what = f"{state.waiting.shape[1]} samples wait in the state, and {self._graph.name} takes chunks of "
            raise InputError(f"{what}{self._graph.steps}", "Save the state between chunks.")


class _Exclusive:
    """Holds an open stream inside a `with`, for one thread; contextlib's generator would cost every step more."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        stream = self._stream
        if not stream._in_use.acquire(blocking=False):
            raise InputError("another thread is using the stream", "Give each thread a stream of its own.")
        if stream._closed or stream._session.closed:
            stream._in_use.release()
            raise InputError("the stream is closed", "Open another one.") if stream._closed else session_closed()

    def __exit__(self, *_: object) -> None:
        self._stream._in_use.release()


def fingerprint(bundle: Bundle) -> str:
    """The same for bundles of the same network, whatever their graphs."""
    described = json.dumps([bundle.files[WEIGHTS], bundle.spec.to_json()], sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()

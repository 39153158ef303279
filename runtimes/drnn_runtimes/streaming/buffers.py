"""Where a stream's delay lines live between chunks: in arrays that the graph reads and writes in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.session import Arrays, Session
from drnn_runtimes.streaming.delay_lines import line_name, zero_states

_STARTED = "state_started"  # of emission skewed, see `drnn_export.emitter.skew`


class DelayLines(Protocol):
    """The delay lines of a stream, and the way to compute its next chunk."""

    def run(self) -> NDArray[np.generic]:
        """Compute one chunk of the samples; the output is overwritten by the next."""

    def lines(self) -> dict[str, NDArray[np.generic]]:
        """Copies of the delay lines (B, d, H), oldest first."""

    def started(self) -> NDArray[np.bool_]:
        """Whether the first step of each sequence has come through to the output, (B,)."""

    def set_lines(self, lines: Arrays) -> None:
        """Replace them."""


@runtime_checkable
class Closes(Protocol):
    """Delay lines that hold more than arrays."""

    def close(self) -> None:
        """Free it."""


class TakesBlocks(ABC):
    """Delay lines of chunks of one step that can be run through many steps together."""

    @abstractmethod
    def run_block(self, samples: NDArray[np.generic]) -> NDArray[np.generic]:
        """Compute steps.

        Args:
            samples: (B, k, ...), of the type of the graph's input, k >= 0.

        Returns:
            (B, k, outputs), an array of its own.
        """


@runtime_checkable
class KeepsLines(Protocol):
    """A session that keeps the delay lines of its streams itself."""

    def stream(self, samples: NDArray[Any]) -> DelayLines:
        """Start at the zero state.

        Args:
            samples: (B, n, ...), of each chunk. Its values at the time of `DelayLines.run` count.
        """


def delay_lines(session: Session, spec: ModelSpec, graph: GraphInfo, samples: NDArray[Any]) -> DelayLines:
    """Where a stream keeps its delay lines.

    Args:
        session: The loaded graph.
        spec: Its network.
        graph: A graph with state.
        samples: (B, n, ...), of each chunk. Its values at the time of `DelayLines.run` count.
    """
    if isinstance(session, KeepsLines):
        return session.stream(samples)
    return (Rings if graph.ring else Lines)(session, spec, graph, samples)


class Lines:
    """Whole delay lines that go into the graph and come out: two sets of arrays that take turns."""

    def __init__(self, session: Session, spec: ModelSpec, graph: GraphInfo, samples: NDArray[Any]) -> None:
        batch = len(samples)
        self._states = graph.states
        self._output = output_array(graph, batch)
        self._sets = [zero_states(graph, batch), zero_states(graph, batch)]
        self._calls = [
            session.bind(
                {"input": samples, **self._sets[turn]},
                {"output": self._output, **{after: self._sets[1 - turn][before] for before, after in graph.states}},
            )
            for turn in (0, 1)
        ]
        self._turn = 0

    def run(self) -> NDArray[np.generic]:
        """Compute one chunk; the output is overwritten by the next."""
        self._calls[self._turn]()
        self._turn = 1 - self._turn
        return self._output

    def lines(self) -> dict[str, NDArray[np.generic]]:
        """Copies of the delay lines (B, d, H), oldest first; of emission `skewed`, of its packed states."""
        return {line_name(name): value.copy() for name, value in self._sets[self._turn].items()}

    def started(self) -> NDArray[np.bool_]:
        """Whether the first step of each sequence has come through to the output, (B,)."""
        reached = self._sets[self._turn].get(_STARTED)
        return np.ones(len(self._output), bool) if reached is None else reached[:, -1, 0] > 0

    def set_lines(self, lines: Arrays) -> None:
        """Replace them."""
        for name, value in self._sets[self._turn].items():
            value[...] = lines[line_name(name)]


class Rings:
    """Delay lines that stay here; the graph gets their oldest rows and gives the newest, which take the same place."""

    def __init__(self, session: Session, spec: ModelSpec, graph: GraphInfo, samples: NDArray[Any]) -> None:
        batch = len(samples)
        self._output = output_array(graph, batch)
        fed, given = zero_states(graph, batch), zero_states(graph, batch)
        results = {after: given[before] for before, after in graph.states}
        self._call = session.bind({"input": samples, **fed}, {"output": self._output, **results})
        shapes = spec.state_shapes(batch)
        self._rings = {
            line_name(before): _Ring(shapes[line_name(before)], fed[before], given[before])
            for before, _ in graph.states
        }

    def run(self) -> NDArray[np.generic]:
        """Compute one chunk; the output is overwritten by the next."""
        self._call()
        for ring in self._rings.values():
            ring.turn()
        return self._output

    def lines(self) -> dict[str, NDArray[np.generic]]:
        """Copies of the delay lines (B, d, H), oldest first."""
        return {name: ring.line() for name, ring in self._rings.items()}

    def started(self) -> NDArray[np.bool_]:
        """True for every sequence (B,): no graph with rings answers late."""
        return np.ones(len(self._output), bool)

    def set_lines(self, lines: Arrays) -> None:
        """Replace them."""
        for name, ring in self._rings.items():
            ring.set_line(lines[name])


class _Ring:
    """One delay line of `shape` (B, d, H) whose oldest rows are at `_at`; `fed` and `given` are (B, rows, H)."""

    def __init__(self, shape: tuple[int, ...], fed: NDArray[np.float32], given: NDArray[np.float32]) -> None:
        self._rows = np.zeros(shape, np.float32)
        self._fed, self._given, self._at = fed, given, 0

    def turn(self) -> None:
        """The given rows take the place of the oldest, and the next oldest are fed."""
        length, rows = self._rows.shape[1], self._fed.shape[1]
        start, stop = self._at, self._at + rows
        if stop <= length:
            self._rows[:, start:stop] = self._given
        else:
            self._rows[:, start:], self._rows[:, : stop - length] = np.split(self._given, [length - start], axis=1)
        self._at = stop % length
        self._feed()

    def line(self) -> NDArray[np.float32]:
        """A copy, oldest first."""
        return np.roll(self._rows, -self._at, axis=1)

    def set_line(self, line: NDArray[np.generic]) -> None:
        """Replace it."""
        self._rows[...], self._at = line, 0
        self._feed()

    def _feed(self) -> None:
        length, rows = self._rows.shape[1], self._fed.shape[1]
        start, stop = self._at, self._at + rows
        if stop <= length:
            self._fed[...] = self._rows[:, start:stop]
        else:
            self._fed[:, : length - start] = self._rows[:, start:]
            self._fed[:, length - start :] = self._rows[:, : stop - length]


def output_array(graph: GraphInfo, batch: int) -> NDArray[Any]:
    """Room for the graph's output, zeros at first.

    Args:
        graph: A graph with state.
        batch: B, in place of the output's first axis.

    Returns:
        (B, ...) of the output's other axes and dtype.
    """
    (output,) = (tensor for tensor in graph.outputs if tensor.name == "output")
    return np.zeros((batch, *output.shape[1:]), output.dtype)

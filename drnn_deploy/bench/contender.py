"""What is measured: the protocol that every contender keeps, and the runtimes of this project as contenders."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from drnn_core.types import Availability
from drnn_deploy.parity.inference import bound_call
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.streaming.stream import Stream

Array = NDArray[Any]
Call = Callable[[Array], Array]


class Contender(Protocol):
    """A way to run a network."""

    @property
    def name(self) -> str:
        """As in `--contender` and tables."""

    @property
    def reads_graph(self) -> bool:
        """Whether a graph's file is what runs, so that each graph of a bundle is measured."""

    @property
    def has_threads(self) -> bool:
        """Whether it has a setting for the threads of a run; others see the environment's variables alone."""

    def availability(self) -> Availability:
        """Whether it can run on this machine; never raises."""

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Why it cannot run a graph, as a phrase; "" where it can."""

    def load(
        self, bundle: Bundle, graph: GraphInfo, *, batch: int, threads: int, folder: Path
    ) -> AbstractContextManager[Call]:
        """Make what is called; this is timed.

        Args:
            bundle: The open bundle that holds the graph.
            graph: What to compute: whole sequences, or pieces of a stream from the zero state on.
            batch: Sequences of a run.
            threads: Threads of a run, where it has a setting for that.
            folder: Empty; files that it needs to run may stay there, and are counted.

        Returns:
            The context of the call: inputs (B, T, C) or tokens (B, T) -> outputs (B, outputs) or (B, k, outputs).

        Raises:
            DeployError: It cannot be made.
        """


class RuntimeContender:
    """One of `drnn_runtimes.registry.RUNTIMES`: whole sequences through `Session.bind`, streams through `Stream.push`.

    Args:
        runtime: The runtime.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.name, self.reads_graph, self.has_threads = runtime.name, runtime.reads_graph, runtime.has_threads

    def availability(self) -> Availability:
        """See `Contender.availability`."""
        return self._runtime.availability()

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """See `Contender.unsupported`."""
        return self._runtime.unsupported(bundle, graph)

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo, *, batch: int, threads: int, folder: Path) -> Iterator[Call]:
        """See `Contender.load`."""
        runtime = self._runtime.with_threads(threads) if self.has_threads else self._runtime
        with runtime.load(bundle, graph) as session:
            if not graph.states:
                yield bound_call(session, graph, batch)
                return
            stream = Stream(session, bundle, graph, batch)
            yield stream.push

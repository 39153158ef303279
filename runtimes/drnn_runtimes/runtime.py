"""The protocol that every runtime keeps, the same verbs whatever runs underneath; and what most have in common."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, Self

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.graph_kind import edges
from drnn_runtimes.session import CopyingSession, Session
from drnn_runtimes.streaming.stream import Stream

MOST_THREADS = 1024


class Runtime(Protocol):
    """A way of running bundles."""

    @property
    def name(self) -> str:
        """As in `--runtime` and tables."""

    @property
    def is_reference(self) -> bool:
        """Whether it is the oracle that the others are compared with."""

    @property
    def reads_graph(self) -> bool:
        """Whether the graph's file is what runs; otherwise the weights are, and emissions make no difference."""

    @property
    def is_sampled(self) -> bool:
        """Whether it is checked for comparison alone, so that some of the cases do where all would take long."""

    @property
    def runs_any_graph(self) -> bool:
        """Whether `load` takes any ONNX file, so that a graph can be changed to show what is inside it."""

    @property
    def runs_stack(self) -> bool:
        """Whether it computes the layers of a graph of emission `plugin` as one node, by a plugin."""

    @property
    def has_threads(self) -> bool:
        """Whether `with_threads` changes anything: whether it has a setting of its own for one run's threads."""

    def with_threads(self, threads: int) -> Self:
        """The same runtime with so many threads for one run, where it has a setting of its own for that.

        Args:
            threads: 1 to 1,024. Runtimes without a setting follow OMP_NUM_THREADS and its like.
        """

    def availability(self) -> Availability:
        """Whether `load` can work on this machine; never raises."""

    def caveat(self, graph: GraphInfo) -> str:
        """What a passed check of a graph does not show, for reports; "" where it ran as it will."""

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Why this runtime cannot run a graph here, or "" where it can.

        Args:
            bundle: The open bundle that holds the graph.
            graph: One of the bundle's graphs.

        Returns:
            The reason, as a phrase without a full stop; "" where `load` may be called.
        """

    def load(self, bundle: Bundle, graph: GraphInfo) -> AbstractContextManager[Session]:
        """Open a session; leaving the context closes it and frees what it holds.

        Args:
            bundle: The open bundle that holds the graph.
            graph: One of the bundle's graphs.

        Returns:
            A context manager that gives the session.

        Raises:
            RuntimeUnavailableError: The runtime is missing, cannot run such graphs (`unsupported`), or would fall back
                to another device.
            InputError: The graph is of another network, is damaged, or holds what no graph of a bundle does.
            EngineError: The engine does not fit this machine.
        """

    def stream(
        self, bundle: Bundle, form: str | None = None, *, batch: int | None = None
    ) -> AbstractContextManager[Stream]:
        """Load a graph with state and stream through it; leaving the context closes both.

        To share one loaded graph among streams, `load` it and make a `Stream` for each.

        Args:
            bundle: The open bundle that holds the graph.
            form: Name, kind or form of the graph; None for the first that has a state, takes the batch, and that the
                runtime can run.
            batch: Sequences that are fed in step; None for the graph's, or 1.

        Returns:
            A context manager that gives the stream.

        Raises:
            InputError: The bundle has no such graph.
            DeployError: What `load` raises.
        """


class StreamingRuntime:
    """The verbs `load` and `stream` of every `Runtime`, and what most have in common.

    A runtime says in `_open` how it opens a graph; that it is here and can run the graph is asked before.
    """

    name: str
    is_reference = is_sampled = runs_any_graph = runs_stack = has_threads = False
    _threads: int | None = None

    @checked_arguments
    def with_threads(self, threads: int) -> Self:
        """See `Runtime.with_threads`."""
        if not 1 <= threads <= MOST_THREADS:
            raise InputError(f"threads must be from 1 to {MOST_THREADS:,}, got {threads}", "None is for the default.")
        made = copy.copy(self)
        made._threads = threads
        return made

    def caveat(self, graph: GraphInfo) -> str:
        """See `Runtime.caveat`."""
        return ""

    def availability(self) -> Availability:
        """See `Runtime.availability`."""
        raise NotImplementedError

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """See `Runtime.unsupported`."""
        raise NotImplementedError

    def _open(self, bundle: Bundle, graph: GraphInfo) -> AbstractContextManager[CopyingSession]:
        """Open a session on a graph that this runtime can run; leaving the context frees what it holds."""
        raise NotImplementedError

    @checked_arguments
    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Session]:
        """See `Runtime.load`."""
        available = self.availability()
        if not available.usable:
            raise RuntimeUnavailableError(f"{self.name}: {available.detail}", available.fix)
        own = graph in bundle.graphs or bundle.checked
        if not own and edges(bundle.spec, graph) != (graph.inputs, graph.outputs):
            what = f"{graph.name} is no graph of {bundle.folder}: it takes and gives what another network does"
            raise InputError(what, f"Take one of its own: {', '.join(known.name for known in bundle.graphs)!s:.300}.")
        if reason := self.unsupported(bundle, graph):
            what = f"{self.name} cannot run {graph.name} of {bundle.folder}: {reason}"
            raise RuntimeUnavailableError(what, "Choose another runtime or another graph of the bundle.")
        with self._open(bundle, graph) as session, contextlib.closing(session):
            yield session

    @checked_arguments
    @contextlib.contextmanager
    def stream(self, bundle: Bundle, form: str | None = None, *, batch: int | None = None) -> Iterator[Stream]:
        """See `Runtime.stream`."""
        graphs = [bundle.graph(form)] if form else [graph for graph in bundle.graphs if graph.states]
        if not graphs:
            raise InputError(f"{bundle.folder} has no graph with state", "Export one: drnn-export --form chunk")
        fitting = [graph for graph in graphs if batch is None or graph.batch in (None, batch)]
        graph = first_that_runs(self, bundle, fitting or graphs)  # of another batch, for the stream to say so
        with self.load(bundle, graph) as session:
            stream = Stream(session, bundle, graph, (graph.batch or 1) if batch is None else batch)
            try:
                yield stream
            finally:
                stream.close()


def first_that_runs(runtime: Runtime | StreamingRuntime, bundle: Bundle, graphs: Sequence[GraphInfo]) -> GraphInfo:
    """The first of some graphs that a runtime can run; where there is one only, or the runtime is missing, the first.

    Args:
        runtime: What will run it.
        bundle: The open bundle that holds the graphs.
        graphs: One or more.

    Raises:
        RuntimeUnavailableError: It can run none of several.
    """
    if len(graphs) == 1 or not runtime.availability().usable:
        return graphs[0]  # `load` says what is wrong with it
    reasons = []
    for graph in graphs:
        if not (reason := runtime.unsupported(bundle, graph)):
            return graph
        reasons.append(reason)
    raise RuntimeUnavailableError(f"{runtime.name} cannot run {graphs[0].name} of {bundle.folder}: {reasons[0]}")

"""The protocol that every runtime keeps: the same verbs, whatever runs underneath."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.session import Session
from drnn_runtimes.streaming.stream import Stream


class Runtime(Protocol):
    """A way of running bundles."""

    @property
    def name(self) -> str:
        """As in `--runtime` and tables."""

    @property
    def reads_graph(self) -> bool:
        """Whether the graph's file is what runs; otherwise the weights are, and emissions make no difference."""

    @property
    def runs_any_graph(self) -> bool:
        """Whether `load` takes any ONNX file, so that a graph can be changed to show what is inside it."""

    @property
    def caveat(self) -> str:
        """What a passed check does not show, for reports; "" where the graph or the weights ran as they will."""

    def availability(self) -> Availability:
        """Whether `load` can work on this machine; never raises."""

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """Why this runtime cannot run this graph of this bundle here, or "" where it can."""

    def load(self, bundle: Bundle, graph: GraphInfo) -> AbstractContextManager[Session]:
        """Open a session; leaving the context frees what it holds.

        Raises `RuntimeUnavailableError` where the runtime is missing or would fall back to another device, `InputError`
        for a damaged graph, `EngineError` for an engine that does not fit this machine.
        """

    def stream(
        self, bundle: Bundle, form: str | None = None, *, batch: int | None = None
    ) -> AbstractContextManager[Stream]:
        """Open a stream through a graph with state: see `drnn_runtimes.streaming.stream.StreamingRuntime.stream`."""

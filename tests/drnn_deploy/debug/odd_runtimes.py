"""Runtimes that are wrong on right graphs and weights."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.reference.runtime import ReferenceRuntime, ReferenceSession
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession, Session
from tests.drnn_deploy.debug.mutants.mutant import Change


class Miscompiling(OnnxRuntime):
    """ONNX Runtime, but for a change that it makes to every graph: the graphs are right and it is not."""

    def __init__(self, change: Change) -> None:
        super().__init__("cpu")
        self._change = change

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Any]:
        with tempfile.TemporaryDirectory() as folder:
            model = onnx.load(bundle.path(graph.file))
            with contextlib.suppress(StopIteration):  # there is no such node in this one
                self._change(model)
            onnx.save(model, Path(folder) / graph.file)
            with super().load(dataclasses.replace(bundle, folder=Path(folder)), graph) as session:
                yield session


class Engine(StreamingRuntime):
    """A runtime that runs a graph, but only the one that it was built from, and gives outputs that are off."""

    name, reads_graph = "engine", True

    def __init__(self, off: float = 1e-3) -> None:
        self._off = off

    def availability(self) -> Availability:
        return Availability(True, "made up")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        return ""

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Session]:
        with OnnxRuntime("cpu").load(bundle, graph) as session:
            yield Off(session, graph, self._off)


class Off(CopyingSession):
    def __init__(self, session: Session, graph: GraphInfo, off: float) -> None:
        self._session, self._graph, self._off = session, graph, off

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        return {name: value + np.float32(self._off) for name, value in self._session.run(inputs).items()}


class Forgetful(ReferenceRuntime):
    """Runs the weights, but for the recurrent ones of layers of `hidden` units, which it takes for zero."""

    name = "forgetful"
    is_reference = False

    def __init__(self, hidden: int) -> None:
        self._hidden = hidden

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[ReferenceSession]:
        changed = dict(bundle.weights)
        for layer, hidden in enumerate(bundle.spec.hidden):
            if hidden == self._hidden:
                changed[f"layers.{layer}.weight_hh_l0"] = np.zeros_like(changed[f"layers.{layer}.weight_hh_l0"])
        session = ReferenceSession(bundle, graph)
        session._weights = changed
        yield session

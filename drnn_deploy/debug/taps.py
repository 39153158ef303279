"""Looking inside a graph while a runtime runs it: as it is, and with every stage on right inputs.

*As it ran*: the tensors between the stages become outputs. *Alone*: each of them is cut, what follows reads the
reference's value in its place, so that one run shows what every stage makes of right inputs. States go in right, too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from drnn_core.types import TensorInfo
from drnn_deploy.debug.stages import Stage, given
from drnn_deploy.parity.inference import batches
from drnn_deploy.parity.state_layout import Array, Trace, states_before
from drnn_export.onnx_surgery import given_name, tensor_infos
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.session import Arrays, CopyingSession, Session
from drnn_runtimes.streaming.stream import Stream

Feeds = dict[int, Arrays]  # by the number of the run


@dataclasses.dataclass(frozen=True)
class BatchRuns:
    """What the runs over one batch gave.

    Attributes:
        sequences: The sequences of the case that are in the batch, (B,).
        used: How many of them are not repeated.
        runs: The outputs of each run by its number; a graph with states runs once a chunk.
    """

    sequences: NDArray[np.int64]
    used: int
    runs: dict[int, Arrays]


@contextlib.contextmanager
def session_of(runtime: Runtime, bundle: Bundle, graph: GraphInfo, model: onnx.ModelProto) -> Iterator[Session]:
    """Load a changed model in a runtime that takes any graph.

    Args:
        runtime: One with `runs_any_graph`.
        bundle: The open bundle that holds the graph; its folder stays as it is.
        graph: The graph that was changed.
        model: The changed model, whose inputs and outputs count.

    Yields:
        A session of the changed model.

    Raises:
        DeployError: What `Runtime.load` raises.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / graph.file).write_bytes(model.SerializeToString())
        inputs, outputs = tensor_infos(model.graph.input), tensor_infos(model.graph.output)
        changed = dataclasses.replace(graph, inputs=inputs, outputs=outputs)
        # a piece of a graph that was checked has axes of sizes that no whole graph of the network has
        with runtime.load(dataclasses.replace(bundle, folder=folder, checked=True), changed) as session:
            yield session


def taps(stages: Sequence[Stage], known: Mapping[str, TensorInfo]) -> dict[str, list[Stage]]:
    """The tensors between the stages that the graph has.

    Args:
        stages: The stages of the network.
        known: Name -> type and shape, -1 for any size, of the graph's tensors.

    Returns:
        Tensor -> the stages that end in it; no tensor with several free axes.
    """
    tapped: dict[str, list[Stage]] = {}
    for stage in stages:
        if stage.tensor in known and known[stage.tensor].shape.count(-1) <= 1:
            tapped.setdefault(stage.tensor, []).append(stage)
    return tapped


def run_as_it_is(
    session: Session, bundle: Bundle, graph: GraphInfo, inputs: NDArray[np.generic], size: int | None
) -> list[BatchRuns]:
    """Run all sequences, as a stream where the graph has states.

    Args:
        session: The loaded graph.
        bundle: The open bundle that holds the graph.
        graph: One of the bundle's graphs.
        inputs: The sequences, (N, T, ...).
        size: The size of a batch for a graph that takes any.

    Returns:
        What every run gives, except for states.
    """
    every = []
    whole = inputs[:, : inputs.shape[1] // graph.steps * graph.steps]
    for sequences, used in batches(np.arange(len(inputs)), graph.batch or size):
        recorder = _Recorder(session, graph)
        if graph.states:
            stream = Stream(recorder, bundle, graph, len(sequences))
            stream.push(np.ascontiguousarray(whole[sequences]))
            stream.finish()
        else:
            recorder.run({"input": np.ascontiguousarray(inputs[sequences])})
        every.append(BatchRuns(sequences.astype(np.int64), used, dict(enumerate(recorder.runs))))
    return every


def feeds_alone(
    spec: ModelSpec,
    graph: GraphInfo,
    tapped: Mapping[str, Sequence[Stage]],
    known: Mapping[str, TensorInfo],
    inputs: NDArray[np.generic],
    trace: Trace,
    runs: Iterable[int],
) -> Feeds:
    """What goes into a cut graph in these runs of one batch.

    Args:
        spec: The network.
        graph: One of its graphs, as a bundle describes it.
        tapped: The tensors that are cut, with the stages that end in them.
        known: The tensors of the graph, by name.
        inputs: The inputs of the batch, (B, T, ...).
        trace: The float64 values of the same sequences.
        runs: The numbers of the runs.

    Returns:
        Run -> its inputs: right values for every cut tensor and every state.
    """
    feeds = {}
    for run in runs:
        piece = inputs[:, run * graph.steps : (run + 1) * graph.steps]
        feed: Arrays = {"input": np.ascontiguousarray(piece)}
        for name, value in states_before(spec, graph, trace, run).items():
            feed[name] = value.astype(np.float32)
        for tensor, stages in tapped.items():
            right: Array = given(stages, trace, run, known[tensor].shape)
            feed[given_name(tensor)] = right.astype(known[tensor].dtype)
        feeds[run] = feed
    return feeds


class _Recorder(CopyingSession):
    """Runs a session and keeps what every run gave, except for states: a long stream has too many."""

    def __init__(self, session: Session, graph: GraphInfo) -> None:
        self._graph, self._dropped = graph, {after for _, after in graph.states}
        # `run` would refuse what the states of a wrong graph may become, NaN among it
        self._run = session._compute if isinstance(session, CopyingSession) else session.run
        self.runs: list[Arrays] = []

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        outputs = self._run(inputs)
        self.runs.append({name: value.copy() for name, value in outputs.items() if name not in self._dropped})
        return outputs

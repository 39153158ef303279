"""Every stage of a graph on right inputs, and as it ran, through a runtime that takes any graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import onnx

from drnn_core.errors import DeployError
from drnn_core.types import PRECISIONS, Precision
from drnn_deploy.debug.explanation import StageResult, StateResult, wrong_stages
from drnn_deploy.debug.isolate_nodes import first_wrong_node
from drnn_deploy.debug.isolate_weights import one_layer
from drnn_deploy.debug.stage_errors import Expected, measure_head, measure_stage, measure_states
from drnn_deploy.debug.stages import Stage, stages_of
from drnn_deploy.debug.taps import (
    BatchRuns,
    feeds_alone,
    run_as_it_is,
    session_of,
    taps,
)
from drnn_deploy.parity.inference import batches
from drnn_export.onnx_surgery import cut, known_tensors, opened
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.reference.low_precision import graph_weights, narrow_reference
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.session import Arrays, Session

_LIKE = {precision: info.lookalike for precision, info in PRECISIONS.items() if info.lookalike}
_ABOUT = 4.0  # times; the errors of the two are 8 apart
_RUNS_ALONE = 32  # each on right states, so that one is as good as the other; all of a long stream's fill the memory
_TINY = float(np.finfo(np.float64).tiny)


@dataclasses.dataclass(frozen=True)
class IsolatedStages:
    """What the stages of a graph give.

    Attributes:
        stages: Every stage, in the network's order.
        states: Every state output.
        node: The node of the culprit that the runtime computes wrong, where the graph itself is right; "" for none.
        rounding: The types whose rounding has about the culprit's error; "" for none.
        note: What could not be run, and why.
    """

    stages: tuple[StageResult, ...]
    states: tuple[StateResult, ...]
    node: str
    rounding: str
    note: str


def isolate_stages(
    runtime: Runtime, bundle: Bundle, expected: Expected, model: onnx.ModelProto, changed: Callable[[str], bool]
) -> IsolatedStages:
    """Run a graph's model as it is and cut between its stages, on one golden case.

    Does not raise `DeployError`: what a runtime refuses is in the note.

    Args:
        runtime: The runtime, which takes any graph.
        bundle: The open bundle that was checked.
        expected: What is right.
        model: The graph's model.
        changed: Whether a stage of the model differs from what the weights make. The others are searched for a node
            that the runtime computes wrong.

    Returns:
        What every stage gives on right inputs, and as it ran.
    """
    graph, known = expected.graph, known_tensors(model)
    every = stages_of(expected.spec, graph, as_node=len(model.functions) > 0)
    tapped = taps(every, known)
    tensors = [known[name] for name in tapped]
    notes: list[str] = []
    size: int | None = None
    whole: list[BatchRuns] = []
    alone: list[BatchRuns] = []
    fed: list[Arrays] = []
    separated = cut(model, tensors)
    try:
        with session_of(runtime, bundle, graph, opened(model, tensors)) as session:
            size, whole = _as_it_ran(session, bundle, expected)
    except DeployError as error:
        notes.append(f"it does not run with the tensors between its parts as outputs: {error.message}")
    runs = _chosen_runs(expected, every, whole)
    try:
        with session_of(runtime, bundle, graph, separated) as session:
            for rows, used in batches(np.arange(len(expected.case.inputs)), graph.batch or size):
                trace = {name: value[rows] for name, value in expected.trace.items()}
                feeds = feeds_alone(expected.spec, graph, tapped, known, expected.case.inputs[rows], trace, runs)
                outputs = {run: session.run(feed) for run, feed in feeds.items()}
                alone.append(BatchRuns(rows.astype(np.int64), used, outputs))
                fed += feeds.values()
    except DeployError as error:
        notes.append(f"its parts do not run by themselves: {error.message}")
        alone = []
    stages = tuple(_stage_results(expected, every, alone, whole))
    states = tuple(measure_states(expected, alone)) if alone else ()
    culprit = next(iter(wrong_stages(stages, states)), "")
    node = rounding = ""
    if culprit and not changed(culprit):
        noise = next((expected.noises[stage.source] for stage in every if stage.name == culprit), expected.case.noise)
        node = first_wrong_node(runtime, bundle, graph, separated, known, fed, culprit, float(np.max(noise)))
        rounding = _rounding(bundle, expected, stages, culprit)
    return IsolatedStages(stages, states, node, rounding, "; ".join(notes))


def _as_it_ran(session: Session, bundle: Bundle, expected: Expected) -> tuple[int | None, list[BatchRuns]]:
    """Run with every size of batch that a graph is checked with; the size that is furthest off, and its runs."""
    sizes = expected.graph.profile or (None,)
    runs = [(size, run_as_it_is(session, bundle, expected.graph, expected.case.inputs, size)) for size in sizes]
    return max(runs, key=lambda entry: _severity(expected, entry[1]))


def _chosen_runs(expected: Expected, every: Sequence[Stage], whole: Sequence[BatchRuns]) -> list[int]:
    """Up to 33 runs of a stream, evenly spaced, with the one in which the first tensor went off."""
    count = expected.case.inputs.shape[1] // expected.graph.steps
    chosen = set(np.linspace(0, count - 1, min(count, _RUNS_ALONE)).astype(int).tolist())
    seen = [stage.whole for stage in _stage_results(expected, every, [], whole) if stage.whole is not None]
    off = [deviation.first_bad_step for deviation in seen if deviation.first_bad_step is not None]
    return sorted(chosen | {min(min(off) // expected.graph.steps, count - 1)} if off else chosen)


def _stage_results(
    expected: Expected, every: Sequence[Stage], alone: Sequence[BatchRuns], whole: Sequence[BatchRuns]
) -> list[StageResult]:
    results = [
        StageResult(
            stage.name,
            stage.tensor,
            measure_stage(expected, stage, alone) if alone else None,
            measure_stage(expected, stage, whole) if whole else None,
        )
        for stage in every
    ]
    heads = (measure_head(expected, alone) if alone else None, measure_head(expected, whole) if whole else None)
    return [*results, StageResult("head", "output", *heads)]


def _severity(expected: Expected, whole: Sequence[BatchRuns]) -> float:
    head = measure_head(expected, whole)
    if head is None:
        return -1.0
    return float("inf") if head.in_noise is None else head.in_noise


def _rounding(bundle: Bundle, expected: Expected, stages: Sequence[StageResult], culprit: str) -> str:
    """The types in which products of this layer, on the same right inputs, would be about as far off as they are."""
    deviation = next((stage.alone for stage in stages if stage.stage == culprit), None)
    if not culprit.startswith("layer ") or deviation is None or not deviation.absolute:
        return ""
    layer = int(culprit.removeprefix("layer "))
    below = expected.trace["input" if layer == 0 else f"l{layer - 1}_h"].astype(np.float32)
    spec, weights = one_layer(expected.spec, graph_weights(bundle.weights, expected.graph.precision), layer)
    ratios: dict[Precision, float] = {}
    for precision in _LIKE:
        trace = narrow_reference(spec, weights, below, precision, traced=True).trace
        error = float(np.abs(trace["l0_h"] - expected.trace[f"l{layer}_h"]).max())
        ratios[precision] = max(deviation.absolute, error) / max(min(deviation.absolute, error), _TINY)
    nearest = min(ratios, key=lambda precision: ratios[precision])
    return _LIKE[nearest] if ratios[nearest] <= _ABOUT else ""

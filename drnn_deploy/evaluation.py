"""A task's metric through every runtime of a bundle, and the predictions that differ between them.

Or of a checkpoint alone, through torch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.memory import require_memory
from drnn_deploy.parity.graphs import graphs_for, shown_name
from drnn_deploy.parity.inference import run_case
from drnn_deploy.parity.results import Missing
from drnn_deploy.tasks import Task, task_of
from drnn_deploy.tasks.scoring import SEQUENCES_AT_ONCE, Predict, score_split
from drnn_models.memory import evaluation_needs
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.session import Session

if TYPE_CHECKING:
    from drnn_models.checkpoint import AnyModel


Split = Literal["validation", "test"]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One runtime on one graph over a split.

    Attributes:
        runtime: The name of the runtime.
        graph: What tables call the graph.
        metrics: The task's metrics.
        predictions: How many predictions there are.
        changed: How many of them are not those of the first runtime and graph.
        seconds: The time that all of it took.
        caveat: What the result does not show; see `drnn_runtimes.runtime.Runtime`.
    """

    runtime: str
    graph: str
    metrics: dict[str, float]
    predictions: int
    changed: int
    seconds: float
    caveat: str = ""


@checked_arguments
def evaluate_checkpoint(
    checkpoint: AnyModel, what: str, split: Split = "test", *, limit: int | None = None
) -> Evaluation:
    """Measure a checkpoint's task through the torch module.

    Args:
        checkpoint: The network, or the path of its checkpoint.
        what: What errors call it.
        split: "validation" or "test".
        limit: The first so many sequences; None takes all.

    Returns:
        The metrics.

    Raises:
        InputError: The checkpoint names no task, or one that its network does not fit, or there is not enough memory.
    """
    import torch

    from drnn_models.checkpoint import as_checkpoint
    from drnn_runtimes.torch import float32_products

    checkpoint = as_checkpoint(checkpoint)
    model = checkpoint.network()

    def predict(inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        with torch.inference_mode(), float32_products():
            outputs: NDArray[np.generic] = model(torch.from_numpy(inputs)).numpy()
        return outputs

    task = task_of(checkpoint.task, checkpoint.spec, what)
    needs = evaluation_needs(checkpoint.spec, min(SEQUENCES_AT_ONCE, limit or SEQUENCES_AT_ONCE), task.length)
    require_memory("an evaluation", needs)
    return _evaluate(predict, task, split, limit, "torch", "checkpoint")[0]


@checked_arguments
def evaluate_bundle(
    bundle: Bundle,
    runtimes: Sequence[Runtime],
    split: Split = "test",
    *,
    limit: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Evaluation]:
    """Measure a bundle's task through every graph and runtime that can run it.

    Args:
        bundle: An open bundle with a task.
        runtimes: The runtimes. The others are compared with the first.
        split: "validation" or "test".
        limit: The first so many sequences; None takes all.
        notify: Gets a line on what runs at the moment.

    Returns:
        The metrics of each runtime and graph.

    Raises:
        RuntimeUnavailableError: A runtime can run no graph of the bundle.
        InputError: The bundle names no task, or one that its network does not fit, or has only graphs for streams.
    """
    task = task_of(bundle.task, bundle.spec, str(bundle.folder))
    results: list[Evaluation] = []
    expected: NDArray[np.int64] | None = None
    for runtime in runtimes:
        graphs = whole_graphs(runtime, bundle)
        reasons = [runtime.unsupported(bundle, graph) for graph in graphs]
        if all(reasons):
            raise RuntimeUnavailableError(f"{runtime.name} cannot run {bundle.folder}: {reasons[0]}")
        for graph in (graph for graph, reason in zip(graphs, reasons, strict=True) if not reason):
            notify(f"{runtime.name} on {shown_name(runtime, graph)}")
            with runtime.load(bundle, graph) as session:
                predict = functools.partial(_run, session, graph)
                shown = shown_name(runtime, graph)
                result, predictions = _evaluate(predict, task, split, limit, runtime.name, shown)
            expected = predictions if expected is None else expected
            changed = int(np.count_nonzero(predictions != expected))
            results.append(dataclasses.replace(result, changed=changed, caveat=runtime.caveat(graph)))
    return results


def whole_graphs(runtime: Runtime, bundle: Bundle) -> list[GraphInfo]:
    """The graphs of whole sequences that differ for a runtime.

    Args:
        runtime: Whose properties count.
        bundle: An open bundle.

    Raises:
        InputError: There is none.
    """
    graphs = [graph for graph in graphs_for(runtime, bundle) if not graph.states]
    if not graphs:
        fix = "Export one: drnn-export MODEL --form sequence; --form can be repeated."
        raise InputError(f"{bundle.folder} has no graph of whole sequences", fix)
    return graphs


def why_left_out(runtime: Runtime, bundle: Bundle) -> Missing | None:
    """Why a runtime can run no graph of whole sequences here; None where it can run one.

    Args:
        runtime: The runtime.
        bundle: An open bundle.

    Raises:
        InputError: The bundle has no such graph.
    """
    available = runtime.availability()
    if not available.usable:
        return Missing(runtime.name, "", available.detail, available.fix)
    reasons = [runtime.unsupported(bundle, graph) for graph in whole_graphs(runtime, bundle)]
    return Missing(runtime.name, "", reasons[0], "") if all(reasons) else None


def _run(session: Session, graph: GraphInfo, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
    return run_case(session, graph, inputs)["output"]


def _evaluate(
    predict: Predict, task: Task, split: Split, limit: int | None, runtime: str, graph: str
) -> tuple[Evaluation, NDArray[np.int64]]:
    if limit is not None and limit < 1:
        raise InputError(f"the limit must be at least 1, got {limit}", "Leave it out to take all sequences.")
    started = time.perf_counter()
    metrics, predictions = score_split(predict, task, split, limit=limit)
    seconds = time.perf_counter() - started
    return Evaluation(runtime, graph, metrics, len(predictions), 0, seconds), predictions


def as_json(results: Sequence[Evaluation]) -> dict[str, Any]:
    """The evaluations in plain JSON types."""
    same = all(result.changed == 0 for result in results)
    return {"passed": same, "evaluations": [_finite(dataclasses.asdict(result)) for result in results]}


def _finite(entry: dict[str, Any]) -> dict[str, Any]:
    """With null, which JSON has, in the place of metrics that are not finite, which it has not."""
    metrics = {name: value if math.isfinite(value) else None for name, value in entry["metrics"].items()}
    return {**entry, "metrics": metrics}

"""A task's metric through every runtime of a bundle, and the predictions that differ between them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.parity import graphs_for, run_case, shown_name
from drnn_deploy.tasks import Batch, Score, Task, make_task
from drnn_models.errors import InputError, RuntimeUnavailableError
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime

_SEQUENCES_AT_ONCE = 500


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One runtime on one graph over a split. `changed`: predictions unlike those of the first runtime and graph."""

    runtime: str
    graph: str
    metrics: dict[str, float]
    predictions: int
    changed: int
    seconds: float


def bundle_task(bundle: Bundle) -> Task:
    """The task that the bundle's network was trained for. Raises `InputError` where the bundle does not say."""
    if "name" not in bundle.task:
        raise InputError(f"{bundle.folder} does not say which task its network is for")
    return make_task(bundle.task["name"], bundle.task.get("options", {}))


def evaluate_bundle(
    bundle: Bundle,
    runtimes: Sequence[Runtime],
    split: str = "test",
    *,
    limit: int | None = None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Evaluation]:
    """Run (the first `limit` sequences of) a split of the task through every graph and runtime that can run it.

    Raises `RuntimeUnavailableError` for a runtime that can run no graph of the bundle.
    """
    task = bundle_task(bundle)
    results: list[Evaluation] = []
    expected: NDArray[np.int64] | None = None
    for runtime in runtimes:
        graphs = graphs_for(runtime, bundle)
        reasons = [runtime.unsupported(bundle, graph) for graph in graphs]
        if all(reasons):
            raise RuntimeUnavailableError(f"{runtime.name} cannot run {bundle.folder}: {reasons[0]}")
        for graph in (graph for graph, reason in zip(graphs, reasons, strict=True) if not reason):
            notify(f"{runtime.name} on {shown_name(runtime, graph)}")
            result, predictions = _evaluate(bundle, runtime, graph, task, split, limit)
            expected = predictions if expected is None else expected
            changed = int(np.count_nonzero(predictions != expected))
            results.append(dataclasses.replace(result, changed=changed))
    return results


def _evaluate(
    bundle: Bundle, runtime: Runtime, graph: GraphInfo, task: Task, split: str, limit: int | None
) -> tuple[Evaluation, NDArray[np.int64]]:
    score, predictions = Score(), []
    started = time.perf_counter()
    with runtime.load(bundle, graph) as session:
        for batch in _limited(task.batches(split, _SEQUENCES_AT_ONCE), limit):
            outputs = run_case(session, graph, batch.inputs)["output"]
            score.add(outputs, batch)
            predictions.append(outputs.argmax(axis=-1).reshape(-1))
    seconds = time.perf_counter() - started
    found = np.concatenate(predictions)
    return Evaluation(runtime.name, shown_name(runtime, graph), task.metrics(score), len(found), 0, seconds), found


def _limited(batches: Iterator[Batch], limit: int | None) -> Iterator[Batch]:
    left = limit
    for batch in batches:
        if left is None:
            yield batch
        elif left > 0:
            groups = None if batch.groups is None else batch.groups[:left]
            yield Batch(batch.inputs[:left], batch.targets[:left], groups)
            left -= len(batch.inputs)


def as_json(results: Sequence[Evaluation]) -> dict[str, Any]:
    """Plain JSON types."""
    same = all(result.changed == 0 for result in results)
    return {"passed": same, "evaluations": [dataclasses.asdict(result) for result in results]}

"""A task's metrics through a runtime beside those of float64, as values and as a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Measured:
    """One metric: of the float64 reference's outputs, and of a runtime's; None where that is not finite."""

    reference: float
    value: float | None


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """A task's metrics through one runtime on one graph.

    `source`: where the sequences come from. `metrics`: accuracy (0 to 1), cross_entropy (nats), and what the task adds.
    `changed_predictions`: outputs whose largest class is another than the reference's.
    """

    runtime: str
    graph: str
    task: str
    source: str
    sequences: int
    metrics: dict[str, Measured]
    changed_predictions: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dataclasses.asdict(self)


def task_table(results: Sequence[TaskResult]) -> tuple[list[str], list[list[str]]]:
    """Header and rows, as text, for people: first what float64 gives on each source, then each runtime and graph."""
    names = list(dict.fromkeys(name for result in results for name in result.metrics))
    header = ["task", "runtime", "graph", *(name.replace("_", " ") for name in names), "sequences", "changed"]
    rows = []
    for task, source in dict.fromkeys((result.task, result.source) for result in results):
        group = [result for result in results if (result.task, result.source) == (task, source)]
        expected = {name: metric.reference for name, metric in group[0].metrics.items()}
        rows.append([task, "float64", "", *(_shown(expected, name) for name in names), f"{group[0].sequences:,}", ""])
        for result in group:
            found = {name: metric.value for name, metric in result.metrics.items()}
            counts = f"{result.sequences:,}", f"{result.changed_predictions:,}"
            rows.append([task, result.runtime, result.graph, *(_shown(found, name) for name in names), *counts])
    return header, rows


def _shown(values: Mapping[str, float | None], name: str) -> str:
    if name not in values:
        return ""
    value = values[name]
    return "not finite" if value is None else f"{value:.6f}"

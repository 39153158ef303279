"""The four tasks' trained networks through every runtime: `drnn-parity --task all`, in the project's own test run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drnn_deploy.matrix.run import MatrixOptions, check_path
from drnn_deploy.parity import inference
from drnn_deploy.reports.text import describe
from drnn_zoo import zoo_checkpoint, zoo_tasks

RUNTIMES = ("reference", "torch", "onnxruntime-cpu", "tensorrt-network")
LENGTHS = {"copy-memory": 520, "pixel-mnist": 784, "ptb-char": 100, "speaker-id": 2000}
FORMS = {"chunk32/fused", "chunk32/unrolled", "chunk32/mixed", "step/fused", "step/unrolled", "step/skewed"}


def test_every_task_of_the_zoo_is_here() -> None:
    assert set(LENGTHS) == set(zoo_tasks())


@pytest.mark.parametrize("task", LENGTHS)
def test_every_cell_of_the_matrix_passes(
    task: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr(inference, "_TIMING_SECONDS", 0.01)  # the speed is not tested
    report = check_path(zoo_checkpoint(task)[1], MatrixOptions(required=RUNTIMES))
    failed = [f"{row.runtime} {row.graph}: {row.error}" for row in report.rows if row.error]
    failed += [f"{row.runtime} {row.graph}: {describe(c)}" for row in report.rows for c in row.cases if not c.passed]
    assert failed == []
    assert report.exit_code == 0
    seconds = sum(row.seconds or 0.0 for row in report.rows)
    record_property(f"parity matrix of {task}", f"{len(report.rows)} rows, {seconds:.1f} s")

    by_runtime = {name: [row for row in report.rows if row.runtime == name] for name in RUNTIMES}
    for name, rows in by_runtime.items():
        steps = {row.steps for row in rows}
        assert steps >= {1, 7, 32, LENGTHS[task]}, name
        assert len(steps) == 6  # a length that the largest dilation divides, and one that is shorter than it
        assert {row.pruned for row in rows} == {True, False}
        if name != "reference":  # which takes any batch
            assert {row.batch for row in rows} == {None, 1, 5}
    for name in ("onnxruntime-cpu", "tensorrt-network"):
        assert {row.graph for row in by_runtime[name]} >= FORMS | {"sequence/fused"}
    assert all(result.changed_predictions == 0 for result in report.tasks)
    assert {result.task for result in report.tasks} <= {task}
    if task != "ptb-char":  # whose text may not be passed on
        measured = {(result.runtime, result.graph.partition("/")[0].partition(" ")[0]) for result in report.tasks}
        assert measured == {(name, "sequence") for name in RUNTIMES}
        accuracies = {result.metrics["accuracy"].value for result in report.tasks}
        assert len(accuracies) == 1
        assert min(value or 0.0 for value in accuracies) >= 0.95

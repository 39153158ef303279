"""The four tasks' trained networks through every runtime: `drnn-parity --task all`, in the project's own test run."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from drnn_deploy.exporter.options import CHUNK
from drnn_deploy.matrix.options import MatrixOptions
from drnn_deploy.matrix.run import check_checkpoint, check_path
from drnn_deploy.parity import cases, known_answers
from drnn_deploy.parity.results import ParityReport
from drnn_deploy.reports.text import describe
from drnn_models.checkpoint import load_checkpoint
from drnn_models.spec import ModelSpec
from drnn_zoo import zoo_checkpoint, zoo_tasks
from tests.nightly import NIGHTLY, some_by_day

RUNTIMES = ("reference", "torch", "onnxruntime-cpu", "tensorrt-network")
LENGTHS = {"copy-memory": 520, "pixel-mnist": 784, "ptb-char": 100, "speaker-id": 2000}
LONG, STEPS = 700, 65  # by day: of sequences that are fewer; of the stream of single steps
FORMS = {"chunk32/fused", "chunk32/unrolled", "chunk32/mixed", "step/fused", "step/unrolled", "step/skewed"}


def test_every_task_of_the_zoo_is_here() -> None:
    assert set(LENGTHS) == set(zoo_tasks())


@pytest.mark.nightly
@pytest.mark.parametrize("task", LENGTHS)
def test_blocked_graphs_of_the_zoo_agree_at_every_length(task: str) -> None:
    options = MatrixOptions(required=RUNTIMES, forms=("sequence",), emissions=("blocked",))
    report = check_path(zoo_checkpoint(task)[1], options)
    assert [f"{row.runtime} {row.graph}: {row.error}" for row in report.rows if not row.passed] == []
    assert report.exit_code == 0
    steps = {row.steps for row in report.rows if row.graph.startswith("sequence/blocked")}
    assert LENGTHS[task] in steps


def check(task: str, monkeypatch: pytest.MonkeyPatch) -> ParityReport:
    """The whole matrix; by day every cell of it, on less.

    That is: of the examples five, of other sequences two of a kind in place of four, of long ones one kind; streams go
    round every delay line once, not twice, and those of single steps only round the shorter ones.
    """
    path = zoo_checkpoint(task)[1]
    if NIGHTLY:
        return check_path(path, MatrixOptions(required=RUNTIMES))

    def fewer(spec: ModelSpec, length: int, seed: int) -> dict[str, NDArray[np.generic]]:
        inputs = synthetic(spec, length, seed)
        return inputs if length < LONG else {"normal": inputs["normal"]}

    synthetic, stream_length = cases._synthetic, cases.stream_length
    monkeypatch.setattr(cases, "_SEQUENCES", 2)
    monkeypatch.setattr(cases, "_synthetic", fewer)
    checkpoint = load_checkpoint(path)
    if (all_ := checkpoint.examples) is not None:
        few = dataclasses.replace(all_, inputs=all_.inputs[:5], targets=all_.targets[:5])
        checkpoint = dataclasses.replace(checkpoint, examples=few)
    once = max(checkpoint.dilated.dilations) + 2 * CHUNK
    monkeypatch.setattr(known_answers, "stream_length", functools.partial(stream_length, longest=once))
    report = check_checkpoint(checkpoint, MatrixOptions(required=RUNTIMES, forms=("sequence", "chunk")))
    monkeypatch.setattr(known_answers, "stream_length", functools.partial(stream_length, longest=STEPS))
    steps = check_checkpoint(checkpoint, MatrixOptions(required=RUNTIMES, forms=("step",)))
    return dataclasses.replace(
        report,
        rows=(*report.rows, *steps.rows),
        missing=(*report.missing, *steps.missing),
        tasks=(*report.tasks, *steps.tasks),
    )


@pytest.mark.parametrize("task", some_by_day(list(LENGTHS), len(LENGTHS)))
def test_every_cell_of_the_matrix_passes(
    task: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    report = check(task, monkeypatch)
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

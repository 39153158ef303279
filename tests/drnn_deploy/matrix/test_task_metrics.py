"""The task's metrics in a matrix: counted by hand, judged like golden data, and what is said where there are none."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_deploy.matrix import task_metrics
from drnn_deploy.matrix.options import MatrixOptions
from drnn_deploy.matrix.run import check_bundle, check_checkpoint
from drnn_deploy.matrix.task_metrics import task_cases
from drnn_deploy.reports.markdown import markdown
from drnn_deploy.tasks import IGNORED, make_task
from drnn_models.checkpoint import Checkpoint, Examples
from drnn_models.spec import Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.reference import loop
from tests.drnn_deploy.matrix.conftest import DELAY
from tests.networks import random_weights


def test_metrics_are_those_of_the_task_counted_by_hand(several: Bundle) -> None:
    report = check_bundle(several, MatrixOptions(runtimes=("torch",), task_data=50))
    (result,) = report.tasks
    batch = next(make_task("copy-memory", {"delay": DELAY}).batches("test", 50))
    outputs = loop.run_reference(several.spec, several.weights, batch.inputs).outputs
    right = total = nats = 0.0
    for row, target in zip(outputs.reshape(-1, 8), batch.targets.reshape(-1), strict=True):
        right, total = right + (np.argmax(row) == target), total + 1
        nats += math.log(sum(math.exp(value) for value in row)) - row[target]
    assert (result.runtime, result.graph, result.task, result.sequences) == ("torch", "sequence", "copy-memory", 50)
    assert result.source == "copy-memory, the first 50 sequences of the test split"
    assert result.metrics["accuracy"].reference == pytest.approx(right / total)
    assert result.metrics["cross_entropy"].reference == pytest.approx(nats / total)
    assert result.metrics["accuracy"].value == pytest.approx(right / total, abs=1e-3)
    assert result.metrics["cross_entropy"].value == pytest.approx(nats / total, rel=1e-5)
    assert result.changed_predictions == 0
    assert set(result.to_json()) == {
        "runtime", "graph", "task", "source", "sequences", "metrics", "changed_predictions",
    }  # fmt: skip
    assert result.to_json()["metrics"]["accuracy"] == dataclasses.asdict(result.metrics["accuracy"])


@given(st.integers(0, 49), st.integers(0, 9))
def test_every_changed_prediction_is_counted(several: Bundle, sequence: int, step: int) -> None:
    ((case,), notes) = task_cases(several, several.golden, None, 50)
    assert notes == []
    outputs = case.case.outputs.copy()
    outputs[sequence, step] *= -1
    outputs[49, 9] *= -1
    found = case.measure("fake", "sequence", outputs)
    assert found is not None
    back = (sequence, step) == (49, 9)  # turned twice
    assert found.changed_predictions == (0 if back else 2)
    assert (found.metrics["cross_entropy"].value == found.metrics["cross_entropy"].reference) is back


def test_outputs_that_are_not_finite_or_misshapen_give_no_number(several: Bundle) -> None:
    ((case,), _) = task_cases(several, several.golden, None, 5)
    found = case.measure("fake", "sequence", np.full(case.case.outputs.shape, np.nan))
    assert found is not None
    assert found.metrics["cross_entropy"].value is None
    json.dumps(found.to_json(), allow_nan=False)
    assert case.measure("fake", "sequence", case.case.outputs[:, :-1]) is None


def test_test_split_is_judged_like_golden_data_too(several: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    options = MatrixOptions(runtimes=("reference", "onnxruntime-cpu"), task_data=10)
    report = check_bundle(several, options)
    assert report.passed
    cases = {row.runtime: [case.case for case in row.cases] for row in report.rows}
    assert cases["onnxruntime-cpu"][-1] == "test split"
    assert "test split" not in cases["reference"]  # whose outputs those are
    right = task_metrics.answer
    monkeypatch.setattr(
        task_metrics, "answer", lambda *_: dataclasses.replace(right(*_), outputs=right(*_).outputs + 0.5)
    )
    broken = check_bundle(several, options)
    assert broken.exit_code == 1


def test_examples_that_a_bundle_carries_are_measured_without_its_data(copier: Checkpoint, tmp_path: Path) -> None:
    batch = next(make_task("copy-memory", {"delay": DELAY}).batches("test", 3))
    targets = batch.targets.copy()
    targets[0, :4] = IGNORED
    carrying = dataclasses.replace(copier, examples=Examples(batch.inputs, targets, "made up"))
    bundle = export(carrying, tmp_path / "bundle", ExportOptions(engines=(), runtimes=("torch",))).bundle
    ((case,), notes) = task_cases(bundle, bundle.golden)
    assert (case.carried, case.case.source, notes) == (True, "made up", [])
    (result,) = check_bundle(bundle, MatrixOptions(runtimes=("torch",))).tasks
    kept = targets != IGNORED
    right = np.mean((case.case.outputs.argmax(axis=-1) == targets)[kept])
    assert (result.source, result.sequences) == ("made up", 3)
    assert result.metrics["accuracy"].reference == pytest.approx(right)
    both, _ = task_cases(bundle, bundle.golden, None, 4)
    assert [each.case.source for each in both] == ["made up", "copy-memory, the first 4 sequences of the test split"]


@pytest.mark.parametrize("targets", [[[8, 0], [0, 0]], [[0, -2], [0, 0]], [[IGNORED] * 2] * 2])
def test_carried_answers_that_are_no_classes_are_not_measured(several: Bundle, targets: list[list[int]]) -> None:
    case = dataclasses.replace(
        several.golden[0], targets=np.array(targets), outputs=np.zeros((2, 2, 8)), inputs=several.golden[0].inputs[:2]
    )
    odd = dataclasses.replace(several)
    cases, _ = task_cases(odd, [case])
    assert not any(each.carried for each in cases)


def test_task_data_that_is_not_there_is_said_and_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRNN_DATA", str(tmp_path / "nothing"))
    spec = ModelSpec("gru", (4,), (2,), Tokens(50), Head("sequence", 50))
    described = {"name": "ptb-char", "length": 10, "options": {"length": 10, "context": 5}}
    network = Checkpoint(spec, random_weights(spec, 0), described)
    report = check_checkpoint(network, MatrixOptions(runtimes=("torch",), forms=("sequence",)))
    assert (report.exit_code, report.tasks) == (0, ())
    (note,) = report.notes
    assert note.startswith("no metrics of task ptb-char on its test split: the data set ptb-char is not complete")
    assert "drnn-deploy data fetch ptb-char" in note
    assert note in markdown({"model": report})


@pytest.mark.parametrize("described, forms, message", [
    ({}, (), "does not say which task"),
    ({"name": "juggling"}, (), "there is no task 'juggling'"),
    ({"name": "pixel-mnist"}, (), "is for task pixel-mnist, which takes"),
    ({"name": "copy-memory", "options": {"delay": 9}}, (), "its sequences have 29 steps, those of the graphs 27"),
    ({"name": "copy-memory", "options": {"delay": DELAY}}, ("step",), "no graph of form sequence is here"),
])  # fmt: skip
def test_tasks_that_cannot_be_measured_are_notes(
    copier: Checkpoint, described: dict[str, Any], forms: tuple[str, ...], message: str
) -> None:
    changed = dataclasses.replace(copier, task={**described, "length": DELAY + 20})
    report = check_checkpoint(changed, MatrixOptions(runtimes=("torch",), forms=forms or ("sequence",)))
    assert (report.exit_code, report.tasks) == (0, ())
    assert any(message in note for note in report.notes), report.notes


@pytest.mark.parametrize("named, message", [
    ("juggling", "there is no task 'juggling'"),
    ("pixel-mnist", "which takes"),
])  # fmt: skip
def test_task_that_was_named_and_does_not_fit_is_an_error(several: Bundle, named: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_bundle(several, MatrixOptions(runtimes=("torch",), task=named))


def test_task_can_be_named_for_a_network_that_says_none(copier: Checkpoint) -> None:
    task = make_task("copy-memory", {})
    silent = dataclasses.replace(copier, task={"length": task.length})
    options = MatrixOptions(runtimes=("torch",), forms=("sequence",), task="copy-memory", task_data=2)
    results = check_checkpoint(silent, options).tasks
    assert {(result.task, result.sequences) for result in results} == {("copy-memory", 2)}

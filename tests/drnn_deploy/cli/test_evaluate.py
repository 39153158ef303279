"""`drnn-deploy evaluate`: predictions of a bundle and of a checkpoint, and tasks that do not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drnn_core import memory
from drnn_deploy import ExportOptions, export
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.onnxrt.runtime import OnnxRuntime, OnnxRuntimeSession
from tests.drnn_deploy.conftest import Command
from tests.networks import random_weights
from tests.sealing import edit_manifest


@pytest.fixture(scope="module")
def copy_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of an untrained network for copy memory with delay 3, in both emissions."""
    spec = ModelSpec("rnn", (4, 3), (1, 2), Tokens(10), Head("last_k", 8, 10))
    task = {"name": "copy-memory", "length": 23, "options": {"delay": 3}}
    folder = tmp_path_factory.mktemp("copy memory") / "bundle"
    options = ExportOptions(batch=None, engines=())
    assert export(Checkpoint(spec, random_weights(spec, 0), task), folder, options).exit_code == 0
    return folder


def test_evaluate_counts_predictions_and_finds_none_changed(command: Command, copy_memory: Path) -> None:
    ran = command("drnn-deploy", "evaluate", copy_memory, "--limit", 600, "--json", "-")
    assert ran.code == 0
    written = json.loads(ran.out)
    assert written["passed"] is True
    found = [(e["runtime"], e["graph"], e["predictions"], e["changed"]) for e in written["evaluations"]]
    assert found == [("torch", "sequence", 6000, 0), ("onnxruntime-cpu", "sequence/fused", 6000, 0)]
    losses = [evaluation["metrics"]["cross_entropy"] for evaluation in written["evaluations"]]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert 1.5 < losses[0] < 6


def test_a_checkpoint_whose_task_is_too_large_for_the_machine_is_refused(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 4 << 30)
    spec = ModelSpec("rnn", (2,), (1,), Tokens(10), Head("last_k", 8, 10))
    task = {"name": "copy-memory", "length": 1_000_020, "options": {"delay": 1_000_000}}
    save_checkpoint(tmp_path / "model.pt", Checkpoint(spec, random_weights(spec, 0), task))
    ran = command("drnn-deploy", "evaluate", tmp_path / "model.pt")
    assert ran.code == 2
    assert "an evaluation would take about" in ran.err


def test_evaluate_fails_where_a_prediction_changes(
    command: Command, copy_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OnnxRuntimeSession.run

    def wrong(self: OnnxRuntimeSession, inputs: Any) -> Any:
        outputs = right(self, inputs)
        outputs["output"] = np.negative(outputs["output"])
        return outputs

    monkeypatch.setattr(OnnxRuntimeSession, "run", wrong)
    ran = command("drnn-deploy", "evaluate", copy_memory, "--limit", 5, "--json", "-")
    assert ran.code == 1
    assert json.loads(ran.out)["passed"] is False
    assert json.loads(ran.out)["evaluations"][1]["changed"] == 50


def test_evaluate_with_a_runtime_that_cannot_run_the_bundle(
    command: Command, copy_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntime, "unsupported", lambda *_: "the bundle has no engine for model.onnx")
    ran = command("drnn-deploy", "evaluate", copy_memory, "--runtime", "onnxruntime-cpu", "--json", "-")
    assert ran.code == 3
    assert "the bundle has no engine for model.onnx" in ran.err
    assert json.loads(ran.out)["passed"] is False


@pytest.mark.parametrize("task, says", [
    ({}, "task its network is for\nevaluate knows copy-memory, pixel-mnist, ptb-char, speaker-id. For data of your own "
         "compute the metric from Bundle.open(DIR).run(x): docs/tutorials/own-module.md\n"),
    ({"name": "speech"}, "there is no task 'speech'"),
    ({"name": ["copy-memory"]}, "there is no task ['copy-memory']"),
    ({"name": "copy-memory", "options": 5}, "must be a table"),
    ({"name": "copy-memory", "options": {"delay": "5"}}, "data.delay"),
    ({"name": "copy-memory", "options": {"dealy": 5}}, "no option 'dealy'"),
    ({"name": "pixel-mnist"}, "says that it is for task pixel-mnist, which takes Continuous(features=1"),
    ({"name": "copy-memory", "options": {"delay": 4}}, "'input' of sequence/fused must be int64 of shape (-1, 23)"),
])  # fmt: skip
def test_evaluate_a_bundle_that_does_not_fit_its_task(
    command: Command, copy_memory: Path, tmp_path: Path, task: dict[str, Any], says: str
) -> None:
    bundle = Path(shutil.copytree(copy_memory, tmp_path / "bundle"))
    edit_manifest(bundle, lambda entries: entries.update(task=task))
    ran = command("drnn-deploy", "evaluate", bundle)
    assert ran.code == 2
    assert says in ran.err


def test_evaluate_a_checkpoint_through_torch(command: Command, copy_memory: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(copy_memory)
    path = tmp_path / "model.pt"
    save_checkpoint(path, Checkpoint(bundle.spec, bundle.weights, bundle.task))
    ran = command("drnn-deploy", "evaluate", path, "--limit", 600, "--json", "-")
    assert ran.code == 0
    (found,) = json.loads(ran.out)["evaluations"]
    assert (found["runtime"], found["graph"], found["predictions"]) == ("torch", "checkpoint", 6000)
    of_bundle = command("drnn-deploy", "evaluate", copy_memory, "--limit", 600, "--runtime", "torch", "--json", "-")
    assert found["metrics"] == pytest.approx(json.loads(of_bundle.out)["evaluations"][0]["metrics"], rel=1e-6)
    refused = command("drnn-deploy", "evaluate", path, "--runtime", "onnxruntime-cpu")
    assert (refused.code, "Export it first: drnn-export" in refused.err) == (2, True)
    save_checkpoint(path, Checkpoint(bundle.spec, bundle.weights, {"name": "pixel-mnist"}))
    assert command("drnn-deploy", "evaluate", path).code == 2

"""A training step is timed beside its own record, where both train alike; a tape stands for the graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import training
from benchmarks.gpu.plan import TRAINING, Setting
from drnn_core.errors import RuntimeUnavailableError
from drnn_deploy.training import recorded_step
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.training_run import TrainingRun
from tests.benchmarks.gpu.small_parts import done
from tests.cuda_graph_tape import TapeRecorder, record_on_the_cpu

SMALL = ("data.delay=3", "training.batch=4", "model.hidden=[4,4]", "model.dilations=[1,2]")
SETTING = Setting("cuda", True, Path())


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> TapeRecorder:
    """The CPU where the part asks for a GPU."""
    start = TrainingRun.start

    def on_the_cpu(recipe: Recipe, device: str) -> TrainingRun:
        changes = recipe.to_json()
        changes["training"]["kernel"] = "torch"
        run = start(Recipe.from_json(changes))
        run.kernel = recipe.training.kernel
        return run

    monkeypatch.setattr(TrainingRun, "start", on_the_cpu)
    monkeypatch.setattr(training, "_RECIPE", SMALL)
    monkeypatch.setattr(training, "timed", lambda setting, calls: {name: call() for name, call in calls.items()})
    return record_on_the_cpu(monkeypatch)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_both_ways_train_alike_and_are_timed(cell: str, recorder: TapeRecorder) -> None:
    row = {"batch": 4, "steps": 23, "kernels": None, "graph": None}
    assert done(training.steps(SETTING, cell, TRAINING)) == {"status": "ok", "rows": [row]}
    assert (recorder.records, recorder.repeats) == (1, 4)  # compared twice, the fifth step, and timed


def test_a_step_that_is_not_recorded_fails_with_the_reason(
    recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(recorder, "record", refuse)
    with pytest.raises(RuntimeWarning, match="cannot be recorded: operation not permitted"):
        done(training.steps(SETTING, "gru", TRAINING))


def test_records_that_drift_from_pytorch_fail(recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a training's own comparison would not have seen it."""
    monkeypatch.setattr(recorded_step, "_DEVIATION", 1e9)
    record = recorder.record

    def wrong(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        loss, repeat = record(work)
        return loss, lambda: (repeat(), loss.mul_(1.01))[0]

    monkeypatch.setattr(recorder, "record", wrong)
    found = done(training.steps(SETTING, "gru", TRAINING))
    assert (found["rows"], found["status"]) == ([], "failed")
    assert "where PyTorch has" in found["reason"]


def test_there_is_no_graph_without_cuda() -> None:
    with pytest.raises(RuntimeUnavailableError, match="need CUDA"):
        done(training.steps(Setting("cpu", True, Path()), "gru", TRAINING))

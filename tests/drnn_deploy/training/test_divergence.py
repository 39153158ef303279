"""A training that diverges says so, and leaves no state with values that are not finite."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from drnn_core.errors import InputError
from drnn_deploy.training.loop import train
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.plain_files import load_plain
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.training.tiny import SET, finished, recipe_of

DIVERGES = ("training.learning_rate=1e6", "model.activation=relu")


def all_finite(state: Path) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in load_plain(state)["model"].values())


def test_training_that_diverges_says_so_and_keeps_no_broken_state(state: Path) -> None:
    with pytest.raises(InputError, match=r"the training diverged: the loss is (nan|inf) at iteration 20") as refusal:
        finished(TrainingRun.start(recipe_of(*DIVERGES)), state)
    assert "training.learning_rate=3e+05" in refusal.value.fix
    assert not state.exists() or all_finite(state)


def test_divergence_leaves_the_last_good_state(state: Path) -> None:
    run = TrainingRun.start(recipe_of())
    with pytest.raises(InputError, match="diverged"):
        for line in train(run, state):
            if line.iteration == 30:
                run.optimizer.param_groups[0]["lr"] = 1e37
    assert all_finite(state)
    assert TrainingRun.resume(state, recipe_of()).iteration == 30


def test_weights_that_break_in_the_last_step_are_noticed(state: Path) -> None:
    """The loss of a step is computed before its update, so it alone would not tell."""
    run = TrainingRun.start(recipe_of("training.iterations=30"))
    step = run.optimizer.step

    def breaks_at_the_end() -> None:
        step()
        if run.iteration == 29:
            with torch.no_grad():
                run.model.head.bias.fill_(float("nan"))

    run.optimizer.step = breaks_at_the_end  # type: ignore[method-assign, assignment]
    with pytest.raises(InputError, match="diverged"):
        finished(run, state)
    assert not state.exists()


def test_divergence_is_exit_code_2_without_a_checkpoint(command: Command, tmp_path: Path) -> None:
    out, diverges = tmp_path / "out", [word for entry in DIVERGES for word in ("--set", entry)]
    ran = command("drnn-deploy", "train", "copy-memory", *SET, *diverges, "--output", out)
    assert ran.code == 2
    assert "the training diverged" in ran.err
    assert "training.learning_rate=3e+05" in ran.err
    assert not (out / "model.pt").exists()

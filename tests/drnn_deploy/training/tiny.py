"""A recipe that trains within a fraction of a second, and what makes two trainings the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from drnn_deploy.training.loop import train
from drnn_deploy.training.recipe import Recipe, load_recipe
from drnn_deploy.training.training_run import TrainingRun

TINY = (
    "data.delay=5",
    "model.hidden=[4]",
    "model.dilations=[2]",
    "training.iterations=50",
    "training.batch=4",
    "training.evaluate_every=30",
    "training.stop_below=0.0",
)
SET = [word for entry in TINY for word in ("--set", entry)]


def recipe_of(*changes: str) -> Recipe:
    return load_recipe("copy-memory", None, [*TINY, *changes])


def lines(run: TrainingRun) -> list[tuple[int, float, dict[str, float] | None]]:
    """The log without its times."""
    return [(line.iteration, line.loss, line.validation) for line in run.log]


def finished(run: TrainingRun, state: Path) -> TrainingRun:
    for _ in train(run, state):
        pass
    return run


def assert_same_end(one: TrainingRun, other: TrainingRun) -> None:
    """Losses, metrics and weights to the last bit."""
    assert one.iteration == other.iteration
    assert lines(one) == lines(other)
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name


RECIPES = pytest.mark.parametrize(
    "recipe", [
        recipe_of(), recipe_of("training.optimizer=rmsprop", "training.schedule=cosine", "seed=0"),
        recipe_of("training.dropout=0.2"),
    ], ids=["adam", "rmsprop with a schedule", "dropout"],
)  # fmt: skip

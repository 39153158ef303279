"""States that are not this training's, or were damaged, are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from drnn_core.errors import InputError
from drnn_deploy.training.loop import train
from drnn_deploy.training.outputs import open_run
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.plain_files import load_plain
from tests.drnn_deploy.training.tiny import recipe_of


@pytest.mark.parametrize("change", ["seed=2", "training.learning_rate=2e-3", "training.iterations=51", "data.delay=6"])
def test_state_of_another_recipe_is_refused(state: Path, change: str) -> None:
    TrainingRun.start(recipe_of()).save(state)
    with pytest.raises(InputError, match="belongs to a training with other settings") as refusal:
        TrainingRun.resume(state, recipe_of(change))
    assert "--output" in refusal.value.fix


def _without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda contents: {name: value for name, value in contents.items() if name != key}


def changed(contents: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """With another value at a place in the optimizer's part."""
    *parents, last = path
    at = contents["optimizer"]
    for key in parents:
        at = at[key]
    at[last] = value
    return contents


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{f"no {key}": _without(key) for key in ("format", "recipe", "model", "optimizer", "iteration", "seconds", "log")},
    "no weights": lambda contents: {**contents, "model": {}},
    "weights of another shape": lambda contents: {
        **contents, "model": {name: value[:1] for name, value in contents["model"].items()},
    },
    "optimizer of another kind": lambda contents: {**contents, "optimizer": {}},
    "iteration that is text": lambda contents: {**contents, "iteration": "many"},
    "log of numbers": lambda contents: {**contents, "log": [1]},
    "losses that are no tensor": lambda contents: {**contents, "losses": [1.0]},
    "losses without end": lambda contents: {**contents, "losses": torch.zeros(1).expand(10**13)},
    "losses of two axes without end": lambda contents: {**contents, "losses": torch.zeros(1).expand(10**7, 10**7)},
    "a moment that is one number seen as many": lambda contents: changed(
        contents, ("state", 0, "exp_avg"), torch.zeros(1).expand(contents["optimizer"]["state"][0]["exp_avg"].shape)
    ),
    "iteration below 0": lambda contents: {**contents, "iteration": -1},
    "iteration that is true": lambda contents: {**contents, "iteration": True},
    "iteration beyond the end": lambda contents: {**contents, "iteration": 10**9},
    "seconds that are no number": lambda contents: {**contents, "seconds": math.nan},
    "weights that are NaN": lambda contents: {
        **contents, "model": {name: value * math.nan for name, value in contents["model"].items()},
    },
    "a line of the log with text": lambda contents: {**contents, "log": [{**contents["log"][0], "loss": "low"}]},
    "a line of the log with other metrics": lambda contents: {
        **contents, "log": [{**contents["log"][0], "validation": {"x": 1.0}}],
    },
    "a rate that is text": lambda contents: changed(contents, ("param_groups", 0, "lr"), "fast"),
    "a rate above the recipe's": lambda contents: changed(contents, ("param_groups", 0, "lr"), 1e300),
    "another rate under a constant schedule": lambda contents: changed(contents, ("param_groups", 0, "lr"), 1e-9),
    "losses of eight bits": lambda contents: {**contents, "losses": torch.zeros(1, dtype=torch.float8_e4m3fn)},
    "a rate without end": lambda contents: changed(contents, ("param_groups", 0, "lr"), 10**400),
    "a decay that is a tensor": lambda contents: changed(contents, ("param_groups", 0, "weight_decay"), torch.ones(3)),
    "betas that are tensors": lambda contents: changed(contents, ("param_groups", 0, "betas"), (torch.ones(3),) * 2),
    "an entry of a group that no optimizer has": lambda contents: changed(contents, ("param_groups", 0, "x"), 1),
    "moments of weight 0.0": lambda contents: {
        **contents, "optimizer": {
            **contents["optimizer"], "state": {float(n): each for n, each in contents["optimizer"]["state"].items()},
        },
    },
    "a step before the first": lambda contents: changed(contents, ("state", 0, "step"), torch.tensor(-1.0)),
    "squares below 0": lambda contents: changed(
        contents, ("state", 0, "exp_avg_sq"), -contents["optimizer"]["state"][0]["exp_avg_sq"] - 1
    ),
    "betas that are text": lambda contents: changed(contents, ("param_groups", 0, "betas"), "ab"),
    "moments of a weight that is not there": lambda contents: changed(contents, ("state", 999), {}),
    "moments of another shape": lambda contents: changed(contents, ("state", 0, "exp_avg"), torch.zeros(1)),
    "moments that are infinite": lambda contents: changed(contents, ("state", 0, "step"), torch.tensor(math.inf)),
    "moments of another optimizer": lambda contents: changed(contents, ("state", 0), {"square_avg": torch.zeros(1)}),
    "a list": lambda contents: [contents],
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The state file of a training with moments and a log."""
    state = tmp_path_factory.mktemp("trained") / "state.pt"
    next(train(TrainingRun.start(recipe_of()), state))
    for _ in train(TrainingRun.resume(state, recipe_of()), state):
        pass
    return state.read_bytes()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_state_is_refused(state: Path, damage: str, trained: bytes) -> None:
    state.parent.mkdir()
    state.write_bytes(trained)
    torch.save(DAMAGES[damage](load_plain(state)), state)
    with pytest.raises(InputError, match="state") as refusal:
        TrainingRun.resume(state, recipe_of())
    assert str(state) in refusal.value.message
    assert refusal.value.fix


def test_state_cut_short_is_refused(state: Path) -> None:
    TrainingRun.start(recipe_of()).save(state)
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        TrainingRun.resume(state, recipe_of())


def test_state_saved_before_losses_were_kept_still_resumes(state: Path) -> None:
    run = TrainingRun.start(recipe_of())
    run.save(state)
    torch.save(_without("losses")(load_plain(state)), state)
    assert TrainingRun.resume(state, recipe_of()).losses == []


def test_a_state_of_more_time_than_the_training_gets_is_refused(tmp_path: Path) -> None:
    run = TrainingRun.start(recipe_of(), "cpu")
    run.seconds = 1000.0
    run.save(tmp_path / "state.pt")
    with pytest.raises(InputError, match="was trained for 1,000 s, and its time is 500 s") as refused:
        open_run(recipe_of(), tmp_path, seconds=500.0)
    assert "to train from the start" in refused.value.fix
    assert open_run(recipe_of(), tmp_path, seconds=990.0).seconds == 1000.0

"""Carried state: gradients are those of the equation in float64, no stop changes them, and whole texts are scored."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from drnn_core import memory
from drnn_core.errors import InputError
from drnn_deploy.tasks.ptb_char import PtbChar
from drnn_deploy.training import loop
from drnn_deploy.training.carried_state import score_whole
from drnn_deploy.training.loop import finished_checkpoint
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.plain_files import load_plain
from drnn_models.spec import ModelSpec
from drnn_runtimes.reference.loop import State, run_reference
from tests.drnn_deploy.conftest import TEXTS, Command
from tests.drnn_deploy.training.carrying import BOTH, TINY, recipe_of
from tests.drnn_deploy.training.tiny import assert_same_end, finished

pytestmark = pytest.mark.usefixtures("corpus")


def weights_of(run: TrainingRun) -> dict[str, NDArray[np.float64]]:
    return {name: value.detach().double().numpy().copy() for name, value in run.model.named_parameters()}


def cross_entropy(outputs: NDArray[np.floating[Any]], targets: NDArray[np.int64]) -> float:
    log_probability = outputs - np.log(np.exp(outputs).sum(-1, keepdims=True))
    return -float(np.take_along_axis(log_probability, targets[..., None], -1).mean())


@pytest.mark.parametrize("kernel", ["torch", "auto"])
@pytest.mark.parametrize(
    "model",
    [
        ["cell=rnn"],
        ["cell=gru", "dilations=[2,4]"],
        ["cell=gru", "reset=before"],
        ["cell=lstm", "dilations=[3,9]"],
    ],
    ids=" ".join,
)
def test_each_step_has_the_gradients_of_its_piece_from_the_state_before_it(model: list[str], kernel: str) -> None:
    """Against the plain loop in float64; the 14 steps are two passes through the text, of 8 pieces each, and more."""
    recipe = recipe_of(*(f"model.{entry}" for entry in model), f"training.kernel={kernel}", "training.clip_norm=1e6")
    run, task, spec = TrainingRun.start(recipe), recipe.make_task(), recipe.spec
    assert isinstance(task, PtbChar) and isinstance(spec, ModelSpec)
    random, state, begun = np.random.default_rng(0), None, 0
    for index in range(14):
        weights = weights_of(run)
        batch, begins = task.piece(recipe.seed, index, recipe.training.batch)
        begun, before = begun + begins, None if begins else state

        def loss_of(weights: dict[str, Any], batch: Any = batch, before: State | None = before) -> tuple[float, State]:
            reference = run_reference(spec, weights, batch.inputs, before)
            return cross_entropy(reference.outputs, batch.targets), reference.state

        expected, state = loss_of(weights)
        loss = float(loop.take_step(run, task))
        run.iteration += 1
        assert loss == pytest.approx(expected, rel=1e-5)
        gradients = {name: value.grad for name, value in run.model.named_parameters()}
        for _ in range(3):
            direction = {name: random.standard_normal(value.shape) for name, value in weights.items()}
            ends = [
                loss_of({name: value + sign * 1e-5 * direction[name] for name, value in weights.items()})[0]
                for sign in (1, -1)
            ]
            along = sum(float((gradients[name].double().numpy() * direction[name]).sum()) for name in weights)  # type: ignore[union-attr]
            assert along == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-5)
        for name, value in state.items():
            np.testing.assert_allclose(run.carried[name].numpy(), value, atol=1e-5)
            assert not run.carried[name].requires_grad
    assert begun == 2


def assert_same_end_and_state(one: TrainingRun, other: TrainingRun) -> None:
    assert_same_end(one, other)
    assert one.carried.keys() == other.carried.keys() != set()
    for name, value in one.carried.items():
        assert torch.equal(value, other.carried[name]), name


@pytest.mark.parametrize(
    "changes",
    [pytest.param((), marks=pytest.mark.nightly), (BOTH, "model.dilations=[2,4]"), (BOTH, "training.precision=bf16")],
    ids=" ".join,
)
def test_an_interruption_changes_nothing(
    changes: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a pass, where one begins, and at the end."""
    recipe = recipe_of(*changes)
    whole = finished(TrainingRun.start(recipe), tmp_path / "whole.pt")
    step = loop.take_step
    for at in (5, 8, 29):

        def stopping(run: TrainingRun, task: Any, at: int = at) -> torch.Tensor:
            if run.iteration == at:
                raise KeyboardInterrupt
            return step(run, task)

        monkeypatch.setattr(loop, "take_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            finished(TrainingRun.start(recipe), tmp_path / "cut.pt")
        monkeypatch.setattr(loop, "take_step", step)
        assert_same_end_and_state(finished(TrainingRun.resume(tmp_path / "cut.pt", recipe), tmp_path / "cut.pt"), whole)


def test_a_carried_state_makes_the_difference(tmp_path: Path) -> None:
    """The first step is from zero either way."""
    carrying, not_carrying = (TrainingRun.start(recipe_of()) for _ in range(2))
    task = carrying.recipe.make_task()
    losses = []
    for _ in range(3):
        losses.append([float(loop.take_step(run, task)) for run in (carrying, not_carrying)])
        not_carrying.carried = {name: torch.zeros_like(value) for name, value in not_carrying.carried.items()}
        carrying.iteration = not_carrying.iteration = carrying.iteration + 1
    assert [one == other for one, other in losses] == [True, False, False]


# states that no training could go on from

DAMAGES: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "none": lambda carried: {},
    "a list": lambda carried: list(carried),
    "of fewer layers": lambda carried: dict(itertools.islice(carried.items(), 1)),
    "of fewer streams": lambda carried: {name: value[1:] for name, value in carried.items()},
    "of one number seen as many": lambda carried: {
        name: torch.zeros(1).expand(value.shape) for name, value in carried.items()
    },
    "not finite": lambda carried: {name: value * math.nan for name, value in carried.items()},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_carried_state_is_refused(damage: str, tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    run = TrainingRun.start(recipe_of())
    loop.take_step(run, run.recipe.make_task())
    run.iteration += 1
    run.save(state)
    data = load_plain(state)
    torch.save({**data, "carried": DAMAGES[damage](data["carried"])}, state)
    with pytest.raises(InputError, match=r"damaged training state: its carried state"):
        TrainingRun.resume(state)


def test_a_training_that_carries_nothing_takes_no_carried_state(tmp_path: Path) -> None:
    state = tmp_path / "state.pt"
    TrainingRun.start(recipe_of("training.carried_state=false")).save(state)
    torch.save({**load_plain(state), "carried": {"l0_h": torch.zeros(5, 1, 5)}}, state)
    with pytest.raises(InputError, match="its carried state"):
        TrainingRun.resume(state)


def test_a_carried_state_that_is_no_number_is_not_saved(tmp_path: Path) -> None:
    run = TrainingRun.start(recipe_of())
    loop.take_step(run, run.recipe.make_task())
    run.carried["l0_h"][0, 0, 0] = math.inf
    assert not run.finite


@pytest.mark.parametrize("option", ["training.carried_state=true", BOTH])
@pytest.mark.parametrize("network", [
    ["model.network=skip"], ["model={network='cnn', channels=[3, 3], dilations=[1, 2]}"],
])  # fmt: skip
def test_networks_without_layers_that_carry_are_refused(option: str, network: list[str]) -> None:
    with pytest.raises(InputError, match=rf"{option.partition('=')[0]} is for recurrent networks with dilations"):
        load_recipe("ptb-char", None, ["training.carried_state=false", *network, option])


def test_a_state_that_this_machine_has_no_memory_for_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
    long = "model.dilations=[1,10000000]"
    TrainingRun.start(recipe_of("training.carried_state=false", long))
    with pytest.raises(InputError, match="would take about"):
        TrainingRun.start(recipe_of(long))


# measuring


@pytest.mark.parametrize("most", [1, 13, 1000])
def test_a_whole_text_is_scored_as_the_equation_says(most: int) -> None:
    recipe = recipe_of("model.dilations=[2,4]")
    run, task, spec = TrainingRun.start(recipe), recipe.make_task(), recipe.spec
    assert isinstance(task, PtbChar) and isinstance(spec, ModelSpec) and isinstance(run.model, DilatedRNN)
    (text,) = task.whole("test", 10_000)
    assert text.inputs.shape[1] == len("\n".join(line.strip() for line in TEXTS["test"].split("\n"))) - 1
    expected = cross_entropy(run_reference(spec, weights_of(run), text.inputs).outputs, text.targets)
    scored = score_whole(run.model, task, "test", most)
    assert scored["cross_entropy"] == pytest.approx(expected, rel=1e-5)
    assert scored["bits_per_character"] == pytest.approx(expected / math.log(2), rel=1e-5)


def test_a_training_measures_both_ways_and_its_network_is_exported(command: Command, tmp_path: Path) -> None:
    words = [word for entry in (*TINY, BOTH) for word in ("--set", entry)]
    ran = command("drnn-deploy", "train", "ptb-char", *words, "--output", tmp_path / "out")
    assert (ran.code, "carried_bits_per_character" in ran.out) == (0, True)
    checkpoint = finished_checkpoint(TrainingRun.resume(tmp_path / "out" / "state.pt"))
    names = ("accuracy", "cross_entropy", "bits_per_character")
    assert set(checkpoint.metrics) == {*names, *(f"carried_{name}" for name in names)}
    assert checkpoint.metrics["cross_entropy"] != checkpoint.metrics["carried_cross_entropy"]
    exported = command(tmp_path / "out" / "model.pt", "--output", tmp_path / "bundle", "--engine", "none")
    assert exported.code == 0

"""Training: the same recipe gives the same numbers, learns, and ends where it should."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from drnn_core import memory
from drnn_core.errors import InputError
from drnn_deploy.training import loop
from drnn_deploy.training.loop import evaluate, finished_checkpoint, train
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.training_run import Progress, TrainingRun
from tests.drnn_deploy.training.tiny import RECIPES, assert_same_end, finished, lines, recipe_of


@RECIPES
def test_same_recipe_trains_the_same(recipe: Recipe, state: Path, whole_of: Callable[[Recipe], TrainingRun]) -> None:
    run = finished(TrainingRun.start(recipe), state)
    assert_same_end(run, whole_of(recipe))
    assert [line.iteration for line in run.log] == [20, 30, 40, 50]
    assert [line.iteration for line in run.log if line.validation] == [30]


@pytest.mark.parametrize("before", [False, True])
def test_numbers_too_small_to_matter_are_zero_in_steps_and_validations_alone(
    before: bool, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.set_flush_denormal(before):
        pytest.skip("this processor cannot take subnormal numbers for zero")

    def smallest() -> float:
        return float(torch.tensor(1e-38) * 1e-2)

    found: list[float] = []
    for name in ("take_step", "evaluate"):
        own = getattr(loop, name)
        monkeypatch.setattr(loop, name, lambda *words, own=own: (found.append(smallest()), own(*words))[1])
    try:
        run = TrainingRun.start(recipe_of("training.iterations=2", "training.evaluate_every=1"))
        for _ in loop.train(run, state):
            assert (smallest() == 0) == before
        assert found == [0.0] * 4
    finally:
        torch.set_flush_denormal(False)


def test_seed_makes_the_difference(tmp_path: Path) -> None:
    one, other = (finished(TrainingRun.start(recipe_of(f"seed={seed}")), tmp_path / "state.pt") for seed in (1, 2))
    assert lines(one) != lines(other)


def test_losses_are_the_means_of_all_iterations(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    step = loop.take_step

    def remember(*arguments: Any) -> torch.Tensor:
        loss = step(*arguments)
        seen.append(float(loss))
        return loss

    monkeypatch.setattr(loop, "take_step", remember)
    run = finished(TrainingRun.start(recipe_of()), state)
    starts = [0, *(line.iteration for line in run.log)]
    for line, start in zip(run.log, starts, strict=False):
        assert line.loss == pytest.approx(np.mean(seen[start : line.iteration]))


def test_training_learns(state: Path) -> None:
    run = finished(TrainingRun.start(recipe_of("training.iterations=200", "training.learning_rate=1e-2")), state)
    assert run.log[-1].loss < 0.9 * run.log[0].loss


def test_finished_training_has_nothing_left_to_do(state: Path, whole: TrainingRun) -> None:
    finished(TrainingRun.start(recipe_of()), state)
    resumed = TrainingRun.resume(state, recipe_of())
    assert list(train(resumed, state)) == []
    assert_same_end(resumed, whole)


def test_solved_training_stops_and_stays_solved(state: Path) -> None:
    recipe = recipe_of("training.stop_below=10.0")
    run = finished(TrainingRun.start(recipe), state)
    assert (run.iteration, run.solved) == (30, True)
    resumed = TrainingRun.resume(state, recipe)
    assert resumed.solved
    assert list(train(resumed, state)) == []


def test_time_ends_a_training_and_takes_its_schedule_to_the_end(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(now))
    run = TrainingRun.start(recipe_of("training.schedule=cosine", "training.learning_rate=1e-2"))
    run.seconds_allowed = 40.0
    rates: list[float] = []
    step = run.optimizer.step

    def seen(*arguments: Any) -> Any:
        rates.append(run.optimizer.param_groups[0]["lr"])
        return step(*arguments)

    run.optimizer.step = seen  # type: ignore[method-assign]
    finished(run, state)
    assert run.iteration == len(rates) < 30
    assert run.log[-1].iteration == run.iteration
    assert rates == sorted(rates, reverse=True) and rates[0] == 1e-2 and rates[-1] < 1e-3
    resumed = TrainingRun.resume(state)
    resumed.seconds_allowed = 40.0
    assert list(train(resumed, state)) == []


@pytest.mark.parametrize(
    "model",
    [
        ["cell=rnn"],
        ["cell=gru"],
        ["cell=gru", "reset=before"],
        ["cell=lstm"],
        ["network=skip", "cell=rnn"],
        *(pytest.param(["network=skip", f"cell={cell}"], marks=pytest.mark.nightly) for cell in ("gru", "lstm")),
    ],
    ids=" ".join,
)
def test_bf16_computes_in_bfloat16_and_keeps_float32_weights(model: list[str], tmp_path: Path) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        run = TrainingRun.start(recipe_of(*(f"model.{entry}" for entry in model), f"training.precision={precision}"))
        first = next(train(run, tmp_path / f"{precision}.pt"))
        losses[precision] = first.loss
        assert {value.dtype for value in run.model.state_dict().values()} == {torch.float32}
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=2e-2)


@pytest.mark.parametrize("allowed", [False, True])
def test_tf32_is_off_unless_the_recipe_asks_for_it(allowed: bool, state: Path) -> None:
    """Forward and backward passes, which cuDNN may round by torch's default; validation never."""
    seen: dict[str, set[tuple[str, str]]] = {"training": set(), "validation": set()}

    def look(*_: object) -> None:
        where = "training" if torch.is_grad_enabled() else "validation"
        switches = (torch.backends.cudnn.rnn, torch.backends.cuda.matmul)
        seen[where].add(tuple(switch.fp32_precision for switch in switches))  # type: ignore[arg-type]

    def backward(tensor: torch.Tensor, real: Any = torch.Tensor.backward) -> None:
        look()
        real(tensor)

    before = torch.backends.cudnn.rnn.fp32_precision
    run = TrainingRun.start(recipe_of(f"training.tf32={str(allowed).lower()}", "training.evaluate_every=20"))
    run.model.register_forward_hook(look)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", backward)
        next(train(run, state))
    during = "tf32" if allowed else "ieee"
    assert seen == {"training": {(during, during)}, "validation": {("ieee", "ieee")}}
    assert torch.backends.cudnn.rnn.fp32_precision == before


# evaluation


def test_evaluation_is_over_the_whole_split_in_batches_of_any_size() -> None:
    run = TrainingRun.start(recipe_of())
    task, done = run.recipe.make_task(), list[int]()
    metrics = evaluate(run.model, task, "test", tick=done.append)
    assert done == [500, 500, 24]
    assert evaluate(run.model, task, "test", size=1024) == pytest.approx(metrics, rel=1e-6)
    assert evaluate(run.model, task, "validation") != metrics


def test_checkpoint_of_a_finished_run_says_where_it_comes_from(whole: TrainingRun) -> None:
    checkpoint = finished_checkpoint(whole)
    assert checkpoint.provenance["iterations"] == 50
    assert checkpoint.provenance["device"] == "cpu"
    assert set(checkpoint.provenance["versions"]) == {"torch", "numpy", "python"}


def test_progress_counts_the_seconds_of_all_runs(state: Path) -> None:
    run = TrainingRun.start(recipe_of())
    run.seconds = 1000.0
    first: Progress = next(train(run, state))
    assert 1000.0 < first.seconds < 1060.0


# requests that no machine has the memory for


@pytest.mark.parametrize("change", ["training.batch=1000000000000", "model.hidden=[1000000]", "data.delay=1000000"])
def test_step_that_this_machine_has_no_memory_for_is_not_begun(
    change: str, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1 << 30)
    with pytest.raises(InputError, match=r"would take about .*B of memory.*has 1\.07 GB free") as refusal:
        TrainingRun.start(recipe_of(change))
    assert refusal.value.fix
    assert not state.exists()

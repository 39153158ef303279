"""A recorded step changes the weights as PyTorch's does, for other batches and learning rates too; else it is not used.

There is no CUDA graph without a GPU: a tape stands for one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from drnn_core.errors import InputError
from drnn_deploy.training import recorded_step
from drnn_deploy.training.kernel import choose_kernel
from drnn_deploy.training.loop import train
from drnn_deploy.training.recipe import Recipe, load_recipe
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.baseline_modules import make_network
from tests.cuda_graph_tape import Clock, TapeRecorder, record_on_the_cpu

SMALL = (
    "data.delay=3", "training.batch=5", "training.iterations=12", "training.evaluate_every=6", "model.hidden=[4,3]",
    "model.dilations=[1,2]", "training.kernel=torch", "training.schedule=cosine",
)  # fmt: skip


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> TapeRecorder:
    return record_on_the_cpu(monkeypatch)


def graphed(recipe: Recipe) -> TrainingRun:
    run = TrainingRun.start(recipe)
    run.kernel = "graph"
    return run


def losses(run: TrainingRun, folder: Path) -> list[float]:
    return [line.loss for line in train(run, folder / "state.pt")]


def weights(run: TrainingRun) -> torch.Tensor:
    return torch.cat([value.flatten() for value in run.model.state_dict().values()])


@pytest.mark.parametrize(
    ("cell", "optimizer"), [("rnn", "adam"), ("rnn", "rmsprop"), ("gru", "adam"), ("lstm", "adam")]
)
def test_a_training_of_recorded_steps_is_pytorchs_but_for_rounding(
    cell: str, optimizer: str, tmp_path: Path, recorder: TapeRecorder
) -> None:
    recipe = load_recipe("copy-memory", None, [*SMALL, f"model.cell={cell}", f"training.optimizer={optimizer}"])
    plain, run = TrainingRun.start(recipe), graphed(recipe)
    assert losses(run, tmp_path) == pytest.approx(losses(plain, tmp_path), rel=1e-5)
    assert (run.kernel, recorder.records, recorder.repeats) == ("graph", 1, recipe.training.iterations - 3)
    torch.testing.assert_close(weights(run), weights(plain), rtol=0, atol=1e-5)


@pytest.mark.parametrize("change", ["training.precision=bf16", "model.network=skip", "data.delay=4"])
def test_so_is_one_in_bfloat16_and_of_another_network(change: str, tmp_path: Path, recorder: TapeRecorder) -> None:
    recipe = load_recipe("copy-memory", None, [*SMALL, change])
    assert losses(graphed(recipe), tmp_path) == pytest.approx(losses(TrainingRun.start(recipe), tmp_path), rel=1e-4)
    assert recorder.records == 1


def test_it_goes_on_from_its_state_with_and_without_a_graph(tmp_path: Path, recorder: TapeRecorder) -> None:
    recipe = load_recipe("copy-memory", None, [*SMALL])
    whole = losses(TrainingRun.start(recipe), tmp_path)
    for kernel in ("graph", "torch"):
        steps = train(graphed(recipe), tmp_path / f"{kernel}.pt")
        begun = [next(steps).loss]
        steps.close()  # type: ignore[attr-defined]
        run = TrainingRun.resume(tmp_path / f"{kernel}.pt", recipe)
        run.kernel = kernel
        assert [*begun, *losses(run, tmp_path)] == pytest.approx(whole, rel=1e-5)
    assert recorder.records == 3


def test_a_step_that_reads_the_device_is_not_recorded(
    tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_look(outputs: torch.Tensor, targets: torch.Tensor, count: int | None = None) -> torch.Tensor:
        loss = entropy(outputs, targets, count)
        assert loss.item() > 0
        return loss

    recipe = load_recipe("copy-memory", None, SMALL)
    plain = losses(TrainingRun.start(recipe), tmp_path)
    entropy = recorded_step.update.__globals__["cross_entropy"]
    monkeypatch.setitem(recorded_step.update.__globals__, "cross_entropy", with_a_look)
    run = graphed(recipe)
    with pytest.warns(RuntimeWarning, match=r"goes on without a CUDA graph: a step cannot be recorded: aten"):
        assert losses(run, tmp_path) == pytest.approx(plain, rel=1e-5)
    assert (run.kernel, recorder.repeats) == ("torch", 0)


def test_a_recorded_step_that_does_something_else_is_not_used(
    tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the half of the learning rate, as of a constant that was recorded."""
    recipe = load_recipe("copy-memory", None, SMALL)
    plain = losses(TrainingRun.start(recipe), tmp_path)
    record = recorder.record

    def wrong(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        loss, repeat = record(work)
        rate = run.recorded._rate  # type: ignore[union-attr]
        return loss, lambda: (rate.mul_(0.5), repeat())[1]

    monkeypatch.setattr(recorder, "record", wrong)
    run = graphed(recipe)
    with pytest.warns(RuntimeWarning, match=r"deviates from PyTorch's by 5\.0e-01 of what it changes"):
        assert losses(run, tmp_path) == pytest.approx(plain, rel=1e-5)
    assert (run.kernel, recorder.repeats) == ("torch", 1)


def test_a_recorded_step_that_is_slower_is_not_used(
    tmp_path: Path, recorder: TapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_step.time, "perf_counter", Clock(pytorch=0.010, recorded=0.020))
    recipe = load_recipe("copy-memory", None, SMALL)
    run = graphed(recipe)
    with pytest.warns(RuntimeWarning, match=r"a recorded step takes 20 ms, PyTorch's 10 ms"):
        assert losses(run, tmp_path) == pytest.approx(losses(TrainingRun.start(recipe), tmp_path), rel=1e-5)
    assert (run.kernel, recorder.repeats) == ("torch", 1)


@pytest.mark.parametrize("change", ["training.dropout=0.1", "training.carried_state=true"])
def test_it_is_for_a_gpu_and_for_steps_that_are_all_alike(change: str) -> None:
    asked = load_recipe("ptb-char", None, ["training.kernel=graph"])
    model = make_network(asked.spec)
    with pytest.raises(InputError, match=r"training\.kernel=graph: it is for a GPU"):
        choose_kernel(asked, model, "cpu")
    assert choose_kernel(asked, model, "cuda") == "graph"
    assert choose_kernel(load_recipe("ptb-char", None, []), model, "cuda") == "graph"
    assert choose_kernel(load_recipe("ptb-char", None, [change]), model, "cuda") == "torch"
    with pytest.raises(InputError, match="carried state and dropout are others in each"):
        choose_kernel(load_recipe("ptb-char", None, [change, "training.kernel=graph"]), model, "cuda")

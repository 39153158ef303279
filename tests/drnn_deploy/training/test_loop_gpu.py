"""Training on a GPU: it learns what the CPU learns, stops and goes on, and its products are float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from drnn_deploy.training import loop
from drnn_deploy.training.loop import finished_checkpoint, train
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.training_run import TrainingRun
from tests.gpu import need

pytestmark = pytest.mark.gpu
SHORT = (
    *("data.delay=5", "model.hidden=[16]", "model.dilations=[2]", "training.iterations=60", "training.batch=16"),
    *("training.evaluate_every=30", "training.stop_below=0.0", "training.learning_rate=1e-2"),
)


@pytest.fixture(autouse=True)
def gpu() -> None:
    need("torch-cuda")


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_losses_are_those_of_the_cpu_and_fall(cell: str, tmp_path: Path) -> None:
    recipe = load_recipe("copy-memory", None, [*SHORT, f"model.cell={cell}"])
    losses = {}
    for device in ("cpu", "cuda"):
        run = TrainingRun.start(recipe, device)
        losses[device] = [line.loss for line in train(run, tmp_path / f"{device}.pt")]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2)
    assert losses["cuda"][-1] < losses["cuda"][0]


@pytest.mark.parametrize("change", ["model.cell=rnn", "model.cell=gru", "model.cell=lstm", "training.precision=bf16"])
def test_recorded_steps_are_pytorchs_but_for_rounding(change: str, tmp_path: Path) -> None:
    """A CUDA graph that cannot be recorded, or that deviates, is a warning, and so a failure here."""
    losses = {}
    for kernel in ("torch", "graph"):
        recipe = load_recipe("copy-memory", None, [*SHORT, change, f"training.kernel={kernel}"])
        run = TrainingRun.start(recipe, "cuda")
        losses[kernel] = [line.loss for line in train(run, tmp_path / f"{kernel}.pt")]
        assert run.kernel == kernel
    assert losses["graph"] == pytest.approx(losses["torch"], rel=1e-3)


def test_a_training_goes_on_from_its_state_also_on_the_cpu(tmp_path: Path) -> None:
    recipe, state = load_recipe("copy-memory", None, SHORT), tmp_path / "state.pt"
    steps = train(TrainingRun.start(recipe, "cuda"), state)
    next(steps)
    steps.close()
    for device in ("cuda", "cpu"):
        run = TrainingRun.resume(state, recipe, device)
        assert run.iteration == 20
        assert [line.iteration for line in train(run, tmp_path / f"{device}.pt")][-1] == 60
        assert finished_checkpoint(run).provenance["device"] == device


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_carried_state_is_the_cpus_and_dropout_goes_on_exactly(
    cell: str, precision: str, tmp_path: Path, corpus: Path
) -> None:
    text = ["data.length=7", "data.context=3", "training.batch=5", "training.iterations=20", f"model.cell={cell}"]
    text += ["model.hidden=[8,8]", "model.dilations=[2,3]", f"training.precision={precision}"]
    losses = {}
    for device in ("cpu", "cuda"):
        run = TrainingRun.start(load_recipe("ptb-char", None, [*text, "training.carried_state=true"]), device)
        losses[device] = [line.loss for line in train(run, tmp_path / f"{device}.pt")]
        assert {value.device.type for value in run.carried.values()} == {device}
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-2)

    both = load_recipe("ptb-char", None, [*text, "training.carried_state=true", "training.dropout=0.3"])
    whole = [line.loss for line in train(TrainingRun.start(both, "cuda"), tmp_path / "whole.pt")]
    run = TrainingRun.start(both, "cuda")
    task = both.make_task()
    for _ in range(9):
        run.losses.append(loop.take_step(run, task))
        run.iteration += 1
    run.save(tmp_path / "cut.pt")
    assert [line.loss for line in train(TrainingRun.resume(tmp_path / "cut.pt"), tmp_path / "cut.pt")] == whole


def test_gradients_are_in_float32_unless_tf32_is_asked_for(tmp_path: Path) -> None:
    """Of a layer wide enough for tensor cores, after one step; the distance to the CPU's tells which was used."""
    wide = [*SHORT, "model.hidden=[256]", "training.iterations=1", "model.cell=lstm"]
    weights = {}
    for name, device, more in (
        ("cpu", "cpu", []),
        ("float32", "cuda", []),
        ("tf32", "cuda", ["training.tf32=true"]),
    ):
        recipe = load_recipe("copy-memory", None, [*wide, *more])
        run = TrainingRun.start(recipe, device)
        list(train(run, tmp_path / f"{name}.pt"))
        gradient = run.model.layers[0].weight_hh_l0.grad  # type: ignore[union-attr,index]
        assert gradient is not None
        weights[name] = gradient.cpu()
    error = {name: float((weights[name] - weights["cpu"]).abs().max()) for name in ("float32", "tf32")}
    assert error["float32"] < 1e-4 * float(weights["cpu"].abs().max())
    if torch.cuda.get_device_capability() >= (8, 0):  # which has TF32
        assert error["tf32"] > 3 * error["float32"]

"""What computes a training's layers: the compiled kernel where it can, and the reason where it must and cannot."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from drnn_core.errors import InputError
from drnn_deploy.training.loop import finished_checkpoint, train
from drnn_deploy.training.recipe import Recipe, load_recipe
from drnn_deploy.training.results import result_of
from drnn_deploy.training.training_run import TrainingRun
from drnn_runtimes.native.compiler import load_recurrence
from tests.compilers import with_compiler
from tests.drnn_deploy.conftest import Command

SMALL = (
    "data.delay=3", "training.batch=5", "training.iterations=40", "training.evaluate_every=20", "model.hidden=[4,4]",
    "model.dilations=[1,2]",
)  # fmt: skip


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CC", "no-compiler-of-this-name")
    load_recurrence.cache_clear()
    yield
    load_recurrence.cache_clear()


def recipe(*changes: str) -> Recipe:
    return load_recipe("copy-memory", None, (*SMALL, *changes))


def trained(recipe: Recipe, folder: Path) -> TrainingRun:
    run = TrainingRun.start(recipe)
    for _ in train(run, folder / f"{recipe.training.kernel}.pt"):
        pass
    return run


@with_compiler
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_both_kernels_train_the_same_but_for_rounding(cell: str, tmp_path: Path) -> None:
    runs = (trained(recipe(f"model.cell={cell}", f"training.kernel={name}"), tmp_path) for name in ("native", "torch"))
    ours, theirs = (torch.cat([value.flatten() for value in run.model.state_dict().values()]) for run in runs)
    assert not torch.equal(ours, theirs), "one kernel computed both"
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@with_compiler
def test_the_result_says_what_computed_the_layers(tmp_path: Path) -> None:
    for kernel, used in (("auto", "native"), ("torch", "torch")):
        run = trained(recipe(f"training.kernel={kernel}"), tmp_path)
        assert result_of(run, finished_checkpoint(run)).kernel == used


@with_compiler
def test_a_training_begins_by_saying_what_computes_the_layers(command: Command, tmp_path: Path) -> None:
    for kernel, words in (("auto", "the compiled kernel"), ("torch", "PyTorch")):
        changes = [word for change in (*SMALL, f"training.kernel={kernel}") for word in ("--set", change)]
        ran = command("drnn-deploy", "train", "copy-memory", *changes, "--output", tmp_path / kernel)
        assert (ran.code, f"layers are computed by {words}\n" in ran.out) == (0, True)


@with_compiler
def test_a_training_goes_on_with_another_kernel_than_it_began_with(tmp_path: Path) -> None:
    """As one must that was begun on a machine where a kernel can compute it that cannot here."""
    state = tmp_path / "state.pt"
    steps = train(TrainingRun.start(recipe("training.kernel=native")), state)
    next(steps)
    steps.close()
    run = TrainingRun.resume(state, recipe("training.kernel=torch"))
    assert (run.kernel, run.iteration) == ("torch", 20)
    list(train(run, state))
    again = TrainingRun.resume(state)
    assert (again.iteration, again.recipe.training.kernel) == (40, "torch")
    with pytest.raises(InputError, match="other settings"):
        TrainingRun.resume(state, recipe("training.kernel=torch", "training.tf32=true"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("training.precision=bf16", "in float32 on a CPU"),
        ("model.network=skip", "dilated recurrent networks alone"),
        ("model.hidden=[4,129]", "at most 128 units"),
    ],
)
def test_what_it_cannot_compute_torch_does_and_asked_for_is_refused(change: str, reason: str) -> None:
    assert TrainingRun.start(recipe(change)).kernel == "torch"
    with pytest.raises(InputError, match=reason):
        TrainingRun.start(recipe(change, "training.kernel=native"))


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_torch_trains() -> None:
    assert TrainingRun.start(recipe()).kernel == "torch"
    with pytest.raises(InputError, match=r"training\.kernel=native: there is no C compiler") as refused:
        TrainingRun.start(recipe("training.kernel=native"))
    assert "Install a C compiler" in refused.value.fix


def test_without_room_to_compile_in_torch_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRNN_CACHE", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    load_recurrence.cache_clear()
    try:
        assert TrainingRun.start(recipe()).kernel == "torch"
    finally:
        load_recurrence.cache_clear()

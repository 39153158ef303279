"""Several processes train one network: what they add up is the gradient of the whole batch, and a stop ends all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy.tasks import IGNORED, Batch
from drnn_deploy.training.loop import train
from drnn_deploy.training.ranks import Ranks, ranks_of_torchrun
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.stops import Terminated
from drnn_deploy.training.training_run import TrainingRun, usable_device
from drnn_deploy.training.update import cross_entropy
from drnn_models.checkpoint import load_checkpoint
from tests.drnn_deploy.conftest import Command

SMALL = (
    "data.delay=3", "training.batch=5", "training.iterations=60", "training.evaluate_every=30",
    "model.hidden=[4,4]", "model.dilations=[1,2]",
)  # fmt: skip


@given(world=st.integers(1, 6), rows=st.integers(1, 8), steps=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_shares_losses_and_gradients_add_up_to_those_of_the_batch(
    world: int, rows: int, steps: int, seed: int
) -> None:
    """Also where targets that do not count, or rows, are spread unevenly, and where a share has none at all."""
    random = np.random.default_rng(seed)
    targets = np.where(random.random((rows, steps)) < 0.5, IGNORED, random.integers(0, 3, (rows, steps)))
    targets[random.integers(rows), 0] = 1
    batch = Batch(random.normal(size=(rows, steps, 2)), targets)
    weights = torch.tensor(random.normal(size=(2, 3)), requires_grad=True)

    def computed(part: Batch, count: int | None) -> tuple[torch.Tensor, torch.Tensor]:
        loss = cross_entropy(torch.from_numpy(part.inputs).double() @ weights, torch.from_numpy(part.targets), count)
        return loss.detach(), torch.autograd.grad(loss, weights)[0]

    whole = computed(batch, None)
    shares = [computed(*Ranks(rank, world).share(batch)) for rank in range(world)]
    for part, value in zip(zip(*shares, strict=True), whole, strict=True):
        torch.testing.assert_close(sum(part), value, rtol=1e-5, atol=1e-6)


def test_each_process_has_a_gpu_of_its_own_before_anything_is_put_there(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    for name, answer in {"is_available": lambda: True, "device_count": lambda: 2, "set_device": taken.append}.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    assert (usable_device("cpu"), taken) == ("cpu", [])
    assert (usable_device("cuda"), taken) == ("cuda", [1])
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match=r"process 3 of this machine finds 2 GPUs\nStart fewer: --nproc-per-node 2"):
        usable_device("cuda")


def test_a_stop_of_any_process_ends_the_step_before_the_weights_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TrainingRun.start(load_recipe("copy-memory", None, SMALL))
    run.ranks = Ranks(0, 2)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}

    def other_was_stopped(summed: torch.Tensor) -> None:
        summed[-1] += 1

    monkeypatch.setattr(torch.distributed, "all_reduce", other_was_stopped)
    with pytest.raises(Terminated):
        list(train(run, tmp_path / "state.pt"))
    resumed = TrainingRun.resume(tmp_path / "state.pt")
    assert (resumed.iteration, resumed.losses) == (0, [])
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, before[name])


def test_only_the_first_process_saves(tmp_path: Path) -> None:
    run = TrainingRun.start(load_recipe("copy-memory", None, SMALL))
    run.ranks = Ranks(1, 2)
    run.save(tmp_path / "state.pt")
    assert not (tmp_path / "state.pt").exists()


def test_more_processes_than_sequences_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "6")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with pytest.raises(InputError, match="6 processes cannot share batches of 5"), ranks_of_torchrun("cpu", 5):
        pass


@pytest.mark.parametrize("said", ["", "auto", "2"])
def test_what_other_launchers_say_is_not_read(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", said)
    with ranks_of_torchrun("cpu", 5) as ranks:
        assert ranks.world == 1


def test_an_experiment_is_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    for more in ((), ("--parallel", "2")):
        ran = command("drnn-deploy", "experiment", "copy-memory-500/plain-gru", "--output", tmp_path, *more)
        assert (ran.code, "torchrun started 2 processes" in ran.err, list(tmp_path.iterdir())) == (2, True, [])


def torchrun(output: Path, *more: object) -> subprocess.Popen[str]:
    words = [word for entry in SMALL for word in ("--set", entry)]
    run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "drnn_deploy", "train"]
    command = [sys.executable, *run, "copy-memory", *words, "--output", output, *more]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, env=environment)


@pytest.mark.nightly
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
def test_two_processes_train_what_one_does_also_after_a_stop(tmp_path: Path, record_property: Any) -> None:
    from drnn_deploy.training.outputs import STATE

    alone = TrainingRun.start(load_recipe("copy-memory", None, SMALL))
    for _ in train(alone, tmp_path / "alone.pt"):
        pass
    process = torchrun(tmp_path / "whole")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out.count("iteration 30:") == 1, "both processes wrote the log"
    two = TrainingRun.resume(tmp_path / "whole" / STATE)
    losses = np.array([[line.loss for line in run.log] for run in (alone, two)])
    assert losses.shape[1] > 1
    record_property("two processes on gloo: largest difference of a loss", f"{np.abs(losses[0] - losses[1]).max():.1e}")
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    saved = load_checkpoint(tmp_path / "whole" / "model.pt").weights
    for name, value in alone.model.state_dict().items():
        np.testing.assert_allclose(saved[name], value.numpy(), rtol=1e-3, atol=1e-5)

    long = ("--set", "training.iterations=100000")
    process = torchrun(tmp_path / "stopped", *long)
    end = time.monotonic() + 60
    while not (tmp_path / "stopped" / STATE).exists() and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert out.count("stopped at iteration") == 1
    kept = TrainingRun.resume(tmp_path / "stopped" / STATE).iteration
    assert f"stopped at iteration {kept}" in out

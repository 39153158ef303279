"""Carried state on several processes: a second process changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from drnn_deploy.training import loop
from drnn_deploy.training.ranks import Ranks
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.training_run import TrainingRun
from tests.drnn_deploy.training.carrying import BOTH, TINY, recipe_of
from tests.drnn_deploy.training.tiny import finished

pytestmark = pytest.mark.usefixtures("corpus")


def steps_of_two(recipe: Recipe, steps: int, monkeypatch: pytest.MonkeyPatch) -> list[TrainingRun]:
    """Two processes of one training, as threads whose `all_reduce` is a sum in memory."""
    runs, meeting, sums = [TrainingRun.start(recipe) for _ in range(2)], threading.Barrier(2), dict[int, torch.Tensor]()

    def all_reduce(value: torch.Tensor) -> None:
        sums[threading.get_ident()] = value.clone()
        meeting.wait(60)
        value.copy_(torch.stack(list(sums.values())).sum(0))
        meeting.wait(60)

    def train_one(rank: int) -> None:
        run = runs[rank]
        run.ranks = Ranks(rank, 2)
        for _ in range(steps):
            run.losses.append(loop.take_step(run, recipe.make_task()))
            run.iteration += 1

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    threads = [threading.Thread(target=train_one, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return runs


@pytest.mark.parametrize("changes", [("training.carried_state=true",), ("training.carried_state=false", BOTH), (BOTH,)])
def test_two_processes_train_what_one_does(changes: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """With streams that cannot be halved, each of which keeps its own state and its own masks."""
    recipe = recipe_of(*changes, "model.cell=lstm", "model.dilations=[2,4]")
    alone = TrainingRun.start(recipe)
    for _ in range(12):
        alone.losses.append(loop.take_step(alone, recipe.make_task()))
        alone.iteration += 1
    for run in steps_of_two(recipe, 12, monkeypatch):
        torch.testing.assert_close(torch.stack(run.losses), torch.stack(alone.losses), rtol=1e-5, atol=0)
        for name, value in alone.model.state_dict().items():
            torch.testing.assert_close(run.model.state_dict()[name], value, rtol=1e-3, atol=1e-4)
        assert run.carried.keys() == alone.carried.keys()
        for name, value in alone.carried.items():
            torch.testing.assert_close(run.carried[name], value, rtol=1e-3, atol=1e-4)


PROGRAM = """
import pathlib, sys
from drnn_deploy import datasets
from drnn_deploy.cli import main
datasets.folder = lambda name: pathlib.Path({folder!r}) / name
main()
"""


@pytest.mark.nightly
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
def test_torchrun_trains_what_one_process_does(tmp_path: Path, corpus: Path, record_property: Any) -> None:
    alone = finished(TrainingRun.start(recipe_of(BOTH)), tmp_path / "alone.pt")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(folder=str(corpus.parent)), encoding="utf-8")
    words = [word for entry in (*TINY, BOTH) for word in ("--set", entry)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", program]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "train", "ptb-char", *words, "--output", tmp_path / "two"], env=environment, check=True)
    two = TrainingRun.resume(tmp_path / "two" / "state.pt")
    losses = np.array([[line.loss for line in run.log] for run in (alone, two)])
    record_property("carried state and dropout on two processes", f"{np.abs(losses[0] - losses[1]).max():.1e}")
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    for name, value in alone.carried.items():
        torch.testing.assert_close(two.carried[name], value, rtol=1e-3, atol=1e-4)

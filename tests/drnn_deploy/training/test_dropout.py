"""Dropout: which masks it draws, that two processes draw those of one, and that nothing but training has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drnn_deploy.training import loop
from drnn_deploy.training.dropout import Dropout
from drnn_deploy.training.loop import evaluate, finished_checkpoint, train
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.training_run import TrainingRun
from drnn_export import GraphRequest, emit

TINY = ("data.delay=3", "model.hidden=[6,6]", "model.dilations=[1,2]", "training.batch=5", "training.iterations=20")
CPU = torch.device("cpu")
ALL = slice(None)


def dropout(share: float = 0.4, seed: int = 1, iteration: int = 0, batch: int = 3, rows: slice = ALL) -> Dropout:
    return Dropout(share, seed, iteration, batch, rows, CPU)


@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 2**32 - 1), iteration=st.integers(0, 10**6))
def test_a_share_is_dropped_and_the_mean_stays(share: float, seed: int, iteration: int) -> None:
    dropped = dropout(share, seed, iteration, batch=40)(torch.ones(50, 40, 20))
    kept = dropped != 0
    spread = (share * (1 - share) / kept.numel()) ** 0.5
    assert abs(float(kept.double().mean()) - (1 - share)) < 6 * spread
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / (1 - share)))


def test_masks_depend_on_seed_iteration_and_layer_alone() -> None:
    ones = torch.ones(9, 3, 8)

    def masks(seed: int, iteration: int) -> list[torch.Tensor]:
        torch.rand(1)  # what else is drawn does not matter
        drop = dropout(seed=seed, iteration=iteration)
        return [drop(ones) for _ in range(2)]

    drawn = [*masks(1, 0), *masks(1, 1), *masks(2, 0)]
    assert all(torch.equal(one, other) for one, other in zip(masks(1, 1), drawn[2:4], strict=True))
    assert len({mask.numpy().tobytes() for mask in drawn}) == 6


@given(world=st.integers(1, 5), batch=st.integers(5, 9), steps=st.integers(1, 6))
def test_the_processes_drop_together_what_one_would(world: int, batch: int, steps: int) -> None:
    x = torch.arange(1.0, 1 + steps * batch * 4).reshape(steps, batch, 4)
    whole, shares = dropout(batch=batch), [slice(rank, None, world) for rank in range(world)]
    parts = [dropout(batch=batch, rows=rows) for rows in shares]
    for _ in range(2):
        joined, expected = torch.empty_like(x), whole(x)
        for rows, part in zip(shares, parts, strict=True):
            joined[:, rows] = part(x[:, rows])
        assert torch.equal(joined, expected)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_only_training_drops(cell: str, tmp_path: Path) -> None:
    """Losses differ; metrics, spec and graph of a checkpoint are those that the weights have without dropout."""
    plain, dropping = (
        load_recipe("copy-memory", None, [*TINY, f"model.cell={cell}", f"training.dropout={share}"])
        for share in (0.0, 0.5)
    )
    run, other = TrainingRun.start(dropping), TrainingRun.start(plain)
    losses = [float(loop.take_step(training, plain.make_task())) for training in (run, other)]
    assert losses[0] != losses[1]
    for _ in train(run, tmp_path / "state.pt"):
        pass
    other.model.load_state_dict(run.model.state_dict())
    task = plain.make_task()
    assert evaluate(run.model, task, "validation") == evaluate(other.model, task, "validation")
    with_dropout, without = finished_checkpoint(run), finished_checkpoint(other)
    assert with_dropout.spec == without.spec
    assert with_dropout.metrics == without.metrics
    graphs = [
        emit(checkpoint.dilated, checkpoint.weights, GraphRequest(task.length))
        for checkpoint in (with_dropout, without)
    ]
    assert graphs[0].SerializeToString() == graphs[1].SerializeToString()

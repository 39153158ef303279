"""The first sequences of a split, and no more work for them than they take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_deploy.tasks import IGNORED, Batch, make_task
from drnn_deploy.tasks.scoring import limited, score_split


def test_no_more_sequences_are_drawn_than_count_and_those_are_the_first() -> None:
    task, seen = make_task("copy-memory", {"delay": 5}), []

    def predict(inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        seen.append(inputs)
        return np.zeros((len(inputs), 10, 8), np.float32)

    _, predictions = score_split(predict, task, "test", limit=3)
    np.testing.assert_array_equal(np.concatenate(seen), next(task.batches("test", 500)).inputs[:3])
    assert predictions.shape == (30,)


def test_outputs_that_do_not_count_are_no_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task("copy-memory", {"delay": 5})
    targets = np.array([[1, IGNORED, 0]])
    monkeypatch.setattr(type(task), "batches", lambda *_: iter([Batch(np.zeros((1, 3), np.int64), targets)]))
    outputs = np.eye(8, dtype=np.float32)[None, [1, 5, 2]]
    metrics, predictions = score_split(lambda _: outputs, task, "test")
    assert (metrics["accuracy"], predictions.tolist()) == (0.5, [1, 2])


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.none() | st.integers(1, 40))
def test_limit_takes_the_first_sequences_and_draws_no_more_batches(sizes: list[int], limit: int | None) -> None:
    ends, drawn = np.cumsum(sizes).tolist(), []

    def batches() -> Iterator[Batch]:
        for end, size in zip(ends, sizes, strict=True):
            drawn.append(end)
            numbers = np.arange(end - size, end)
            yield Batch(numbers, numbers, numbers)

    taken = list(limited(batches(), limit))
    wanted = ends[-1] if limit is None else min(limit, ends[-1])
    for name in ("inputs", "targets", "groups"):
        assert np.concatenate([getattr(batch, name) for batch in taken]).tolist() == list(range(wanted))
    assert drawn == [end for end, size in zip(ends, sizes, strict=True) if end - size < wanted]

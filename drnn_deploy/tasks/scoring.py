"""The one loop over a split of a task: whatever computes the outputs, the metrics and predictions are made here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.tasks.task import IGNORED, Batch, Score, Task

Predict = Callable[[NDArray[np.generic]], NDArray[np.generic]]  # inputs (B, T, ...) -> outputs (B, ..., classes)
SEQUENCES_AT_ONCE = 500


def score_split(
    predict: Predict,
    task: Task,
    split: str,
    *,
    limit: int | None = None,
    size: int = SEQUENCES_AT_ONCE,
    tick: Callable[[int], None] = lambda _: None,
) -> tuple[dict[str, float], NDArray[np.int64]]:
    """Run a split of a task through a network and score its outputs.

    Args:
        predict: Computes the outputs of a batch.
        task: Draws the sequences and names the metrics.
        split: "validation" or "test".
        limit: The first so many sequences; None takes all.
        size: Sequences in a batch.
        tick: Gets the number of sequences of each batch that is done.

    Returns:
        The task's metrics, and the predicted class of every output that counts, (outputs,) int64.
    """
    score, predictions, size = Score(), [], min(size, limit or size)
    for batch in limited(task.batches(split, size), limit):
        outputs = predict(batch.inputs)
        score.add(outputs, batch)
        predictions.append(outputs.argmax(axis=-1).reshape(-1)[batch.targets.reshape(-1) != IGNORED])
        tick(len(batch.inputs))
    return task.metrics(score), np.concatenate(predictions)


def limited(batches: Iterator[Batch], limit: int | None) -> Iterator[Batch]:
    """Take the first so many sequences. Draws no more batches than that takes.

    Args:
        batches: Batches of any size.
        limit: How many sequences, at least 1; None takes all.

    Yields:
        The batches, the last one cut to what is left.
    """
    left = limit
    for batch in batches:
        if left is None:
            yield batch
            continue
        groups = None if batch.groups is None else batch.groups[:left]
        yield Batch(batch.inputs[:left], batch.targets[:left], groups)
        left -= len(batch.inputs)
        if left <= 0:
            return

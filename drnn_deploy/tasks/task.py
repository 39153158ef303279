"""What a task is to the rest: data as NumPy arrays, a metric, and the edges of a network that fits it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from drnn_models.description import Examples
from drnn_models.spec import Continuous, Head, Tokens


@dataclasses.dataclass(frozen=True)
class Batch:
    """inputs: (B, T, C) float32 or (B, T) int64 tokens. targets: class numbers, int64, (B,) or (B, k)."""

    inputs: NDArray[np.generic]
    targets: NDArray[np.int64]


class Task(Protocol):
    """A classification task over sequences; every task of the paper is one.

    Batches are a pure function of (seed, index), so that an interrupted training goes on with the same data.
    """

    name: ClassVar[str]

    @property
    def length(self) -> int:
        """Time steps of one sequence."""

    @property
    def input(self) -> Continuous | Tokens:
        """The input that a network for this task takes."""

    @property
    def head(self) -> Head:
        """The head that a network for this task has."""

    @property
    def classes(self) -> int:
        """Number of classes that can be the answer; log(classes) is the cross-entropy of guessing."""

    def train_batch(self, seed: int, index: int, size: int) -> Batch:
        """Training batch number `index` of a run with `seed`."""

    def batches(self, split: str, size: int) -> Iterator[Batch]:
        """All of a split, "validation" or "test", in a fixed order."""

    def examples(self) -> Examples:
        """Twenty test sequences that travel with a trained checkpoint."""


@dataclasses.dataclass
class Score:
    """Cross-entropy (nats) and accuracy (0 to 1), accumulated over batches in float64."""

    loss_sum: float = 0.0
    correct: int = 0
    count: int = 0

    def add(self, outputs: NDArray[np.generic], targets: NDArray[np.int64]) -> None:
        """outputs: (..., classes) logits. targets: (...) class numbers."""
        logits = outputs.astype(np.float64).reshape(-1, outputs.shape[-1])
        wanted = targets.reshape(-1)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probability = shifted[np.arange(len(wanted)), wanted] - np.log(np.exp(shifted).sum(axis=1))
        self.loss_sum -= float(log_probability.sum())
        self.correct += int(np.count_nonzero(logits.argmax(axis=1) == wanted))
        self.count += len(wanted)

    def metrics(self) -> dict[str, float]:
        """{"accuracy", "cross_entropy"}."""
        return {"accuracy": self.correct / self.count, "cross_entropy": self.loss_sum / self.count}

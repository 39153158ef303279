"""What a task is to the rest: data as NumPy arrays, a metric, and the edges of a network that fits it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import Examples
from drnn_models.spec import Continuous, Head, Tokens

IGNORED = -1  # the target of a step whose output does not count


@dataclasses.dataclass(frozen=True)
class Batch:
    """Sequences with their answers.

    Attributes:
        inputs: (B, T, C) float32 or (B, T) int64 tokens.
        targets: Class numbers or `IGNORED`, (B,) or (B, k) int64.
        groups: (B,) int64. Sequences with the same number belong to one recording and are also judged together.
    """

    inputs: NDArray[np.generic]
    targets: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None


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
        """Draw one training batch.

        Args:
            seed: The seed of the training, from 0.
            index: The batch's number in the training, from 0.
            size: Sequences in it.

        Returns:
            `size` sequences with their targets; the same three numbers give the same batch.

        Raises:
            InputError: The task's data is missing, or has fewer sequences than `size`.
        """

    def batches(self, split: str, size: int) -> Iterator[Batch]:
        """Go through all of a split in a fixed order.

        Args:
            split: "validation" or "test".
            size: Sequences in a batch; the last one may have fewer.

        Yields:
            Batches, the same each time.

        Raises:
            InputError: The task's data is missing.
        """

    def examples(self) -> Examples | None:
        """Twenty test sequences that travel with a trained checkpoint; None where they must not."""

    def metrics(self, score: Score) -> dict[str, float]:
        """The score's numbers, with those that are usual for this task."""


@runtime_checkable
class TextTask(Task, Protocol):
    """A task of one long text, which a network can also read in order, its state carried from piece to piece.

    Pieces are a pure function of (seed, index, size), like batches.
    """

    def piece(self, seed: int, index: int, size: int) -> tuple[Batch, bool]:
        """Cut the training text into `size` streams of equal length, and take the next `length` steps of each.

        Args:
            seed: The seed of the training, from 0.
            index: The piece's number in the training, from 0.
            size: The streams.

        Returns:
            The piece, and whether it begins a pass through the text: then its streams begin with the zero state, and
            otherwise with the state after the piece of `index` - 1.

        Raises:
            InputError: The task's data is missing, or too short for so many streams.
        """

    def whole(self, split: str, most: int) -> Iterator[Batch]:
        """Read a split's text in order, as one sequence in pieces.

        Args:
            split: "validation" or "test".
            most: The most steps of a piece.

        Yields:
            Batches of one sequence, each of which goes on where the one before ended. Every step's target counts.

        Raises:
            InputError: The task's data is missing.
        """


def metric_names(task: Task) -> frozenset[str]:
    """The names of what a network is measured by.

    Args:
        task: What it is for.
    """
    return frozenset(task.metrics(Score(count=1, groups={0: np.zeros(1)}, group_targets={0: 0})))


def fits(task: Task, source: Continuous | Tokens, head: Head) -> bool:
    """Whether a network with this input and head takes the task's sequences and answers them; embeddings are free.

    Args:
        task: Whose input and head count.
        source: The network's input.
        head: The network's head.
    """
    needed = task.input
    if isinstance(source, Tokens) and isinstance(needed, Tokens):
        return source.vocabulary == needed.vocabulary and head == task.head
    return source == needed and head == task.head


@dataclasses.dataclass
class Score:
    """Cross-entropy (nats) and accuracy (0 to 1), accumulated over batches in float64.

    Sequences in groups also get an accuracy per group: its answer is the class of the largest mean log-probability.
    """

    loss_sum: float = 0.0
    correct: int = 0
    count: int = 0
    groups: dict[int, NDArray[np.float64]] = dataclasses.field(default_factory=dict)  # number -> sum of log-prob.
    group_targets: dict[int, int] = dataclasses.field(default_factory=dict)

    def add(self, outputs: NDArray[np.generic], batch: Batch) -> None:
        """Add the outputs of a batch.

        Args:
            outputs: Logits, (..., classes).
            batch: The batch, with targets (...).
        """
        counts = batch.targets.reshape(-1) != IGNORED
        logits = outputs.astype(np.float64).reshape(-1, outputs.shape[-1])[counts]
        wanted = batch.targets.reshape(-1)[counts]
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        self.loss_sum -= float(log_probability[np.arange(len(wanted)), wanted].sum())
        self.correct += int(np.count_nonzero(logits.argmax(axis=1) == wanted))
        self.count += len(wanted)
        if batch.groups is not None:
            for group, target, row in zip(batch.groups.tolist(), wanted.tolist(), log_probability, strict=True):
                self.groups[group] = self.groups.get(group, 0.0) + row
                self.group_targets[group] = target

    def metrics(self) -> dict[str, float]:
        """{"accuracy", "cross_entropy"}, and "group_accuracy" where there are groups."""
        metrics = {"accuracy": self.correct / self.count, "cross_entropy": self.loss_sum / self.count}
        if self.groups:
            right = sum(int(total.argmax()) == self.group_targets[group] for group, total in self.groups.items())
            metrics["group_accuracy"] = right / len(self.groups)
        return metrics

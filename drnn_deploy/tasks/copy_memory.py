"""Copy memory (paper, section 4.2): recall ten digits after `delay` blank steps.

A sequence of delay + 20 symbols: ten digits 0..7, then delay - 1 blanks (8), then eleven markers (9); over the last
ten steps the network must say the ten digits. Guessing gives a cross-entropy of ln 8 = 2.079.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Examples
from drnn_deploy.tasks.task import Batch, Score
from drnn_models.spec import Continuous, Head, Tokens

_DIGITS, _RECALLED, _BLANK, _MARKER = 8, 10, 8, 9
_SPLIT_SEEDS = {"validation": 1 << 40, "test": 1 << 41}  # apart from any training seed
_SPLIT_SEQUENCES = 1024
_DRAWN_AT_ONCE = 500  # so that a split is the same whatever the size of its batches


@dataclasses.dataclass(frozen=True)
class CopyMemory:
    """Ten symbols to keep in memory.

    Attributes:
        delay: The paper's T, 500 or 1000.
    """

    delay: int = 500
    name: ClassVar[str] = "copy-memory"

    def __post_init__(self) -> None:
        if type(self.delay) is not int or not 1 <= self.delay <= 1_000_000:
            raise InputError(f"data.delay must be a whole number from 1 to 1000000, got {self.delay!r}")

    @property
    def length(self) -> int:
        """Time steps of one sequence."""
        return self.delay + 2 * _RECALLED

    @property
    def input(self) -> Tokens | Continuous:
        """Ten one-hot symbols."""
        return Tokens(vocabulary=10)

    @property
    def head(self) -> Head:
        """The eight digits, over the last ten steps."""
        return Head("last_k", outputs=_DIGITS, steps=_RECALLED)

    @property
    def classes(self) -> int:
        """The digits 0..7."""
        return _DIGITS

    def train_batch(self, seed: int, index: int, size: int) -> Batch:
        """Fresh random digits."""
        return self._lay_out(_draw(seed or 1 << 32, index, size))  # seed 0's batch 256 would be a split's

    def batches(self, split: str, size: int) -> Iterator[Batch]:
        """1,024 sequences, apart from every training batch."""
        starts = range(0, _SPLIT_SEQUENCES, _DRAWN_AT_ONCE)
        parts = [_draw(_SPLIT_SEEDS[split], start, min(_DRAWN_AT_ONCE, _SPLIT_SEQUENCES - start)) for start in starts]
        digits = np.concatenate(parts)
        for start in range(0, _SPLIT_SEQUENCES, size):
            yield self._lay_out(digits[start : start + size])

    def examples(self) -> Examples:
        """Twenty sequences of the test split."""
        batch = next(self.batches("test", 20))
        return Examples(batch.inputs, batch.targets, f"generated: copy memory, delay {self.delay}, test split")

    def metrics(self, score: Score) -> dict[str, float]:
        """Accuracy and cross-entropy per digit."""
        return score.metrics()

    def _lay_out(self, digits: NDArray[np.int64]) -> Batch:
        inputs = np.full((len(digits), self.length), _BLANK, dtype=np.int64)
        inputs[:, :_RECALLED] = digits
        inputs[:, -(_RECALLED + 1) :] = _MARKER
        return Batch(inputs, digits)


def _draw(seed: int, index: int, size: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, index)).integers(0, _DIGITS, (size, _RECALLED), dtype=np.int64)

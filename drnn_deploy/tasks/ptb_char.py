"""Penn Treebank, one character a step (paper, section 4.4): predict the next character.

The corpus is Mikolov's preparation; each line's spaces at its edges are dropped. 50 symbols, the line end among them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Examples
from drnn_deploy import datasets
from drnn_deploy.tasks.task import IGNORED, Batch, Score
from drnn_models.spec import Continuous, Head, Tokens

_SYMBOLS = tuple("\n #$&'*-./0123456789<>N\\abcdefghijklmnopqrstuvwxyz")
_FILES = {"train": "ptb.train.txt", "validation": "ptb.valid.txt", "test": "ptb.test.txt"}
_LONGEST = 100_000


@dataclasses.dataclass(frozen=True)
class PtbChar:
    """Characters of the Penn Treebank: which one is next.

    Attributes:
        length: The characters that a sequence reads, from a zero state.
        context: In validation and test, how many characters are read at least before one is scored (except for the
            first ones of the text): sequences overlap by as many, and each character is scored exactly once. Training
            scores every step.
    """

    length: int = 100
    context: int = 50
    name: ClassVar[str] = "ptb-char"

    def __post_init__(self) -> None:
        for name, least, most in (("length", 1, _LONGEST), ("context", 0, _LONGEST)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise InputError(f"data.{name} must be a whole number from {least} to {most}, got {value!r}")
        if self.context >= self.length:
            raise InputError(f"data.context must be less than data.length, got {self.context} and {self.length}")

    @property
    def input(self) -> Continuous | Tokens:
        """50 one-hot symbols."""
        return Tokens(vocabulary=len(_SYMBOLS))

    @property
    def head(self) -> Head:
        """The next symbol, after every step."""
        return Head("sequence", outputs=len(_SYMBOLS))

    @property
    def classes(self) -> int:
        """The symbols."""
        return len(_SYMBOLS)

    def train_batch(self, seed: int, index: int, size: int) -> Batch:
        """Windows at random places of the training text."""
        text = self._text("train")
        starts = np.random.default_rng((seed, index)).integers(0, len(text) - self.length, size)
        windows = text[starts[:, None] + np.arange(self.length + 1)]
        return Batch(windows[:, :-1], windows[:, 1:])

    def piece(self, seed: int, index: int, size: int) -> tuple[Batch, bool]:
        """The next characters of each stream. Where the streams of a pass begin is drawn anew for each pass."""
        text = self._text("train")
        pieces = (len(text) - self.length) // (size * self.length)  # of a pass; leaves `length` places to begin at
        if not pieces:
            raise InputError(
                f"the training text has {len(text):,} characters, too few for {size:,} streams of {self.length:,}",
                "Use fewer streams (training.batch), or shorter pieces (data.length).",
            )
        passes, number = divmod(index, pieces)
        begin = np.random.default_rng((seed, passes)).integers(0, len(text) - size * pieces * self.length)
        starts = begin + (np.arange(size) * pieces + number) * self.length
        windows = text[starts[:, None] + np.arange(self.length + 1)]
        return Batch(windows[:, :-1], windows[:, 1:]), number == 0

    def whole(self, split: str, most: int) -> Iterator[Batch]:
        """All characters but the first are predicted, each once."""
        text = self._text(split)
        for at in range(0, len(text) - 1, most):
            inputs = text[at : min(at + most, len(text) - 1)]
            yield Batch(inputs[None], text[None, at + 1 : at + 1 + len(inputs)])

    def batches(self, split: str, size: int) -> Iterator[Batch]:
        """The whole text in overlapping windows; what was scored or lacks context is `IGNORED`."""
        text = self._text(split)
        starts = np.arange(0, len(text) - 1 - self.context, self.length - self.context)
        starts = np.minimum(starts, len(text) - 1 - self.length)  # the last window ends with the text
        firsts = np.concatenate([[0], starts[:-1] + self.length])  # index in the text of the first character to predict
        for at in range(0, len(starts), size):
            windows = text[starts[at : at + size, None] + np.arange(self.length + 1)]
            scored = starts[at : at + size, None] + np.arange(self.length) >= firsts[at : at + size, None]
            yield Batch(windows[:, :-1], np.where(scored, windows[:, 1:], IGNORED))

    def examples(self) -> Examples | None:
        """None: the corpus may not be passed on."""
        return None

    def metrics(self, score: Score) -> dict[str, float]:
        """Accuracy and cross-entropy per character, and that in bits."""
        metrics = score.metrics()
        return {**metrics, "bits_per_character": metrics["cross_entropy"] / math.log(2)}

    def _text(self, split: str) -> NDArray[np.int64]:
        text = _load(datasets.folder(self.name), split)
        if len(text) <= self.length:
            raise InputError(f"data.length is {self.length}, and the {split} text has {len(text)} characters")
        return text


@functools.lru_cache(maxsize=3)
def _load(folder: Path, split: str) -> NDArray[np.int64]:
    """The text as numbers of `_SYMBOLS`."""
    path = folder / _FILES[split]
    try:
        text = "\n".join(line.strip(" ") for line in path.read_text(encoding="ascii").split("\n"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not the text it should be: {error}", _FETCH) from error
    if unknown := sorted(set(text) - set(_SYMBOLS)):
        raise InputError(f"{path} holds {unknown[0]!r}, which is none of the {len(_SYMBOLS)} symbols", _FETCH)
    numbers = np.zeros(128, np.int64)
    numbers[[ord(symbol) for symbol in _SYMBOLS]] = np.arange(len(_SYMBOLS))
    return numbers[np.frombuffer(text.encode("ascii"), np.uint8)]


_FETCH = "Type: drnn-deploy data fetch ptb-char"

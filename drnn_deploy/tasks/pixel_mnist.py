"""Pixel MNIST (paper, section 4.3): a handwritten digit read one pixel a step, classified at the end.

784 steps, in reading order or permuted; or longer, with noise after the last pixel.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Examples
from drnn_deploy import datasets
from drnn_deploy.tasks.task import Batch, Score
from drnn_models.spec import Continuous, Head, Tokens

_SIDE, _PIXELS, _VALIDATION = 28, 784, 5_000
_AUTHORS_PERMUTATION_SEED = 92916  # of the authors' demo; first values 319, 576, 323, 107
# Apart from training, but for one: the noise of test image 0 is also that of the first image of batch 512 of seed 0.
_NOISE_SEEDS = {"validation": 1 << 40, "test": 1 << 41}
_LONGEST = 1_000_000


@dataclasses.dataclass(frozen=True)
class PixelMnist:
    """Digits, one pixel a step.

    Attributes:
        permuted: Whether all images are in one fixed random pixel order, the authors'.
        padded_to: The steps of a sequence. Those after the 784 pixels are noise, uniform in 0 to 1; the paper's noisy
            MNIST has 1,000 and 2,000. The noise is new in every training batch, and fixed for each image of a split.
    """

    permuted: bool = False
    padded_to: int = _PIXELS
    name: ClassVar[str] = "pixel-mnist"

    def __post_init__(self) -> None:
        if not isinstance(self.permuted, bool):
            raise InputError(f"data.permuted must be true or false, got {self.permuted!r}")
        if type(self.padded_to) is not int or not _PIXELS <= self.padded_to <= _LONGEST:
            raise InputError(
                f"data.padded_to must be a whole number from {_PIXELS} to {_LONGEST}, got {self.padded_to!r}"
            )

    @property
    def length(self) -> int:
        """28 x 28 pixels, and the noise."""
        return self.padded_to

    @property
    def input(self) -> Continuous | Tokens:
        """One brightness, 0 to 1, per step."""
        return Continuous(1)

    @property
    def head(self) -> Head:
        """Ten digits, after the last pixel."""
        return Head("last", outputs=10)

    @property
    def classes(self) -> int:
        """The digits 0..9."""
        return 10

    def train_batch(self, seed: int, index: int, size: int) -> Batch:
        """The first 55,000 training images, in a new order each epoch."""
        images, labels = _load(datasets.folder("pixel-mnist"), "train")
        count = len(images) - _VALIDATION
        if size > count:
            raise InputError(f"training.batch must be at most {count}, the number of training images, got {size}")
        per_epoch = count // size
        epoch, position = divmod(index, per_epoch)
        rows = _epoch_order(seed, epoch, count)[position * size : (position + 1) * size]
        noise = np.random.default_rng((seed, index)).random((size, self.padded_to - _PIXELS), np.float32)
        return self._batch(images[rows], labels[rows], noise)

    def batches(self, split: str, size: int) -> Iterator[Batch]:
        """The last 5,000 training images (validation), or the 10,000 test images."""
        images, labels = _load(datasets.folder("pixel-mnist"), "test" if split == "test" else "train")
        first = len(images) - _VALIDATION if split == "validation" else 0
        for start in range(first, len(images), size):
            rows = range(start, min(start + size, len(images)))
            noise = [_noise(_NOISE_SEEDS[split], row, self.padded_to - _PIXELS) for row in rows]
            yield self._batch(images[rows.start : rows.stop], labels[rows.start : rows.stop], np.stack(noise))

    def examples(self) -> Examples:
        """The first twenty test images."""
        batch = next(self.batches("test", 20))
        order = ", pixels in the authors' permutation" if self.permuted else ""
        noise = f", then noise to {self.padded_to} steps" if self.padded_to > _PIXELS else ""
        source = f"MNIST test images 0 to 19 (Y. LeCun, C. Cortes, C. Burges), brightness 0 to 1{order}{noise}"
        return Examples(batch.inputs, batch.targets, source)

    def metrics(self, score: Score) -> dict[str, float]:
        """Accuracy and cross-entropy per image."""
        return score.metrics()

    def _batch(self, images: NDArray[np.uint8], labels: NDArray[np.uint8], noise: NDArray[np.float32]) -> Batch:
        pixels = images.reshape(len(images), _PIXELS)
        if self.permuted:
            pixels = pixels[:, authors_permutation()]
        sequences = np.concatenate([pixels / np.float32(255.0), noise], axis=1)
        return Batch(sequences[:, :, None], labels.astype(np.int64))


def _noise(seed: int, row: int, steps: int) -> NDArray[np.float32]:
    return np.random.default_rng((seed, row)).random(steps, np.float32)


@functools.cache
def authors_permutation() -> NDArray[np.int64]:
    """The pixel order of the authors' demo: position t of the sequence shows pixel `permutation[t]`."""
    return np.random.RandomState(_AUTHORS_PERMUTATION_SEED).permutation(_PIXELS)


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(count)


@functools.lru_cache(maxsize=4)
def _load(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    prefix = "t10k" if split == "test" else "train"
    images = _read_idx(folder / f"{prefix}-images-idx3-ubyte", (_SIDE, _SIDE))
    labels = _read_idx(folder / f"{prefix}-labels-idx1-ubyte", ())
    return images, labels


def _read_idx(path: Path, item: tuple[int, ...]) -> NDArray[np.uint8]:
    """An IDX file of unsigned bytes: 0x08 and the number of axes, a big-endian size per axis, then the bytes."""
    raw = path.read_bytes()
    axes = 1 + len(item)
    sizes = np.frombuffer(raw, ">u4", count=1 + axes) if len(raw) >= 4 + 4 * axes else np.zeros(1 + axes, ">u4")
    shape = tuple(int(size) for size in sizes[1:])
    if sizes[0] != 0x0800 + axes or shape[1:] != item or len(raw) != 4 + 4 * axes + int(np.prod(shape)):
        raise InputError(f"{path} is not the MNIST file it should be", "Type: drnn-deploy data fetch pixel-mnist")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)

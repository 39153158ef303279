"""Dropout whose masks depend on seed and iteration alone, so that nothing of it needs to be saved."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch


@dataclasses.dataclass
class Dropout:
    """The dropout of one training step; called once for each layer, bottom first.

    Every process of a training draws the masks of the whole batch and takes those of its own sequences: all together
    drop what one process alone would. CPUs and GPUs draw other masks.

    Attributes:
        share: How much is dropped, above 0 and below 1.
        seed: The seed of the training.
        iteration: The step's number in it.
        batch: The sequences of the step, of all processes together.
        rows: Those of this process.
        device: Where the network is.
    """

    share: float
    seed: int
    iteration: int
    batch: int
    rows: slice
    device: torch.device

    def __post_init__(self) -> None:
        (drawn,) = np.random.SeedSequence((self.seed, self.iteration)).generate_state(1, np.uint64)
        self._generator = torch.Generator(self.device).manual_seed(int(drawn))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Set a share of the values to zero, and scale up the others, so that the mean stays.

        Args:
            x: (steps, own sequences, H).
        """
        shape = x.shape[0], self.batch, x.shape[2]
        kept = torch.empty(shape, device=self.device).bernoulli_(1 - self.share, generator=self._generator)
        mask = kept[:, self.rows]
        mask.div_(1 - self.share)  # in place: a mask is as large as what the layer delivers
        return x * mask.to(x.dtype)

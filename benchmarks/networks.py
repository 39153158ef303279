"""The networks that are measured, with seeded weights: those of the standard set and of its growth series."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from drnn_deploy.tasks.copy_memory import CopyMemory
from drnn_deploy.tasks.pixel_mnist import PixelMnist
from drnn_deploy.tasks.ptb_char import PtbChar
from drnn_models.cells import Cell
from drnn_models.checkpoint import Checkpoint, as_checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens

STEPS = 784  # of pixel-MNIST


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of the paper, whatever its cell.

    Attributes:
        title: For tables.
        layers: How many.
        hidden: Units of each.
        length: Time steps of a whole sequence.
        input: What a time step is.
        head: What it returns.
        first: The first layer's dilation; each further one's is twice that of the one below.
    """

    title: str
    layers: int
    hidden: int
    length: int
    input: Continuous | Tokens
    head: Head
    first: int = 1

    def spec(self, cell: Cell) -> ModelSpec:
        """The network with a cell."""
        dilations = tuple(self.first * 2**layer for layer in range(self.layers))
        return ModelSpec(cell, (self.hidden,) * self.layers, dilations, self.input, self.head)


_MNIST, _COPY, _PTB = PixelMnist(), CopyMemory(1000), PtbChar()
STANDARD = {
    "mnist": Network("pixel-MNIST, 9 x 20", 9, 20, STEPS, _MNIST.input, _MNIST.head),
    "copy": Network("copy memory, 9 x 10", 9, 10, _COPY.length, _COPY.input, _COPY.head),
    "ptb": Network("PTB characters, 5 x 256", 5, 256, _PTB.length, _PTB.input, _PTB.head),
    "waveform": Network("speakers from raw sound, 8 x 128", 8, 128, 6000, Continuous(1), Head("last", 109), first=8),
}


@torch.no_grad()
def module(spec: ModelSpec) -> DilatedRNN:
    """A network with seeded weights, which are the same to the bit on every machine: no LAPACK has a hand in them."""
    made, random = DilatedRNN(spec).eval(), np.random.default_rng(0)
    for weight in made.parameters():
        bound = np.float32((2 / weight.shape[-1]) ** 0.5)
        weight.copy_(torch.from_numpy(bound * (2 * random.random(tuple(weight.shape), np.float32) - 1)))
    return made


def checkpoint(spec: ModelSpec) -> Checkpoint:
    """The same without torch types."""
    return as_checkpoint(module(spec))


def paper_network(cell: Cell) -> DilatedRNN:
    """The paper's network for pixel-MNIST."""
    return module(STANDARD["mnist"].spec(cell))

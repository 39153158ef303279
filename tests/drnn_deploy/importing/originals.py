"""Modules as people write them, and their files: the state dict, and what the module computes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

FEATURES, HIDDEN, CLASSES, SYMBOLS = 5, 6, 3, 11
STEPS = 17


class Recurrent(nn.Module):
    """A GRU of two layers with something after it, of the last step unless `summary` says otherwise."""

    def __init__(
        self, head: nn.Module, features: int = FEATURES, summary: Callable[[Tensor, Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.rnn = nn.GRU(features, HIDDEN, num_layers=2, batch_first=True)
        self.fc = head
        self.summary = summary or (lambda inputs, states: states[:, -1])

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, steps, features) -> (batch, outputs)."""
        outputs: Tensor = self.fc(self.summary(inputs, self.rnn(inputs)[0]))
        return outputs


class FrontOnly(nn.Module):
    """A linear layer before the GRU and none after it."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.inp = nn.Linear(features, width)
        self.rnn = nn.GRU(width, HIDDEN, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, steps, features) -> (batch, HIDDEN)."""
        outputs: Tensor = self.rnn(self.inp(inputs))[0]
        return outputs[:, -1]


class Separate(nn.Module):
    """Two GRUs one after the other, each a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((FEATURES, HIDDEN), (HIDDEN, HIDDEN))
        self.rnns = nn.ModuleList(nn.GRU(features, hidden, batch_first=True) for features, hidden in sizes)
        self.fc = nn.Linear(HIDDEN, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, steps, features) -> (batch, CLASSES)."""
        for rnn in self.rnns:
            inputs = rnn(inputs)[0]
        outputs: Tensor = self.fc(inputs[:, -1])
        return outputs


class Tied(nn.Module):
    """An embedding whose table is also the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(SYMBOLS, HIDDEN)
        self.rnn = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.fc = nn.Linear(HIDDEN, SYMBOLS, bias=False)
        self.fc.weight = self.emb.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, steps) -> (batch, SYMBOLS)."""
        outputs: Tensor = self.fc(self.rnn(self.emb(tokens))[0][:, -1])
        return outputs


def real(features: int = FEATURES, steps: int = STEPS) -> Tensor:
    """Two sequences of real numbers."""
    return torch.randn(2, steps, features)


def tokens(symbols: int = SYMBOLS, steps: int = STEPS) -> Tensor:
    """Two sequences of tokens."""
    return torch.randint(symbols, (2, steps))


def save(folder: Path, module: nn.Module, inputs: Tensor, rename: tuple[str, str] = ("", "")) -> Path:
    """Write weights.pt and original.npz (float64) into a folder; gives the first."""
    state = {name.replace(*rename): value for name, value in module.state_dict().items()}
    torch.save(state, folder / "weights.pt")
    record(folder / "original.npz", module, inputs)
    return folder / "weights.pt"


def record(path: Path, module: nn.Module, inputs: Tensor) -> None:
    """Write what a module computes, in float64."""
    module = copy.deepcopy(module).eval().double()
    with torch.no_grad():
        outputs = module(inputs.double() if inputs.is_floating_point() else inputs)
    np.savez(path, inputs=inputs.numpy(), outputs=outputs.numpy())

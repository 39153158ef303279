"""Networks for the limit of parity: as people have them, freshly initialised and with larger gains; and at the edge."""

from __future__ import annotations

import numpy as np
import torch

from drnn_models.checkpoint import Checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens

_CELLS = ("rnn", "gru", "lstm")


def network(number: int, *, long: bool = False, longest: int = 4000) -> tuple[Checkpoint, int]:
    """A network and a length, median 300 or 1,000 to 4,000; hidden 1 to 128; three of six have larger gains."""
    random = np.random.default_rng((number, long))
    cell, layers = _CELLS[number % 3], int(random.integers(1, 6))
    powers, others = tuple(2**layer for layer in range(layers)), tuple(map(int, random.integers(1, 9, layers)))
    spec = ModelSpec(
        cell,  # type: ignore[arg-type]
        (int(np.exp(random.uniform(0, np.log(128.99)))),) * layers,
        powers if random.random() < 0.7 else others,
        Tokens(int(random.integers(2, 20)), 4) if random.random() < 0.2 else Continuous(int(random.integers(1, 4))),
        Head("sequence" if random.random() < 0.5 else "last", int(random.integers(1, 6))),
        reset="before" if cell == "gru" and random.random() < 0.3 else "after",
    )
    length = random.uniform(1000, 4000) if long else np.exp(random.normal(np.log(300), 0.7))
    torch.manual_seed(number)
    module = DilatedRNN(spec)
    if number // 3 % 2:
        gain = {
            "weight_hh": random.uniform(1, 2.2),
            "weight_ih": random.uniform(0.7, 3),
            "head": random.uniform(0.5, 4),
        }
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter *= next((value for part, value in gain.items() if part in name), 1.0)
    weights = {name: value.numpy(force=True) for name, value in module.state_dict().items()}
    return Checkpoint(spec, weights), int(np.clip(length, 10, longest))


def network_at_the_edge(number: int) -> tuple[Checkpoint, int]:
    """A small network between forgetting and growing, and a length: rounding errors add up over hundreds of steps."""
    random = np.random.default_rng((number, 2))
    layers, hidden = int(random.integers(1, 5)), int(random.choice([1, 1, 2, 3]))
    dilations = tuple(map(int, random.integers(1, 5, layers)))
    cell = _CELLS[max(number % 4 - 1, 0)]
    spec = ModelSpec(cell, (hidden,) * layers, dilations, Continuous(1), Head("sequence", 1))  # type: ignore[arg-type]
    torch.manual_seed(number)
    module = DilatedRNN(spec)
    gains, swings = random.uniform(0.5, 2.5, 2), random.random() < 0.7
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "weight_hh" in name and cell == "rnn":
                parameter *= random.uniform(0.97, 1.15) / np.abs(np.linalg.eigvals(parameter.numpy())).max()
                parameter *= -1.0 if swings and parameter.diagonal().sum() > 0 else 1.0
            elif "weight" in name:
                parameter *= gains[int("weight_hh" in name)]
            elif number % 8 < 4:
                parameter.zero_()
    weights = {name: value.numpy(force=True) for name, value in module.state_dict().items()}
    return Checkpoint(spec, weights), int(random.integers(100, 600))

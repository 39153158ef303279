"""Networks as people have them, for the limit of parity: freshly initialised, and with larger gains."""

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

"""Valid random nodes of RNN, GRU and LSTM, by seed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from tests.export.lint.drafts import Array, Draft, floats


def recurrent(rng: random.Random, cell: str) -> Draft:
    """Any use of a recurrent operator that ONNX defines, time-major."""
    steps, batch, features, hidden = (rng.choice(sizes) for sizes in ((1, 3, 6), (1, 2, 3), (1, 2, 4), (1, 3, 4)))
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[cell]
    direction = rng.choice(["forward", "reverse", "bidirectional"])
    ways = 2 if direction == "bidirectional" else 1
    states = (ways, batch, hidden)
    optional: list[Array] = [
        floats(rng, ways, 2 * gates * hidden),
        np.array([rng.randrange(1, steps + 1) for _ in range(batch)], np.int32),
        floats(rng, *states),
        *([floats(rng, *states), floats(rng, ways, 3 * hidden)] if cell == "LSTM" else []),
    ]
    inputs: list[Array | None] = [
        floats(rng, steps, batch, features),
        floats(rng, ways, gates * hidden, features),
        floats(rng, ways, gates * hidden, hidden),
        *(value if rng.random() < 0.5 else None for value in optional),
    ]
    while inputs[-1] is None:
        inputs.pop()
    fixed = {1, 2, 3, 7} | {index for index in (4, 5, 6) if rng.random() < 0.5}
    attributes: dict[str, Any] = {"hidden_size": hidden}
    if direction != "forward" or rng.random() < 0.5:
        attributes["direction"] = direction
    if rng.random() < 0.2:
        attributes["clip"] = rng.choice([0.2, 1.0])
    if cell == "GRU" and rng.random() < 0.5:
        attributes["linear_before_reset"] = rng.choice([0, 1])
    if rng.random() < 0.3:
        attributes |= activations(rng, {"RNN": 1, "GRU": 2, "LSTM": 3}[cell], ways)
    free = frozenset((i, 1) for i in (0, 5, 6) if i < len(inputs) and i not in fixed and inputs[i] is not None)
    frees_all = not {4, 5, 6} & fixed & {i for i, value in enumerate(inputs) if value is not None}
    return Draft(
        cell,
        tuple(inputs),
        frozenset(index for index in fixed if index < len(inputs) and inputs[index] is not None),
        attributes,
        rng.choice([1, 2, 3] if cell == "LSTM" else [1, 2]),
        rng.choice([9, 14, 17, 22]),
        _with_lengths(free, inputs) if frees_all and batch > 1 and rng.random() < 0.2 else frozenset(),
    )


def _with_lengths(free: frozenset[tuple[int, int]], inputs: list[Array | None]) -> frozenset[tuple[int, int]]:
    return free | {(4, 0)} if len(inputs) > 4 and inputs[4] is not None else free


ACTIVATIONS = (  # of ONNX's prose, with what each takes
    *("Relu", "Tanh", "Sigmoid", "Softsign", "Softplus", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh"),
    *("HardSigmoid", "Elu"),
)


def activations(rng: random.Random, count: int, ways: int) -> dict[str, Any]:
    """Activations for each gate, with some of their parameters."""
    same = rng.random() < 0.8
    names = [rng.choice(ACTIVATIONS) for _ in range(count)]
    made: dict[str, Any] = {
        "activations": names * ways if same else [rng.choice(ACTIVATIONS) for _ in range(count * ways)]
    }
    for parameter in ("activation_alpha", "activation_beta"):
        if rng.random() < 0.4:
            made[parameter] = [rng.choice([0.1, 0.5, 0.9]) for _ in range(count * ways)]
    return made

"""The oracle: float64 NumPy, written as the plain loop over the equation h_t = cell(x_t, h_{t-d}). No fold, no pruning.

Cell equations: torch.nn.RNN, GRU (reset applied after the recurrent product, or
before it where the spec says so) and LSTM.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_models.cells import CELLS, Cell
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights

Array = NDArray[np.floating[Any]]  # float64, unless another precision was asked for
State = dict[str, Array]  # name -> (B, d, H), see ModelSpec.state_shapes
Parts = tuple[Array, ...]  # (h,) or (h, c), each (B, H)
Product = Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Reference:
    """What the equation gives.

    Attributes:
        outputs: (B, outputs), or (B, k, outputs).
        state: Name -> (B, d, H), after the last step.
        magnitude: Like outputs: the sum of the absolute values of the terms that the head adds up, |W| |h| + |b|.
            Rounding errors are relative to it.
        trace: What is between the layers at every step, where it was asked for: `input`, which the first layer reads,
            (B, T, C), and by the names of `ModelSpec.state_shapes` what every layer gives, (B, T, H).
    """

    outputs: Array
    state: State
    magnitude: Array
    trace: dict[str, Array] = dataclasses.field(default_factory=dict)

    def noise(self, outputs: NDArray[np.generic], epsilon: float = float(np.finfo(np.float32).eps)) -> float:
        """The noise of an arithmetic: its largest error, and at least one rounding.

        Without that floor, a network whose terms cancel, or a lucky rounding, would leave other orders of summation no
        room at all.

        Args:
            outputs: What the arithmetic gave, in the shape of the reference's.
            epsilon: The spacing of its numbers at 1.

        Returns:
            An absolute error.
        """
        error = np.abs(outputs.astype(np.float64) - self.outputs)
        return float(max(error.max(), epsilon * self.magnitude.max()))


def run_reference(
    spec: ModelSpec,
    weights: Weights,
    inputs: NDArray[np.generic],
    state: Mapping[str, NDArray[np.generic]] | None = None,
    *,
    precision: type[np.floating[Any]] = np.float64,
    product: Product = np.matmul,
    traced: bool = False,
) -> Reference:
    """Compute the outputs of a sequence, or a piece of one, and the state after it.

    Args:
        spec: The network.
        weights: Name -> array, in torch's gate order.
        inputs: (B, T, C) or tokens (B, T).
        state: Name -> (B, d, H); None for zeros.
        precision: The type of all arithmetic. Another than float64 is no reference, but shows what rounding does to
            this order of summation.
        product: x, W -> x W, for an arithmetic that rounds products in its own way.
        traced: Whether to keep what is between the layers.

    Returns:
        The outputs are those of `DilatedRNN.advance`.
    """
    wide = {name: value.astype(precision) for name, value in weights.items()}
    batch = inputs.shape[0]
    before: State = {name: np.zeros(shape, precision) for name, shape in spec.state_shapes(batch).items()}
    if state is not None:
        before = {name: line.astype(precision) for name, line in state.items()}
    sequence = _embed(spec, wide, inputs, precision)  # T times (B, C)
    after: State = {}
    trace = {"input": np.stack(sequence, axis=1)} if traced else {}
    for layer, dilation in enumerate(spec.dilations):
        cell = _cell(spec, wide, layer, product)
        past = [before[f"l{layer}_{part}"] for part in spec.cell_states]
        line: list[Parts] = [tuple(part[:, age] for part in past) for age in range(dilation)]  # times -d .. -1
        for t, x in enumerate(sequence):
            line.append(cell(x, line[t]))  # line[t] holds time t - d
        for index, part in enumerate(spec.cell_states):
            after[f"l{layer}_{part}"] = np.stack([h[index] for h in line[-dilation:]], axis=1)
            if traced:
                trace[f"l{layer}_{part}"] = np.stack([h[index] for h in line[dilation:]], axis=1)
        sequence = [h[0] for h in line[dilation:]]
    outputs, magnitude = _read_out(spec, wide, sequence, before, after, product)
    return Reference(outputs, after, magnitude, trace)


def _embed(
    spec: ModelSpec, weights: Mapping[str, Array], inputs: NDArray[np.generic], precision: type[np.floating[Any]]
) -> list[Array]:
    if isinstance(spec.input, Tokens):
        one_hot = np.eye(spec.input.vocabulary, dtype=precision)
        table = weights["embedding.weight"] if spec.input.embedding is not None else one_hot
        return [table[inputs[:, t]] for t in range(inputs.shape[1])]
    return [inputs[:, t].astype(precision) for t in range(inputs.shape[1])]


def _read_out(
    spec: ModelSpec, weights: Mapping[str, Array], top: list[Array], state: State, after: State, product: Product
) -> tuple[Array, Array]:
    weight, bias = weights["head.weight"], weights["head.bias"]
    length, window = len(top), spec.window
    if window > 1:
        top = [state["fusion"][:, age] for age in range(window - 1)] + top
        after["fusion"] = np.stack(top[1 - window :], axis=1)
    outputs, magnitudes = [], []
    for t in range(length - spec.head.output_steps(length), length):
        seen = np.concatenate(top[t : t + window], axis=1)  # times t - window + 1 .. t, oldest first
        outputs.append(product(seen, weight.T) + bias)
        magnitudes.append(np.abs(seen) @ np.abs(weight).T + np.abs(bias))
    if spec.head.kind == "last":
        return outputs[-1], magnitudes[-1]
    return np.stack(outputs, axis=1), np.stack(magnitudes, axis=1)


def _cell(
    spec: ModelSpec, weights: Mapping[str, Array], layer: int, product: Product
) -> Callable[[Array, Parts], Parts]:
    """The cell of one layer: (x (B, C), past) -> new (h,) or (h, c)."""
    order = CELLS[spec.cell].torch

    def gates(name: str) -> dict[str, Array]:
        return dict(zip(order, np.split(weights[f"layers.{layer}.{name}_l0"], len(order)), strict=True))

    w, r, bw, br = gates("weight_ih"), gates("weight_hh"), gates("bias_ih"), gates("bias_hh")

    def fed(gate: str, x: Array) -> Array:
        return product(x, w[gate].T) + bw[gate]

    def recalled(gate: str, h: Array) -> Array:
        return product(h, r[gate].T) + br[gate]

    def rnn(x: Array, past: Parts) -> Parts:
        total = fed("h", x) + recalled("h", past[0])
        return (np.tanh(total) if spec.activation == "tanh" else np.maximum(total, 0.0),)

    def gru(x: Array, past: Parts) -> Parts:
        (h,) = past
        reset = _sigmoid(fed("r", x) + recalled("r", h))
        update = _sigmoid(fed("z", x) + recalled("z", h))
        kept = reset * recalled("n", h) if spec.reset == "after" else recalled("n", reset * h)
        new = np.tanh(fed("n", x) + kept)
        return ((1.0 - update) * new + update * h,)

    def lstm(x: Array, past: Parts) -> Parts:
        h, c = past
        i, f, o = (_sigmoid(fed(gate, x) + recalled(gate, h)) for gate in "ifo")
        c = f * c + i * np.tanh(fed("g", x) + recalled("g", h))
        return o * np.tanh(c), c

    cells: dict[Cell, Callable[[Array, Parts], Parts]] = {"rnn": rnn, "gru": gru, "lstm": lstm}
    return cells[spec.cell]


def _sigmoid(x: Array) -> Array:
    opened: Array = 0.5 * (1.0 + np.tanh(0.5 * x))  # no overflow at either end
    return opened

"""The oracle: float64 NumPy, written as the plain loop over the equation h_t = cell(x_t, h_{t-d}). No fold, no pruning.

Cell equations: torch.nn.RNN, GRU (reset applied after the recurrent product, or
before it where the spec says so) and LSTM.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_models.cells import CELLS, Cell
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights

Array = NDArray[np.floating[Any]]  # float64, unless another precision was asked for
State = dict[str, Array]  # name -> (B, d, H), see ModelSpec.state_shapes
Parts = tuple[Array, ...]  # (h,) or (h, c), each (B, H)
Product = Callable[[Array, Array], Array]
Rounding = Callable[[Array], Array]


@dataclasses.dataclass(frozen=True)
class Reference:
    """What the equation gives.

    Attributes:
        outputs: (B, outputs), or (B, k, outputs).
        state: Name -> (B, d, H), after the last step.
        magnitude: Like outputs: the sum of the absolute values of the terms that the head adds up, |W| |h| + |b|.
        trace: What is between the layers at every step, where it was asked for: `input`, which the first layer reads,
            (B, T, C), and by the names of `ModelSpec.state_shapes` what every layer gives, (B, T, H).
    """

    outputs: Array
    state: State
    magnitude: Array
    trace: dict[str, Array] = dataclasses.field(default_factory=dict)


@checked_arguments
def run_reference(
    spec: ModelSpec,
    weights: Weights,
    inputs: NDArray[np.generic],
    state: Mapping[str, NDArray[np.generic]] | None = None,
    *,
    precision: type[np.floating[Any]] = np.float64,
    product: Product = np.matmul,
    rounded: Rounding = lambda value: value,
    activated: Rounding | None = None,
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
        rounded: The same for inputs, sums and the states of an LSTM: exact value -> rounded value.
        activated: The same for what tanh gives, which is also within every sigmoid; None for `rounded`.
        traced: Whether to keep what is between the layers.

    Returns:
        The outputs are those of `DilatedRNN.advance`.
    """
    if missing := sorted(spec.weight_shapes().keys() - weights.keys()):
        raise InputError(f"the weights lack {missing[0]!r}", "Those of a bundle are bundle.weights.")
    if inputs.ndim != (2 if isinstance(spec.input, Tokens) else 3):
        what = f"inputs must be (B, T, C), or tokens (B, T), got the shape {inputs.shape}"
        raise InputError(what, "For one sequence: x[None].")
    wide = {name: value.astype(precision) for name, value in weights.items()}
    batch, length = inputs.shape[:2]
    before: State = {name: np.zeros(shape, precision) for name, shape in spec.state_shapes(batch).items()}
    if state is not None:
        before = {name: line.astype(precision) for name, line in state.items()}
    lines = [_delay_line(spec, before, layer) for layer in range(len(spec.dilations))]
    window = deque(before["fusion"].swapaxes(0, 1) if spec.window > 1 else (), spec.window)
    cells = [_cell(spec, wide, layer, product, rounded, activated or rounded) for layer in range(len(spec.dilations))]
    answered = length - spec.head.output_steps(length)
    sizes = np.abs(wide["head.weight"]).T, np.abs(wide["head.bias"])
    outputs, magnitudes, trace = [], [], _Trace(traced)
    for t in range(length):
        x = rounded(_embed(spec, wide, inputs[:, t], precision))
        trace.keep("input", x)
        for layer, (cell, line) in enumerate(zip(cells, lines, strict=True)):
            line.append(cell(x, line[0]))  # line[0] is of time t - d, and falls out
            x = line[-1][0]
            for part, value in zip(spec.cell_states, line[-1], strict=True):
                trace.keep(f"l{layer}_{part}", value)
        window.append(x)
        if t >= answered:
            seen = np.concatenate(window, axis=1)  # times t - window + 1 .. t, oldest first
            outputs.append(rounded(product(seen, wide["head.weight"].T) + wide["head.bias"]))
            magnitudes.append(np.abs(seen) @ sizes[0] + sizes[1])
    after: State = {
        f"l{layer}_{part}": np.stack([parts[index] for parts in line], axis=1)
        for layer, line in enumerate(lines)
        for index, part in enumerate(spec.cell_states)
    }
    if spec.window > 1:
        after["fusion"] = np.stack(list(window)[1:], axis=1)
    if spec.head.kind == "last":
        return Reference(outputs[-1], after, magnitudes[-1], trace.stacked())
    return Reference(np.stack(outputs, axis=1), after, np.stack(magnitudes, axis=1), trace.stacked())


class _Trace:
    """Values by name and time step, kept where they are wanted."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._values: dict[str, list[Array]] = {}

    def keep(self, name: str, value: Array) -> None:
        if self._wanted:
            self._values.setdefault(name, []).append(value)

    def stacked(self) -> dict[str, Array]:
        return {name: np.stack(values, axis=1) for name, values in self._values.items()}


def _delay_line(spec: ModelSpec, state: State, layer: int) -> deque[Parts]:
    """The last d states of a layer, oldest first."""
    parts = [state[f"l{layer}_{part}"] for part in spec.cell_states]
    dilation = spec.dilations[layer]
    return deque((tuple(part[:, age] for part in parts) for age in range(dilation)), dilation)


def _embed(
    spec: ModelSpec, weights: Mapping[str, Array], inputs: NDArray[np.generic], precision: type[np.floating[Any]]
) -> Array:
    """What the first layer reads of one time step: (B, C)."""
    if not isinstance(spec.input, Tokens):
        read: Array = inputs.astype(precision)
    elif spec.input.embedding is not None:
        read = weights["embedding.weight"][inputs]
    else:
        read = (inputs[:, None] == np.arange(spec.input.vocabulary)).astype(precision)
    return read


def _cell(
    spec: ModelSpec,
    weights: Mapping[str, Array],
    layer: int,
    product: Product,
    rounded: Rounding,
    activated: Rounding,
) -> Callable[[Array, Parts], Parts]:
    """The cell of one layer: (x (B, C), past) -> new (h,) or (h, c)."""
    order, size = CELLS[spec.cell].torch, spec.hidden[layer]
    rows = {gate: slice(place * size, (place + 1) * size) for place, gate in enumerate(order)}
    w, r, bw, br = (weights[f"layers.{layer}.{name}_l0"].T for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))

    def fed(x: Array) -> Array:  # what x adds to every gate, side by side
        return product(x, w) + bw

    def recalled(h: Array) -> Array:
        return product(h, r) + br

    def tanh(x: Array) -> Array:
        return activated(np.tanh(x))

    def sigmoid(total: Array) -> Array:
        opened: Array = 0.5 * (1.0 + tanh(0.5 * rounded(total)))  # no overflow at either end
        return opened

    def rnn(x: Array, past: Parts) -> Parts:
        total = rounded(fed(x) + recalled(past[0]))
        return (tanh(total) if spec.activation == "tanh" else np.maximum(total, 0.0),)

    def gru(x: Array, past: Parts) -> Parts:
        (h,) = past
        new, old = fed(x), recalled(h)
        reset, update = (sigmoid(new[:, rows[gate]] + old[:, rows[gate]]) for gate in "rz")
        n = rows["n"]
        kept = reset * old[:, n] if spec.reset == "after" else product(reset * h, r[:, n]) + br[n]
        proposed = tanh(rounded(new[:, n] + kept))
        return (rounded((1.0 - update) * proposed + update * h),)

    def lstm(x: Array, past: Parts) -> Parts:
        h, c = past
        total = fed(x) + recalled(h)
        i, f, o = (sigmoid(total[:, rows[gate]]) for gate in "ifo")
        c = rounded(f * c + i * tanh(rounded(total[:, rows["g"]])))
        return o * tanh(c), c

    cells: dict[Cell, Callable[[Array, Parts], Parts]] = {"rnn": rnn, "gru": gru, "lstm": lstm}
    return cells[spec.cell]

"""What `drnn.h` needs to know of a network: its sizes as C, and its weights in the order of reading."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from drnn_models.cells import CELLS
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights

_BLOCK = 8  # units that the kernel computes together: DRNN_PAD


@dataclasses.dataclass(frozen=True)
class PackedNetwork:
    """A network for `drnn.h`.

    Attributes:
        header: `network.h` without weights: macros and the table of layers.
        weights: (n,) float32, all weights: of each layer what reads its input, biases, what reads its past; then those
            of the head and the embedding table.
    """

    header: str
    weights: NDArray[np.float32]


def pack_network(spec: ModelSpec, weights: Weights, name: str = "network") -> PackedNetwork:
    """Write a network for `drnn.h`.

    Args:
        spec: The network.
        weights: Name -> array, in torch's gate order.
        name: What its C functions begin with, a C identifier.
    """
    layers = [_layer(spec, weights, layer) for layer in range(spec.layers)]
    head = _in_blocks(weights["head.weight"], 1), _in_blocks(weights["head.bias"][:, None], 1)
    table = weights.get("embedding.weight", np.zeros(0, np.float32)).reshape(-1)
    sizes = [layer.size for layer in layers]
    starts = np.cumsum([0, *sizes, sum(part.size for part in head)])
    return PackedNetwork(
        _header(spec, name, [int(start) for start in starts]),
        np.concatenate([*layers, *head, table]).astype(np.float32),
    )


def padded(hidden: int) -> int:
    """The float32 values of a row of `hidden` units in the kernel's memory."""
    return -(-hidden // _BLOCK) * _BLOCK


def _layer(spec: ModelSpec, weights: Weights, layer: int) -> NDArray[np.float32]:
    """One layer's share. Biases are added where the kernel adds them up: those of the past stay apart in a GRU's n."""
    inputs, past, input_bias, past_bias = (
        weights[f"layers.{layer}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    gates, new = len(CELLS[spec.cell].torch), 2 * spec.hidden[layer]
    bias, parts = input_bias + past_bias, [_in_blocks(past, gates)]
    if spec.cell == "gru" and spec.reset == "after":
        bias[new:] = input_bias[new:]
        parts.append(_in_blocks(past_bias[new:, None], 1))
    elif spec.cell == "gru":
        parts = [_in_blocks(past[:new], gates - 1), _in_blocks(past[new:], 1)]
    return np.concatenate([_in_blocks(inputs, gates), _in_blocks(bias[:, None], gates), *parts])


def _in_blocks(matrix: NDArray[np.float32], gates: int) -> NDArray[np.float32]:
    """(gates * H, inputs) -> [block of 8 units][input][gate][8], flat; units that fill the last block are zero."""
    units = len(matrix) // gates
    rows = np.zeros((gates, padded(units), matrix.shape[1]), np.float32)
    rows[:, :units] = matrix.reshape(gates, units, -1)
    return rows.reshape(gates, -1, _BLOCK, matrix.shape[1]).transpose(1, 3, 0, 2).reshape(-1)


def _header(spec: ModelSpec, name: str, starts: list[int]) -> str:
    shapes = sorted(set(zip(spec.layer_inputs(), spec.hidden, strict=True)))
    tokens = isinstance(spec.input, Tokens)
    one_hot = isinstance(spec.input, Tokens) and spec.input.embedding is None
    features = 1 if one_hot else spec.input.width
    window = spec.window * padded(spec.hidden[-1]) if spec.window > 1 else 0
    lines = sum(d * padded(h) for d, h in zip(spec.dilations, spec.hidden, strict=True)) * len(spec.cell_states)
    macros = {
        "NAME": name,
        "CELL": _cell(spec),
        "INPUT": "DRNN_ONE_HOT" if one_hot else "DRNN_EMBEDDING" if tokens else "DRNN_CONTINUOUS",
        "FEATURES": features,
        "SAMPLE": 1 if tokens else features,
        "VOCABULARY": spec.input.vocabulary if isinstance(spec.input, Tokens) else 0,
        "LAYERS": spec.layers,
        "OUTPUTS": spec.head.outputs,
        "LAST": 0 if spec.head.kind == "sequence" else spec.head.steps,
        "WINDOW": spec.window,
        "TOP": spec.hidden[-1],
        "WIDEST": max(features, *map(padded, spec.hidden)),
        "STATE": lines + window,
        "HEAD_WEIGHTS": starts[spec.layers],
        "TABLE": starts[spec.layers + 1],
        "SHAPES(X)": " ".join(f"X({n}, {inputs}, {hidden})" for n, (inputs, hidden) in enumerate(shapes)),
    }
    layers = zip(spec.layer_inputs(), spec.hidden, spec.dilations, starts, strict=False)
    table = ", ".join(f"{{{shapes.index((i, h))}, {h}, {d}, {start}}}" for i, h, d, start in layers)
    return "\n".join(
        [
            *(f"#define DRNN_{macro} {value}" for macro, value in macros.items()),
            f"static const struct {{ int shape, hidden, dilation; long weights; }} {name}_layers[] = {{{table}}};",
            '#include "drnn.h"',
            "",
        ]
    )


def _cell(spec: ModelSpec) -> str:
    if spec.cell == "rnn":
        return f"DRNN_{spec.activation.upper()}"
    return f"DRNN_GRU_RESET_{spec.reset.upper()}" if spec.cell == "gru" else "DRNN_LSTM"

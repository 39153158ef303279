"""What `drnn.h` needs to know of a network: its sizes, and its weights in the order of reading."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from drnn_models.cells import CELLS
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights

_BLOCK = 8  # units that the kernel computes together: DRNN_PAD
_PANEL = 4  # blocks whose weights of an input lie side by side: DRNN_AT


@dataclasses.dataclass(frozen=True)
class PackedLayer:
    """A `struct drnn_layer`.

    Attributes:
        inputs: Values of a row of what it reads.
        hidden: Its units.
        dilation: Steps between h and the h that it is computed from.
        weights: Where its weights begin in `PackedNetwork.weights`.
    """

    inputs: int
    hidden: int
    dilation: int
    weights: int


@dataclasses.dataclass(frozen=True)
class PackedNetwork:
    """A `struct drnn_network`.

    Attributes:
        cell: The name of its cell in `drnn.h`.
        sizes: Field -> number, for the fields that are numbers.
        layers: Its layers, the first one first.
        head: Where the weights of the head begin in `weights`.
        table: Where the embedding table begins.
        weights: (n,) float32, all weights: of each layer what reads its input, biases, what reads its past; then those
            of the head and the embedding table.
    """

    cell: str
    sizes: dict[str, int]
    layers: tuple[PackedLayer, ...]
    head: int
    table: int
    weights: NDArray[np.float32]


def pack_network(spec: ModelSpec, weights: Weights) -> PackedNetwork:
    """Describe a network as `drnn.h` does.

    Args:
        spec: The network.
        weights: Name -> array, in torch's gate order.
    """
    blocks = [_layer(spec, weights, layer) for layer in range(spec.layers)]
    head = _in_blocks(weights["head.weight"], 1), _in_blocks(weights["head.bias"][:, None], 1)
    table = weights.get("embedding.weight", np.zeros(0, np.float32)).reshape(-1)
    starts = [
        int(start) for start in np.cumsum([0, *(block.size for block in blocks), sum(part.size for part in head)])
    ]
    return PackedNetwork(
        cell_name(spec),
        _sizes(spec),
        tuple(map(PackedLayer, spec.layer_inputs(), spec.hidden, spec.dilations, starts)),
        starts[spec.layers],
        starts[spec.layers + 1],
        np.concatenate([*blocks, *head, table]).astype(np.float32),
    )


def cell_name(spec: ModelSpec) -> str:
    """The name of a network's cell in `drnn.h`."""
    if spec.cell == "rnn":
        return f"DRNN_{spec.activation.upper()}"
    return f"DRNN_GRU_RESET_{spec.reset.upper()}" if spec.cell == "gru" else "DRNN_LSTM"


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
    """(gates * H, inputs) -> [panel][input][block][gate][8], flat; units that fill the last block are zero."""
    units = len(matrix) // gates
    rows = np.zeros((gates, padded(units), matrix.shape[1]), np.float32)
    rows[:, :units] = matrix.reshape(gates, units, -1)
    blocks = rows.reshape(gates, -1, _BLOCK, matrix.shape[1]).transpose(3, 1, 0, 2)
    return np.concatenate([blocks[:, at : at + _PANEL].reshape(-1) for at in range(0, blocks.shape[1], _PANEL)])


def _sizes(spec: ModelSpec) -> dict[str, int]:
    one_hot = isinstance(spec.input, Tokens) and spec.input.embedding is None
    features = 1 if one_hot else spec.input.width
    return {
        "layers": spec.layers,
        "outputs": spec.head.outputs,
        "features": features,
        "tokens": 0 if not isinstance(spec.input, Tokens) else 1 if one_hot else 2,
        "last": 0 if spec.head.kind == "sequence" else spec.head.steps,
        "window": spec.window,
        "widest": max(features, *map(padded, spec.hidden)),
    }

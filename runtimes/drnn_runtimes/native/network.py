"""What `drnn.h` needs to know of a network: its sizes, and its weights in the order of reading."""

from __future__ import annotations

import dataclasses
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from drnn_models.cells import CELLS
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights
from drnn_runtimes.reference.low_precision import quantised

Kind = TypeVar("Kind", bound=np.generic)
_BLOCK = 8  # units that the kernel computes together: DRNN_PAD


@dataclasses.dataclass(frozen=True)
class PackedLayer:
    """A `struct drnn_layer`.

    Attributes:
        inputs: Values of a row of what it reads.
        hidden: Its units.
        dilation: Steps between h and the h that it is computed from.
        weights: Where its weights begin in `PackedNetwork.weights`.
        biases: Where its biases begin in `PackedNetwork.biases`.
    """

    inputs: int
    hidden: int
    dilation: int
    weights: int
    biases: int


@dataclasses.dataclass(frozen=True)
class PackedNetwork:
    """A `struct drnn_network`.

    Attributes:
        cell: The name of its cell in `drnn.h`.
        sizes: Field -> number, for the fields that are numbers.
        layers: Its layers, the first one first.
        weights: (n,) float32 or int8: of each layer what reads its input, then what reads its past; of the head.
        biases: (m,) float32: of each layer and of the head, with the scales of int8 weights; the embedding table.
        head: Where the head's begin in `weights` and in `biases`.
        table: Where the embedding table begins in `biases`.
    """

    cell: str
    sizes: dict[str, int]
    layers: tuple[PackedLayer, ...]
    weights: NDArray[np.float32] | NDArray[np.int8]
    biases: NDArray[np.float32]
    head: tuple[int, int]
    table: int

    @property
    def narrow(self) -> bool:
        """Whether the weights are int8."""
        return self.weights.dtype == np.int8


def pack_network(spec: ModelSpec, weights: Weights, *, narrow: bool = False) -> PackedNetwork:
    """Describe a network as `drnn.h` does.

    Args:
        spec: The network.
        weights: Name -> array, in torch's gate order.
        narrow: Whether to write matrices as int8 with a scale for each output, as int8 graphs do.
    """
    parts = [_layer(spec, weights, layer, narrow) for layer in range(spec.layers)]
    head, scale = _matrix(weights["head.weight"], narrow)
    parts.append(([_in_blocks(head, 1)], [_in_blocks(weights["head.bias"], 1), *_scales(scale, 1)]))
    table = weights.get("embedding.weight", np.zeros(0, np.float32)).reshape(-1)
    matrices, biases = zip(*parts, strict=True)
    starts, bias_starts = (
        [0, *np.cumsum([sum(array.size for array in arrays) for arrays in side]).tolist()]
        for side in (matrices, biases)
    )
    return PackedNetwork(
        cell_name(spec),
        network_sizes(spec),
        tuple(
            PackedLayer(*numbers)
            for numbers in zip(spec.layer_inputs(), spec.hidden, spec.dilations, starts, bias_starts, strict=False)
        ),
        np.concatenate(list(chain(*matrices))),
        np.concatenate([*chain(*biases), table]).astype(np.float32),
        (starts[spec.layers], bias_starts[spec.layers]),
        bias_starts[-1],
    )


def cell_name(spec: ModelSpec) -> str:
    """The name of a network's cell in `drnn.h`."""
    if spec.cell == "rnn":
        return f"DRNN_{spec.activation.upper()}"
    return f"DRNN_GRU_RESET_{spec.reset.upper()}" if spec.cell == "gru" else "DRNN_LSTM"


def padded(hidden: int) -> int:
    """The float32 values of a row of `hidden` units in the kernel's memory."""
    return -(-hidden // _BLOCK) * _BLOCK


def _layer(
    spec: ModelSpec, weights: Weights, layer: int, narrow: bool
) -> tuple[list[NDArray[Any]], list[NDArray[np.float32]]]:
    """One layer's weights and biases. Biases are added where the kernel adds them up: the past's of a GRU's n apart."""
    of_inputs, of_past, input_bias, past_bias = (
        weights[f"layers.{layer}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    gates, new = len(CELLS[spec.cell].torch), 2 * spec.hidden[layer]
    (inputs, scale), (past, past_scale) = _matrix(of_inputs, narrow), _matrix(of_past, narrow)
    bias, apart = input_bias + past_bias, spec.cell == "gru" and spec.reset == "after"
    if apart:
        bias[new:] = input_bias[new:]
    biases = [_in_blocks(bias, gates), *([_in_blocks(past_bias[new:], 1)] if apart else []), *_scales(scale, gates)]
    return [_in_blocks(inputs, gates), _in_blocks(past, gates)], biases + _scales(past_scale, gates)


def _matrix(matrix: NDArray[np.float32], narrow: bool) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """A matrix as it is written, and the scales of its outputs: none of float32."""
    return quantised(matrix, axis=0) if narrow else (matrix, np.zeros(0, np.float32))


def _scales(scale: NDArray[np.float32], gates: int) -> list[NDArray[np.float32]]:
    return [_in_blocks(scale, gates)] if scale.size else []


def _in_blocks(values: NDArray[Kind], gates: int) -> NDArray[Kind]:
    """(gates * H, inputs) or (gates * H,) in the order of `drnn.h`, flat; zeros fill the last block."""
    units, matrix = len(values) // gates, values.reshape(len(values), -1)
    rows = np.zeros((gates, padded(units), matrix.shape[1]), values.dtype)
    rows[:, :units] = matrix.reshape(gates, units, -1)
    return rows.reshape(gates, -1, _BLOCK, matrix.shape[1]).transpose(1, 3, 0, 2).reshape(-1)


def network_sizes(spec: ModelSpec) -> dict[str, int]:
    """The fields of a `struct drnn_network` that are numbers, by name."""
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

"""What a precision does to a network: the reference's loop with the roundings of `drnn_export.emitter.precision`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import PRECISIONS, Precision
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.reference.loop import Array, Product, Reference, run_reference


def narrow_reference(
    spec: ModelSpec,
    weights: Weights,
    inputs: NDArray[np.generic],
    precision: Precision,
    *,
    state: Mapping[str, NDArray[np.generic]] | None = None,
    traced: bool = False,
) -> Reference:
    """Run the reference's loop with the roundings of a precision.

    Args:
        spec: The network.
        weights: What `graph_weights` gives.
        inputs: (B, T, C) or tokens (B, T).
        precision: The precision to compute in.
        state: Name -> (B, d, H); None for zeros.
        traced: Whether to keep what is between the layers.
    """
    wide = precision == "fp32" or PRECISIONS[precision].weights_only
    product = np.matmul if wide else rounding_product(PRECISIONS[precision].numpy)
    with np.errstate(over="ignore", invalid="ignore"):
        return run_reference(spec, weights, inputs, state, precision=np.float32, product=product, traced=traced)


def graph_weights(weights: Weights, precision: Precision) -> Weights:
    """The weights that a graph of a precision holds: those of the network that it is compared with.

    Every matrix but the embedding is rounded. Where nothing else is, the graph is the float32 graph of these weights.

    Args:
        weights: The network's.
        precision: The graph's.
    """
    if precision == "fp32":
        return weights
    if PRECISIONS[precision].weights_only:
        return dequantised(weights)
    kind = PRECISIONS[precision].numpy
    return {
        name: value.astype(kind).astype(np.float32) if _is_rounded(name, value) else value
        for name, value in weights.items()
    }


def _is_rounded(name: str, value: NDArray[np.float32]) -> bool:
    return value.ndim == 2 and not name.startswith("embedding")


def dequantised(weights: Weights) -> Weights:
    """The weights as int8 graphs see them: every matrix but the embedding rounded, with one scale for each output."""
    rounded = dict(weights)
    for name, value in weights.items():
        if _is_rounded(name, value):
            values, scale = quantised(value, axis=0)
            rounded[name] = values.astype(np.float32) * scale[:, None]
    return rounded


def rounding_product(kind: np.dtype[Any] | type) -> Product:
    """The product with both operands and the result rounded to `kind`, and accumulated in float32."""

    def rounded(x: Array) -> Array:
        narrow: Array = x.astype(kind).astype(np.float32)
        return narrow

    return lambda x, w: rounded(rounded(x) @ rounded(w))


def quantised(matrix: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise symmetrically to int8, with one scale for each index of an axis.

    Args:
        matrix: Of any shape.
        axis: The axis with a scale for each index.

    Returns:
        int8 of the same shape, and float32 scales (n,): matrix is about int8 * scale, within half a scale. The largest
        value of an index is at 127.
    """
    others = tuple(other for other in range(matrix.ndim) if other != axis)
    smallest, largest = np.finfo(np.float32).tiny, np.nextafter(np.finfo(np.float32).max / 127, 0, dtype=np.float32)
    scale = np.clip(np.abs(matrix).max(axis=others) / 127, smallest, largest).astype(np.float32)
    shape = [-1 if other == axis else 1 for other in range(matrix.ndim)]
    return np.clip(np.round(matrix / scale.reshape(shape)), -127, 127).astype(np.int8), scale

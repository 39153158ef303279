"""What a precision does to a network: the reference's loop with the roundings of `drnn_export.emitter.precision`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import PRECISIONS, Precision
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.reference.loop import Array, Product, Reference, run_reference


def rounding_noise(
    spec: ModelSpec, weights: Weights, inputs: NDArray[np.generic], reference: Reference, precision: Precision
) -> float:
    """The largest error that a precision other than fp32 makes on these inputs: see `Reference.noise`.

    Args:
        spec: The network.
        weights: Its weights.
        inputs: (B, T, C) or tokens (B, T).
        reference: Of the same inputs, in float64.
        precision: The precision to round to.
    """
    return reference.noise(narrow_reference(spec, weights, inputs, precision).outputs, PRECISIONS[precision].spacing)


def narrow_reference(
    spec: ModelSpec, weights: Weights, inputs: NDArray[np.generic], precision: Precision, *, traced: bool = False
) -> Reference:
    """Run the reference's loop with the roundings of a precision.

    Args:
        spec: The network.
        weights: Its weights.
        inputs: (B, T, C) or tokens (B, T).
        precision: The precision to compute in.
        traced: Whether to keep what is between the layers.
    """
    if PRECISIONS[precision].weights_only:
        return run_reference(spec, dequantised(weights), inputs, traced=traced)
    product = np.matmul if precision == "fp32" else rounding_product(PRECISIONS[precision].numpy)
    with np.errstate(over="ignore", invalid="ignore"):
        return run_reference(spec, weights, inputs, precision=np.float32, product=product, traced=traced)


def dequantised(weights: Weights) -> Weights:
    """The weights as int8 graphs see them: every matrix but the embedding rounded, with one scale for each output."""
    rounded = dict(weights)
    for name, value in weights.items():
        if value.ndim == 2 and not name.startswith("embedding"):
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
    scale = np.maximum(np.abs(matrix).max(axis=others) / 127, np.finfo(np.float32).tiny).astype(np.float32)
    shape = [-1 if other == axis else 1 for other in range(matrix.ndim)]
    return np.clip(np.round(matrix / scale.reshape(shape)), -127, 127).astype(np.int8), scale

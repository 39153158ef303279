"""What a precision does to a network: the reference's loop with the roundings of `drnn_export.precision`."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from drnn_export.precision import quantised
from drnn_models.description import Precision
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.reference import Array, Product, Reference, run_reference

_TYPES = {"fp16": (np.float16, 2.0**-10), "bf16": (ml_dtypes.bfloat16, 2.0**-7)}  # with the spacing of numbers at 1


def rounding_noise(
    spec: ModelSpec, weights: Weights, inputs: NDArray[np.generic], reference: Reference, precision: Precision
) -> float:
    """The largest error that a precision, other than fp32, makes on these inputs: see `Reference.noise`.

    inputs: (B, T, C) or tokens (B, T). reference: of the same inputs, in float64.
    """
    if precision == "int8":
        return reference.noise(run_reference(spec, dequantised(weights), inputs).outputs)
    kind, epsilon = _TYPES[precision]
    with np.errstate(over="ignore", invalid="ignore"):
        found = run_reference(spec, weights, inputs, precision=np.float32, product=rounding_product(kind))
    return reference.noise(found.outputs, epsilon)


def dequantised(weights: Weights) -> Weights:
    """The weights as int8 graphs see them: every matrix but the embedding rounded, one scale for each output."""
    found = dict(weights)
    for name, value in weights.items():
        if value.ndim == 2 and not name.startswith("embedding"):
            values, scale = quantised(value, axis=0)
            found[name] = values.astype(np.float32) * scale[:, None]
    return found


def rounding_product(kind: type) -> Product:
    """The product with both operands and the result rounded to `kind`, and accumulated in float32."""

    def rounded(x: Array) -> Array:
        narrow: Array = x.astype(kind).astype(np.float32)
        return narrow

    return lambda x, w: rounded(rounded(x) @ rounded(w))

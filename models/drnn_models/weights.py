"""Weights as NumPy arrays, checked against a spec. The form in which torch, export and the runtimes exchange them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_models.baseline_specs import NetworkSpec

Weights = dict[str, NDArray[np.float32]]


def check_weights(spec: NetworkSpec, weights: Mapping[str, NDArray[np.generic]]) -> Weights:
    """Check weights against a spec.

    Args:
        spec: The network.
        weights: Name -> array, as `weight_shapes` of the spec says, of any floating type.

    Returns:
        The weights as contiguous float32, in the spec's order.

    Raises:
        InputError: They are too large, or a weight is missing, unexpected, misshapen, not floating point or not finite.
            The message names it.
    """
    if not isinstance(weights, Mapping):
        what = f"weights must be a dictionary of arrays, got {type(weights).__name__}"
        raise InputError(what, "Of a module they are module.state_dict().")
    shapes = spec.weight_shapes()
    if (size := 4 * sum(map(math.prod, shapes.values()))) > bounds.UNPACKED:
        raise InputError(
            f"the spec's weights take {bounds.shown_bytes(size)}, and at most {bounds.shown_bytes(bounds.UNPACKED)} "
            "are read",
            "Use fewer hidden units, features or symbols, or an embedding.",
        )
    if other := [name for name in weights if not isinstance(name, str)]:
        raise InputError(f"{other[0]!r:.80} is no name of a weight", "Of a module all of them are module.state_dict().")
    if missing := sorted(set(shapes) - set(weights)):
        what = f"the weights lack {missing[0]!r}, which the spec calls for ({len(missing)} missing in all)"
        raise InputError(what, "Of a module all of them are module.state_dict().")
    if unexpected := sorted(set(weights) - set(shapes)):
        what = f"the weights hold {unexpected[0]!r}, which the spec does not have ({len(unexpected)} in all)"
        raise InputError(what, "Take the spec of the same module: module.spec.")
    checked: Weights = {}
    for name, shape in shapes.items():
        value = weights[name]
        if not isinstance(value, np.ndarray):
            raise InputError(f"weight {name!r} must be an array, got {type(value).__name__}", "Make it: numpy.asarray.")
        if value.shape != shape:
            what = f"weight {name!r} has shape {value.shape}, the spec says {shape}"
            raise InputError(what, "Take the spec of the same module: module.spec.")
        checked[name] = as_float32(name, value)
    return checked


def as_float32(name: str, value: NDArray[np.generic]) -> NDArray[np.float32]:
    """Convert one weight.

    Args:
        name: For the message.
        value: Of any floating type and shape.

    Returns:
        The weight as contiguous float32.

    Raises:
        InputError: It is not floating point, or not finite in float32.
    """
    if value.dtype.kind != "f":
        raise InputError(f"weight {name!r} has type {value.dtype}, expected a floating-point type")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused below
        narrow = np.ascontiguousarray(value, dtype=np.float32)
    if bad := value.size - np.count_nonzero(np.isfinite(narrow)):
        raise InputError(f"weight {name!r} holds {bad} values that are NaN or infinite: the training diverged")
    return np.require(narrow, requirements=["WRITEABLE"])  # as torch takes it

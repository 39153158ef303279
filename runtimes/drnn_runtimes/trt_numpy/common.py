"""What the modules that evaluate TensorRT's network layers share: types, and the errors that name a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS
from drnn_runtimes.trt.bindings import data_type

Array = NDArray[Any]
Inputs = Sequence[Array | None]
Function = Callable[[Inputs], Array]
Constants = Callable[[], Mapping[str, Array]]
Entry = TypeVar("Entry")
FIX = "Check with another runtime."


def dtype_of(tensor: Any) -> np.dtype[Any]:
    """NumPy's type of an ITensor.

    Raises:
        InputError: NumPy lacks the type.
    """
    name = data_type(tensor.dtype)
    for info in PRECISIONS.values():
        if name == info.dtype:
            return info.numpy
    try:
        return np.dtype(name)
    except TypeError as error:
        raise InputError(f"tensor {tensor.name!r} is {name}, which is not evaluated here") from error


def refused(layer: Any, reason: str) -> InputError:
    """Make the error that names the layer.

    Args:
        layer: An `ILayer` of TensorRT's network.
        reason: Why it is not evaluated, as a phrase.

    Returns:
        The error, to raise.
    """
    return InputError(f"layer {layer.name!r} of TensorRT's network: {reason}", FIX)


def present(value: Array | None) -> Array:
    """The value of an input that must be there."""
    if value is None:
        raise InputError("a layer of TensorRT's network lacks an input", FIX)
    return value


def look_up(layer: Any, known: Mapping[str, Entry], operation: Any) -> Entry:
    """Look up an operation.

    Args:
        layer: The layer, for the message.
        known: Name -> what is known of it.
        operation: An enum of NVIDIA's.

    Raises:
        InputError: It is not known.
    """
    name = str(operation.name)
    if name not in known:
        raise refused(layer, f"operation {name} is not evaluated")
    return known[name]


def as_type(layer: Any, value: Array, kind: np.dtype[Any]) -> Array:
    """Convert a value to another type.

    Args:
        layer: Named in the error.
        value: Any shape, float, integer or bool.
        kind: The type to convert to; an integer type truncates towards zero.

    Returns:
        The value in that type, of the same shape.

    Raises:
        InputError: A float is not held by the integer type.
    """
    if kind.kind in "iu" and value.dtype.kind not in "iub":
        bounds, truncated = np.iinfo(kind), np.trunc(value.astype(np.float64))
        if not ((truncated >= bounds.min) & (truncated <= bounds.max)).all():
            raise refused(layer, f"it turns a number into {kind} that {kind} does not hold")
    return value.astype(kind)


def fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    """Whether a shape is the declared one, where -1 is any size.

    Args:
        shape: A value's shape.
        declared: What the network declares.
    """
    return len(shape) == len(declared) and all(want in (-1, got) for got, want in zip(shape, declared, strict=True))

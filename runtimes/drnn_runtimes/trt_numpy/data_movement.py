"""TensorRT's layers that move values and compute none, in NumPy: shuffle, slice, gather, concatenation and their like.

Each function reads a layer once and gives what it computes, as `drnn_runtimes.trt_numpy.layers` says. Source: the
TensorRT operators' reference (I...Layer classes of the Python API).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_runtimes.trt_numpy.common import (
    Array,
    Constants,
    Function,
    Inputs,
    as_type,
    dtype_of,
    look_up,
    present,
    refused,
)

Indices = NDArray[np.int64]


def constant(layer: Any, constants: Constants) -> Function:
    """Its weights. NVIDIA's Python API shows only those of types that NumPy has itself, which leaves bfloat16 out.

    Args:
        layer: NVIDIA's layer.
        constants: The graph's own by name, for types that the API leaves out.

    Raises:
        InputError: The weights cannot be read.
    """
    kind, held, shape = dtype_of(layer.get_output(0)), layer.weights, tuple(layer.shape)
    if isinstance(held, np.ndarray):
        held = held.reshape(shape)
    else:
        held = constants().get(layer.name)
        if held is None or held.dtype != kind or held.shape != shape:
            raise refused(layer, f"its {kind} weights cannot be read: the graph has none of that name and shape")
    value = held.astype(kind)
    return lambda inputs: value


def shuffle(layer: Any) -> Function:
    """Transpose, reshape (0: the input's size, where the layer says so; -1: what is left), transpose."""
    given, placeholder = layer.reshape_dims, layer.zero_is_placeholder
    dims = None if given is None else tuple(given)
    first, second = tuple(layer.first_transpose), tuple(layer.second_transpose)
    dynamic = layer.num_inputs > 1

    def function(inputs: Inputs) -> Array:
        value = present(inputs[0])
        value = value.transpose(first[: value.ndim])
        shape = tuple(int(size) for size in present(inputs[1])) if dynamic else dims
        if shape is not None:
            if placeholder:
                shape = tuple(value.shape[axis] if size == 0 else size for axis, size in enumerate(shape))
            value = value.reshape(shape)
        return value.transpose(second[: value.ndim])

    return function


def slice_(layer: Any) -> Function:
    """Start, size and stride along some or all axes, each static or an input; what lies outside is up to the mode."""
    outside = look_up(layer, _OUTSIDE, layer.mode)
    given = [layer.start, layer.shape, layer.stride, None, getattr(layer, "axes", None)]  # 10.3 has no axes
    static = [None if value is None else tuple(value) for value in given]

    def function(inputs: Inputs) -> Array:
        value, extra = present(inputs[0]), [*inputs[1:], *[None] * 5]

        def chosen(which: int) -> tuple[int, ...] | None:
            dynamic = extra[which]
            return static[which] if dynamic is None else tuple(int(size) for size in dynamic)

        axes = chosen(4)
        bounds = [chosen(which) or () for which in range(3)]
        fill = np.zeros((), value.dtype) if extra[3] is None else extra[3]
        for axis, start, size, stride in zip(range(value.ndim) if axes is None else axes, *bounds, strict=True):
            value = _along(layer, value, axis, (start, size, stride), outside, fill)
        return value

    return function


def _along(
    layer: Any,
    value: Array,
    axis: int,
    bounds: tuple[int, int, int],
    outside: Callable[[Indices, int], Indices] | None,
    fill: Array,
) -> Array:
    """`value` from start in steps of stride, size times, along one axis."""
    (start, size, stride), length = bounds, value.shape[axis]
    if stride > 0 and start >= 0 and start + (size - 1) * stride < length:
        axis %= value.ndim
        return value[(slice(None),) * axis + (slice(start, start + size * stride, stride),)]
    indices = start + stride * np.arange(size)
    inside = (indices >= 0) & (indices < length)
    if inside.all():
        return value.take(indices, axis)
    if outside is None or not length:
        raise refused(layer, f"it reads outside of its input along axis {axis}")
    taken = value.take(outside(indices, length), axis)
    if outside is not _first:
        return taken
    return np.where(
        inside.reshape([-1 if other == axis % value.ndim else 1 for other in range(value.ndim)]), taken, fill
    )


def _first(indices: Indices, length: int) -> Indices:
    return np.where((indices >= 0) & (indices < length), indices, 0)


def _reflected(indices: Indices, length: int) -> Indices:
    folded = indices % max(2 * length - 2, 1)
    return np.minimum(folded, 2 * length - 2 - folded)


_OUTSIDE: dict[str, Callable[[Indices, int], Indices] | None] = {
    "STRICT_BOUNDS": None,
    "FILL": _first,
    "CLAMP": lambda indices, length: np.clip(indices, 0, length - 1),
    "WRAP": lambda indices, length: indices % length,
    "REFLECT": _reflected,
}


def concatenation(layer: Any) -> Function:
    """Along one axis."""
    axis = layer.axis
    return lambda inputs: np.concatenate([present(value) for value in inputs], axis=axis)


def padding(layer: Any) -> Function:
    """Zeros around the last two axes; a negative number cuts off."""
    pairs = list(zip(tuple(layer.pre_padding_nd), tuple(layer.post_padding_nd), strict=True))

    def function(inputs: Inputs) -> Array:
        value = present(inputs[0])
        for axis, (before, after) in enumerate(pairs, start=value.ndim - len(pairs)):
            size = value.shape[axis] + before + after
            value = _along(layer, value, axis, (-before, size, 1), _first, np.zeros((), value.dtype))
        return value

    return function


def shape(layer: Any) -> Function:
    """The input's shape."""
    return lambda inputs: np.array(present(inputs[0]).shape, np.int64)


def unsqueeze(layer: Any) -> Function:
    """New axes of size 1."""
    return lambda inputs: np.expand_dims(present(inputs[0]), tuple(int(a) for a in present(inputs[1]).ravel()))


def squeeze(layer: Any) -> Function:
    """Without some axes of size 1."""
    return lambda inputs: np.squeeze(present(inputs[0]), tuple(int(a) for a in present(inputs[1]).ravel()))


def gather(layer: Any) -> Function:
    """Rows along one axis. NVIDIA gives indices below 0 or past the end no meaning, so they are refused."""
    if str(layer.mode.name) != "DEFAULT" or layer.num_elementwise_dims:
        raise refused(layer, f"gathers of mode {layer.mode.name} are not evaluated")
    axis = layer.axis

    def function(inputs: Inputs) -> Array:
        data, indices = present(inputs[0]), present(inputs[1])
        _check_indices(layer, indices, data.shape[axis])
        return data.take(indices, axis)

    return function


def one_hot(layer: Any) -> Function:
    """Inputs: indices, [off, on], depth. Indices outside of the depth are refused as those of a gather are."""
    axis = layer.axis

    def function(inputs: Inputs) -> Array:
        indices, values, depth = (present(value) for value in inputs)
        _check_indices(layer, indices, int(depth))
        hot = np.arange(int(depth)) == np.expand_dims(indices, -1)
        return np.moveaxis(np.where(hot, values[1], values[0]), -1, axis)

    return function


def _check_indices(layer: Any, indices: Array, length: int) -> None:
    if indices.size and not 0 <= indices.min() <= indices.max() < length:
        raise refused(layer, f"an index lies outside of 0 to {length - 1}, which NVIDIA gives no meaning")


def select(layer: Any) -> Function:
    """The second input where the first is true, else the third."""
    return lambda inputs: np.where(*(present(value) for value in inputs))


def fill(layer: Any) -> Function:
    """A start, and from there one delta for each axis. Inputs, where they are not static: shape, start, deltas."""
    if str(layer.operation.name) != "LINSPACE":
        raise refused(layer, f"fills of kind {layer.operation.name} are not evaluated")
    kind, dims = dtype_of(layer.get_output(0)), None if layer.shape is None else tuple(layer.shape)
    static = np.array(layer.alpha), np.array([layer.beta])

    def function(inputs: Inputs) -> Array:
        given, start, deltas = (*inputs, *[None] * 3)[:3]
        sizes = dims if given is None else tuple(int(size) for size in given)
        if sizes is None:
            raise refused(layer, "it has no shape")
        start, deltas = static[0] if start is None else start, static[1] if deltas is None else deltas
        if deltas.shape != (len(sizes),):
            raise refused(layer, f"it has deltas of shape {deltas.shape} for an output of shape {sizes}")
        value = sum((delta * index for delta, index in zip(deltas, np.indices(sizes, sparse=True), strict=True)), start)
        return as_type(layer, np.broadcast_to(value, sizes), kind)

    return function

"""TensorRT's network layers in NumPy: for each kind that our graphs become, what it computes.

`layer_function` reads a layer of an `INetworkDefinition` once and gives a function of arrays. What is not evaluated
exactly as NVIDIA's documentation of the layer says is refused, never guessed. Floats narrower than 32 bits are computed
in float32 and rounded once, as kernels with a wide accumulator do. Source: the TensorRT operators' reference
(I...Layer classes of the Python API).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_models.cuda import data_type
from drnn_models.errors import InputError

Array = NDArray[Any]
Inputs = Sequence[Array | None]
Function = Callable[[Inputs], Array]
Constants = Callable[[], Mapping[str, Array]]

_ELEMENTWISE: dict[str, Callable[[Array, Array], Array]] = {
    "SUM": np.add,
    "PROD": np.multiply,
    "SUB": np.subtract,
    "MAX": np.maximum,
    "MIN": np.minimum,
    "POW": np.power,
    "AND": np.logical_and,
    "OR": np.logical_or,
    "XOR": np.logical_xor,
    "EQUAL": np.equal,
    "GREATER": np.greater,
    "LESS": np.less,
    "FLOOR_DIV": np.floor_divide,
    "DIV": lambda x, y: np.divide(x, y) if x.dtype.kind == "f" else np.trunc(x / y).astype(x.dtype),
}
_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "TANH": np.tanh,
    "SIGMOID": lambda x: 0.5 * (1 + np.tanh(0.5 * x)),  # no overflow at either end
    "RELU": lambda x: np.maximum(x, 0),
}
_UNARY: dict[str, Callable[[Array], Array]] = {
    "EXP": np.exp,
    "LOG": np.log,
    "SQRT": np.sqrt,
    "RECIP": np.reciprocal,
    "ABS": np.abs,
    "NEG": np.negative,
    "NOT": np.logical_not,
}
_REDUCE: dict[str, Callable[..., Array]] = {
    "SUM": np.sum,
    "PROD": np.prod,
    "MAX": np.max,
    "MIN": np.min,
    "AVG": np.mean,
}


def dtype_of(tensor: Any) -> np.dtype[Any]:
    """NumPy's type of an ITensor. Raises `InputError` for one that NumPy has none for."""
    name = data_type(tensor.dtype)
    if name == "bfloat16":
        import ml_dtypes

        kind: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return kind
    try:
        return np.dtype(name)
    except TypeError as error:
        raise InputError(f"tensor {tensor.name!r} is {name}, which is not evaluated here") from error


def layer_function(module: Any, layer: Any, constants: Constants) -> Function:
    """What a layer computes. module: NVIDIA's, for its classes. Raises `InputError` for a layer not known here.

    constants: the graph's own by name, for those of bfloat16, which NVIDIA's Python API does not give out.
    """
    kind = str(layer.type.name)
    if kind == "CONSTANT":
        return _constant(module, layer, constants)
    if kind not in _LAYERS:
        raise refused(layer, f"layers of kind {kind} are not evaluated")
    name, make = _LAYERS[kind]
    layer.__class__ = getattr(module, name)  # the way to a layer's attributes in NVIDIA's Python API
    function = make(layer)
    tensors = (layer.get_input(index) for index in range(layer.num_inputs))
    return _narrow(function) if any(t is not None and dtype_of(t).itemsize == 2 for t in tensors) else function


def refused(layer: Any, reason: str) -> InputError:
    """The error that names the layer."""
    return InputError(f"layer {layer.name!r} of TensorRT's network: {reason}", "Check with another runtime.")


def _narrow(function: Function) -> Function:
    """The function with float16 and bfloat16 arrays widened to float32; `drnn_runtimes.network_program` rounds."""

    def widened(inputs: Inputs) -> Array:
        return function([_wide(value) for value in inputs])

    return widened


def _wide(value: Array | None) -> Array | None:
    if value is not None and value.dtype.itemsize == 2 and value.dtype.kind in "fV":
        return value.astype(np.float32)
    return value


def _constant(module: Any, layer: Any, constants: Constants) -> Function:
    name, kind = layer.name, dtype_of(layer.get_output(0))
    layer.__class__ = module.IConstantLayer
    weights, shape = layer.weights, tuple(layer.shape)
    if not isinstance(weights, np.ndarray):
        if name not in constants():
            raise refused(layer, f"its {kind} values cannot be read")
        weights = constants()[name]
    value = np.array(weights).reshape(shape).astype(kind)
    return lambda inputs: value


def _shuffle(layer: Any) -> Function:
    given, placeholder = layer.reshape_dims, layer.zero_is_placeholder
    dims = None if given is None else tuple(given)
    first, second = tuple(layer.first_transpose), tuple(layer.second_transpose)
    dynamic = layer.num_inputs > 1

    def shuffle(inputs: Inputs) -> Array:
        value = _present(inputs[0])
        value = value.transpose(first[: value.ndim])
        shape = tuple(int(size) for size in _present(inputs[1])) if dynamic else dims
        if shape is not None:
            if placeholder:
                shape = tuple(value.shape[axis] if size == 0 else size for axis, size in enumerate(shape))
            value = value.reshape(shape)
        return value.transpose(second[: value.ndim])

    return shuffle


def _slice(layer: Any) -> Function:
    mode = str(layer.mode.name)
    if mode not in ("STRICT_BOUNDS", "FILL"):
        raise refused(layer, f"slices of mode {mode} are not evaluated")
    chosen = None if layer.axes is None else tuple(layer.axes)
    present = [layer.get_input(index) is not None for index in range(layer.num_inputs)]
    present += [False] * (6 - len(present))
    static = [None if value is None else tuple(value) for value in (layer.start, layer.shape, layer.stride)]
    if present[5]:
        raise refused(layer, "slices along axes that are computed are not evaluated")

    def cut(inputs: Inputs) -> Array:
        value = _present(inputs[0])
        bounds = [
            [int(size) for size in _present(inputs[1 + which])] if present[1 + which] else list(static[which] or ())
            for which in range(3)
        ]
        axes = chosen or tuple(range(value.ndim))
        fill = _present(inputs[4]) if present[4] else np.zeros((), value.dtype)
        for axis, start, size, stride in zip(axes, *bounds, strict=True):
            value = _along(layer, value, axis, start + stride * np.arange(size), mode, fill)
        return value

    return cut


def _along(layer: Any, value: Array, axis: int, indices: NDArray[np.int64], mode: str, fill: Array) -> Array:
    """`value` at `indices` along one axis; indices outside are an error, or are filled."""
    inside = (indices >= 0) & (indices < value.shape[axis])
    if inside.all():
        return value.take(indices, axis)
    if mode != "FILL":
        raise refused(layer, f"it reads outside of its input along axis {axis}")
    taken = value.take(np.where(inside, indices, 0), axis)
    mask = inside.reshape([-1 if each == axis else 1 for each in range(value.ndim)])
    return np.where(mask, taken, fill)


def _concatenation(layer: Any) -> Function:
    axis = layer.axis
    return lambda inputs: np.concatenate([_present(value) for value in inputs], axis=axis)


def _elementwise(layer: Any) -> Function:
    operation = _found(layer, _ELEMENTWISE, layer.op)
    return lambda inputs: operation(_present(inputs[0]), _present(inputs[1]))


def _activation(layer: Any) -> Function:
    operation = _found(layer, _ACTIVATIONS, layer.type)
    return lambda inputs: operation(_present(inputs[0]))


def _unary(layer: Any) -> Function:
    operation = _found(layer, _UNARY, layer.op)
    return lambda inputs: operation(_present(inputs[0]))


def _reduce(layer: Any) -> Function:
    operation, keep = _found(layer, _REDUCE, layer.op), bool(layer.keep_dims)
    axes = tuple(axis for axis in range(8) if layer.axes >> axis & 1)
    kind = dtype_of(layer.get_output(0))
    return lambda inputs: operation(_present(inputs[0]), axis=axes, keepdims=keep).astype(kind)


def _matrix_multiply(layer: Any) -> Function:
    def oriented(operation: Any) -> Callable[[Array], Array]:
        name = str(operation.name)
        if name not in ("NONE", "TRANSPOSE"):
            raise refused(layer, f"products with an operand of kind {name} are not evaluated")
        return (lambda x: x.swapaxes(-1, -2)) if name == "TRANSPOSE" else (lambda x: x)

    left, right = oriented(layer.op0), oriented(layer.op1)
    return lambda inputs: np.matmul(left(_present(inputs[0])), right(_present(inputs[1])))


def _cast(layer: Any) -> Function:
    kind = dtype_of(layer.get_output(0))
    return lambda inputs: _present(inputs[0]).astype(kind)


def _shape(layer: Any) -> Function:
    return lambda inputs: np.array(_present(inputs[0]).shape, np.int64)


def _unsqueeze(layer: Any) -> Function:
    return lambda inputs: np.expand_dims(_present(inputs[0]), tuple(int(a) for a in _present(inputs[1]).ravel()))


def _squeeze(layer: Any) -> Function:
    return lambda inputs: np.squeeze(_present(inputs[0]), tuple(int(a) for a in _present(inputs[1]).ravel()))


def _gather(layer: Any) -> Function:
    if str(layer.mode.name) != "DEFAULT" or layer.num_elementwise_dims:
        raise refused(layer, f"gathers of mode {layer.mode.name} are not evaluated")
    axis = layer.axis

    def gather(inputs: Inputs) -> Array:
        data, indices = _present(inputs[0]), _present(inputs[1])
        if indices.size and not -data.shape[axis] <= indices.min() <= indices.max() < data.shape[axis]:
            raise refused(layer, f"an index lies outside of axis {axis}")
        return data.take(indices, axis)

    return gather


def _one_hot(layer: Any) -> Function:
    axis = layer.axis

    def one_hot(inputs: Inputs) -> Array:
        indices, values, depth = (_present(value) for value in inputs)
        hot = np.arange(int(depth)) == np.expand_dims(indices, -1)
        return np.moveaxis(np.where(hot, values[1], values[0]), -1, axis)

    return one_hot


def _select(layer: Any) -> Function:
    return lambda inputs: np.where(*(_present(value) for value in inputs))


def _dequantize(layer: Any) -> Function:
    axis = layer.axis

    def dequantize(inputs: Inputs) -> Array:
        value, scale = _present(inputs[0]), _present(inputs[1])
        if scale.ndim == 1 and scale.size > 1:
            scale = scale.reshape([-1 if each == axis else 1 for each in range(value.ndim)])
        return value.astype(np.float32) * scale

    return dequantize


def _present(value: Array | None) -> Array:
    if value is None:
        raise InputError("a layer of TensorRT's network lacks an input", "Check with another runtime.")
    return value


def _found(layer: Any, known: dict[str, Any], operation: Any) -> Any:
    if str(operation.name) not in known:
        raise refused(layer, f"operation {operation.name} is not evaluated")
    return known[str(operation.name)]


_LAYERS: dict[str, tuple[str, Callable[[Any], Function]]] = {
    "ACTIVATION": ("IActivationLayer", _activation),
    "CAST": ("ICastLayer", _cast),
    "CONCATENATION": ("IConcatenationLayer", _concatenation),
    "DEQUANTIZE": ("IDequantizeLayer", _dequantize),
    "ELEMENTWISE": ("IElementWiseLayer", _elementwise),
    "GATHER": ("IGatherLayer", _gather),
    "IDENTITY": ("IIdentityLayer", _cast),
    "MATRIX_MULTIPLY": ("IMatrixMultiplyLayer", _matrix_multiply),
    "ONE_HOT": ("IOneHotLayer", _one_hot),
    "REDUCE": ("IReduceLayer", _reduce),
    "SELECT": ("ISelectLayer", _select),
    "SHAPE": ("IShapeLayer", _shape),
    "SHUFFLE": ("IShuffleLayer", _shuffle),
    "SLICE": ("ISliceLayer", _slice),
    "SQUEEZE": ("ISqueezeLayer", _squeeze),
    "UNARY": ("IUnaryLayer", _unary),
    "UNSQUEEZE": ("IUnsqueezeLayer", _unsqueeze),
}

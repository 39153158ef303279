"""TensorRT's network layers in NumPy: for each kind that our graphs become, what it computes.

`layer_function` reads a layer of an `INetworkDefinition` once and gives a function of arrays. What is not evaluated
exactly as NVIDIA's documentation of the layer says is refused, never guessed. Floats narrower than 32 bits are computed
in float32 and rounded once, as kernels with a wide accumulator do. Source: the TensorRT operators' reference
(I...Layer classes of the Python API).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from drnn_runtimes.trt_numpy import data_movement
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
    "DIV": lambda x, y: np.divide(x, y) if x.dtype.kind == "f" else _towards_zero(x, y),
}
_ACTIVATIONS: dict[str, Callable[[Array, float, float], Array]] = {
    "TANH": lambda x, alpha, beta: np.tanh(x),
    "SIGMOID": lambda x, alpha, beta: 1 / (1 + np.exp(-x)),  # of large -x: 1 / infinity, which is right
    "RELU": lambda x, alpha, beta: np.maximum(x, 0),
    "LEAKY_RELU": lambda x, alpha, beta: np.where(x >= 0, x, alpha * x),
    "ELU": lambda x, alpha, beta: np.where(x >= 0, x, alpha * np.expm1(x)),
    "CLIP": lambda x, alpha, beta: np.clip(x, alpha, beta),
    "HARD_SIGMOID": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "SCALED_TANH": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "SOFTSIGN": lambda x, alpha, beta: x / (1 + np.abs(x)),
    "THRESHOLDED_RELU": lambda x, alpha, beta: np.where(x > alpha, x, 0),
    "SOFTPLUS": lambda x, alpha, beta: alpha * np.logaddexp(np.float32(0), beta * x),
}
_UNARY: dict[str, Callable[[Array], Array]] = {
    "EXP": np.exp,
    "LOG": np.log,
    "SQRT": np.sqrt,
    "RECIP": np.reciprocal,
    "ABS": np.abs,
    "NEG": np.negative,
    "SIN": np.sin,
    "COS": np.cos,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "ROUND": np.rint,
    "SIGN": np.sign,
    "ISINF": np.isinf,
    "ISNAN": np.isnan,
    "NOT": np.logical_not,
}
_REDUCE: dict[str, Callable[..., Array]] = {
    "SUM": np.sum,
    "PROD": np.prod,
    "MAX": np.max,
    "MIN": np.min,
    "AVG": np.mean,
}


def layer_function(module: Any, layer: Any, constants: Constants) -> Function:
    """Find what a layer computes.

    Args:
        module: NVIDIA's, for its classes.
        layer: NVIDIA's layer.
        constants: The graph's own by name, for those of bfloat16, which NVIDIA's Python API does not give out.

    Raises:
        InputError: Layers of this kind are not evaluated.
    """
    kind = str(layer.type.name)
    if kind == "CONSTANT":
        layer.__class__ = module.IConstantLayer
        return data_movement.constant(layer, constants)
    if kind not in _LAYERS:
        raise refused(layer, f"layers of kind {kind} are not evaluated")
    name, make = _LAYERS[kind]
    layer.__class__ = getattr(module, name)  # the way to a layer's attributes in NVIDIA's Python API
    function = make(layer)
    tensors = (layer.get_input(index) for index in range(layer.num_inputs))
    return _narrow(function) if any(t is not None and _is_narrow(dtype_of(t)) for t in tensors) else function


def _narrow(function: Function) -> Function:
    """The function with float16 and bfloat16 arrays widened to float32; `drnn_runtimes.trt_numpy.program` rounds."""

    def widened(inputs: Inputs) -> Array:
        return function([_wide(value) for value in inputs])

    return widened


def _wide(value: Array | None) -> Array | None:
    return value.astype(np.float32) if value is not None and _is_narrow(value.dtype) else value


def _is_narrow(kind: np.dtype[Any]) -> bool:
    return kind.itemsize == 2 and kind.kind in "fV"  # V: bfloat16, which is none of NumPy's own


def _towards_zero(x: Array, y: Array) -> Array:
    quotient = np.floor_divide(x, y)
    quotient += ((x % y) != 0) & ((x < 0) != (y < 0))
    return quotient


def _elementwise(layer: Any) -> Function:
    operation, divides = look_up(layer, _ELEMENTWISE, layer.op), str(layer.op.name) in ("DIV", "FLOOR_DIV")

    def function(inputs: Inputs) -> Array:
        left, right = present(inputs[0]), present(inputs[1])
        if divides and right.dtype.kind in "iu" and not right.all():
            raise refused(layer, "it divides an integer by zero")
        return operation(left, right)

    return function


def _activation(layer: Any) -> Function:
    operation, alpha, beta = look_up(layer, _ACTIVATIONS, layer.type), layer.alpha, layer.beta
    return lambda inputs: operation(present(inputs[0]), alpha, beta)


def _unary(layer: Any) -> Function:
    operation = look_up(layer, _UNARY, layer.op)
    return lambda inputs: operation(present(inputs[0]))


def _axes(layer: Any) -> tuple[int, ...]:
    return tuple(axis for axis in range(8) if layer.axes >> axis & 1)


def _reduce(layer: Any) -> Function:
    operation, keep, axes = look_up(layer, _REDUCE, layer.op), bool(layer.keep_dims), _axes(layer)
    kind = dtype_of(layer.get_output(0))
    return lambda inputs: operation(present(inputs[0]), axis=axes, keepdims=keep).astype(kind)


def _softmax(layer: Any) -> Function:
    axes = _axes(layer)

    def function(inputs: Inputs) -> Array:
        value = present(inputs[0])
        value = np.exp(value - value.max(axis=axes, keepdims=True))
        result: Array = value / value.sum(axis=axes, keepdims=True)
        return result

    return function


def _matrix_multiply(layer: Any) -> Function:
    def oriented(operation: Any) -> Callable[[Array], Array]:
        name = str(operation.name)
        if name not in ("NONE", "TRANSPOSE"):
            raise refused(layer, f"products with an operand of kind {name} are not evaluated")
        return (lambda x: x.swapaxes(-1, -2)) if name == "TRANSPOSE" else (lambda x: x)

    left, right = oriented(layer.op0), oriented(layer.op1)
    return lambda inputs: np.matmul(left(present(inputs[0])), right(present(inputs[1])))


def _cast(layer: Any) -> Function:
    kind = dtype_of(layer.get_output(0))
    return lambda inputs: as_type(layer, present(inputs[0]), kind)


def _quantize(layer: Any) -> Function:
    if dtype_of(layer.get_output(0)) != np.int8:
        raise refused(layer, f"quantising to {dtype_of(layer.get_output(0))} is not evaluated")
    axis = layer.axis

    def function(inputs: Inputs) -> Array:
        scaled = np.rint(present(inputs[0]) / _scale(layer, axis, inputs))
        if np.isnan(scaled).any():
            raise refused(layer, "it quantises NaN")
        return np.clip(scaled, -128, 127).astype(np.int8)

    return function


def _dequantize(layer: Any) -> Function:
    if dtype_of(layer.get_input(0)) != np.int8:
        raise refused(layer, f"dequantising from {dtype_of(layer.get_input(0))} is not evaluated")
    axis = layer.axis
    return lambda inputs: present(inputs[0]).astype(np.float32) * _scale(layer, axis, inputs)


def _scale(layer: Any, axis: int, inputs: Inputs) -> Array:
    """The scale of every element. Inputs: values, one scale or one for each place along the axis, zero points of 0."""
    value, scale = present(inputs[0]), present(inputs[1])
    if len(inputs) > 2 and present(inputs[2]).any():
        raise refused(layer, "zero points other than 0 are not evaluated")
    if scale.size == 1:
        return scale.reshape(())
    if scale.shape != (value.shape[axis],):
        raise refused(layer, f"scales of shape {scale.shape}, in blocks, are not evaluated")
    return scale.reshape([-1 if other == axis % value.ndim else 1 for other in range(value.ndim)])


_LAYERS: dict[str, tuple[str, Callable[[Any], Function]]] = {
    "ACTIVATION": ("IActivationLayer", _activation),
    "CAST": ("ICastLayer", _cast),
    "CONCATENATION": ("IConcatenationLayer", data_movement.concatenation),
    "DEQUANTIZE": ("IDequantizeLayer", _dequantize),
    "ELEMENTWISE": ("IElementWiseLayer", _elementwise),
    "FILL": ("IFillLayer", data_movement.fill),
    "GATHER": ("IGatherLayer", data_movement.gather),
    "IDENTITY": ("IIdentityLayer", _cast),
    "MATRIX_MULTIPLY": ("IMatrixMultiplyLayer", _matrix_multiply),
    "ONE_HOT": ("IOneHotLayer", data_movement.one_hot),
    "PADDING": ("IPaddingLayer", data_movement.padding),
    "QUANTIZE": ("IQuantizeLayer", _quantize),
    "REDUCE": ("IReduceLayer", _reduce),
    "SELECT": ("ISelectLayer", data_movement.select),
    "SHAPE": ("IShapeLayer", data_movement.shape),
    "SHUFFLE": ("IShuffleLayer", data_movement.shuffle),
    "SLICE": ("ISliceLayer", data_movement.slice_),
    "SOFTMAX": ("ISoftMaxLayer", _softmax),
    "SQUEEZE": ("ISqueezeLayer", data_movement.squeeze),
    "UNARY": ("IUnaryLayer", _unary),
    "UNSQUEEZE": ("IUnsqueezeLayer", data_movement.unsqueeze),
}

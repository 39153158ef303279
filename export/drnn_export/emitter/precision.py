"""A float32 graph retyped: matrix products in float16 or bfloat16, or with int8 weights; all else stays float32.

1. A product (MatMul, Gemm) reads its operands rounded to the narrow type and gives its result rounded to it; what a
   Gemm adds is added in float32 afterwards. So biases, gates, nonlinearities, the LSTM's cell state and every state
   that goes in and out are float32, and no error is carried from step to step but through h.
2. An operator (RNN, GRU, LSTM) has all its inputs and outputs in float16, its inside too: that is how it is defined.
   In bfloat16 there is none: NVIDIA's parser refuses the GRU.
3. With int8 weights, constant matrices of products and operators are int8 with one scale per output (symmetric,
   largest value at 127), and a DequantizeLinear before their use. Biases stay float32. The matrix of a MatMul has a
   leading axis of 1: without it, ONNX Runtime's CPU turns the two nodes into a MatMulNBits that rounds the other factor
   to int8 as well.

Inputs and outputs of the graph keep their types.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from drnn_core.types import PRECISIONS, Precision, PrecisionInfo
from drnn_models.cells import CELLS
from drnn_runtimes.reference.low_precision import quantised

_OPERATORS = {info.operator for info in CELLS.values()}
Constants = dict[str, onnx.TensorProto]


def retyped(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, onnx.TensorProto], precision: Precision
) -> tuple[list[onnx.NodeProto], Constants]:
    """Set the precision of a graph's matrix products.

    Args:
        nodes: The nodes of a float32 graph.
        constants: Its constants by name.
        precision: The precision; "fp32" leaves the graph as it is.

    Returns:
        The nodes of the same graph in that precision, and constants: all that it has, and some of the float32 graph.
    """
    if precision == "fp32":
        return list(nodes), dict(constants)
    info = PRECISIONS[precision]
    pass_ = _Int8(constants) if info.weights_only else _Narrow(constants, info)
    pass_.add_all(nodes)
    return pass_.nodes, pass_.constants


class _Pass(abc.ABC):
    """A graph in another precision: its nodes and constants so far."""

    def __init__(self, constants: Mapping[str, onnx.TensorProto]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants = dict(constants)

    def add_all(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Add what nodes become, in order; a node with a body stays, and its body changes."""
        for node in nodes:
            if node.op_type == "Loop":
                self.nodes.append(self._with_body(node))
            else:
                self.add(node)

    @abc.abstractmethod
    def add(self, node: onnx.NodeProto) -> None:
        """Add what a node without a body becomes."""

    def _with_body(self, node: onnx.NodeProto) -> onnx.NodeProto:
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        body = next(attribute.g for attribute in changed.attribute if attribute.name == "body")
        inner = self._inside()
        inner.add_all(list(body.node))
        del body.node[:]
        body.node.extend(inner.nodes)
        return changed

    def _inside(self) -> Self:
        """The pass of a body, which shares the constants."""
        inner = copy.copy(self)
        inner.nodes = []
        return inner


class _Narrow(_Pass):
    """Rules 1 and 2."""

    def __init__(self, constants: Mapping[str, onnx.TensorProto], precision: PrecisionInfo) -> None:
        super().__init__(constants)
        self._kind, self._dtype = TensorProto.DataType.Value(precision.onnx), precision.numpy
        self._narrow: dict[str, str] = {}  # value -> the same in the narrow type

    def _inside(self) -> Self:
        inner = super()._inside()
        inner._narrow = dict(self._narrow)  # what a body rounds cannot be read outside
        return inner

    def add(self, node: onnx.NodeProto) -> None:
        """Add what the node becomes."""
        if node.op_type == "Gemm":
            self._gemm(node)
        elif node.op_type == "MatMul":
            self._product(node.name, list(node.input), node.output[0])
        elif node.op_type in _OPERATORS:
            self._operator(node)
        else:
            self.nodes.append(node)

    def _gemm(self, node: onnx.NodeProto) -> None:
        left, right, added = node.input
        if any(attribute.name == "transB" and attribute.i for attribute in node.attribute):
            right = self._transposed(right)
        product = f"{node.name}/product"
        self._product(product, [left, right], product)
        self.nodes.append(helper.make_node("Add", [product, added], [node.output[0]], node.name))

    def _product(self, name: str, inputs: list[str], output: str) -> None:
        rounded = f"{name}/rounded"
        self.nodes.append(helper.make_node("MatMul", [self._rounded(value) for value in inputs], [rounded], rounded))
        self._cast(rounded, output, TensorProto.FLOAT, f"{name}/wide")

    def _operator(self, node: onnx.NodeProto) -> None:
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        outputs = [f"{name}/rounded" if name else "" for name in node.output]
        del changed.input[:], changed.output[:]
        changed.input.extend(self._rounded(name) if name else "" for name in node.input)
        changed.output.extend(outputs)
        self.nodes.append(changed)
        for narrow, name in zip(outputs, node.output, strict=True):
            if name:
                self._cast(narrow, name, TensorProto.FLOAT, f"{name}/wide")

    def _rounded(self, value: str) -> str:
        if value not in self._narrow:
            name = f"{value}/narrow"
            if value in self.constants:
                array = numpy_helper.to_array(self.constants[value]).astype(self._dtype)
                self.constants[name] = numpy_helper.from_array(array, name)
            else:
                self._cast(value, name, self._kind, name)
            self._narrow[value] = name
        return self._narrow[value]

    def _transposed(self, constant: str) -> str:
        name = f"{constant}/transposed"
        array = numpy_helper.to_array(self.constants[constant])
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array.T), name)
        return name

    def _cast(self, value: str, output: str, kind: int, name: str) -> None:
        self.nodes.append(helper.make_node("Cast", [value], [output], name, to=kind))


class _Int8(_Pass):
    """Rule 3."""

    def __init__(self, constants: Mapping[str, onnx.TensorProto]) -> None:
        super().__init__(constants)
        self._outermost = self.nodes  # what is made of constants is made once, not at every trip
        self._wide: dict[str, str] = {}  # constant -> what dequantises to it

    def add(self, node: onnx.NodeProto) -> None:
        """Add what the node becomes."""
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        for place in {"MatMul": [1], "Gemm": [1]}.get(node.op_type, [1, 2] if node.op_type in _OPERATORS else []):
            name = node.input[place]
            if name in self.constants:
                columns = node.op_type == "MatMul" or (node.op_type == "Gemm" and not transposed)
                changed.input[place] = self._quantised(name, -1 if columns else -2, stacked=node.op_type == "MatMul")
        self.nodes.append(changed)

    def _quantised(self, name: str, axis: int, *, stacked: bool) -> str:
        """axis: of the outputs, each of which has a scale, from the end. stacked: with a leading axis of 1."""
        if name not in self._wide:
            array = numpy_helper.to_array(self.constants[name])
            array = array[None] if stacked else array
            axis += array.ndim
            values, scale = quantised(array, axis)
            for label, array in (("int8", values), ("scale", scale)):
                self.constants[f"{name}/{label}"] = numpy_helper.from_array(array, f"{name}/{label}")
            wide = f"{name}/dequantised"
            inputs = [f"{name}/int8", f"{name}/scale"]
            self._outermost.append(helper.make_node("DequantizeLinear", inputs, [wide], wide, axis=axis))
            self._wide[name] = wide
        return self._wide[name]

"""The sizes of all tensors of a graph, node by node, as its file tells them, and what they sum to.

Nothing computes the graph: sizes follow from the constants, the inputs and the rules of each operator.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import numpy as np

from drnn_runtimes.bundle.operators import PRODUCTS, REDUCTIONS, is_plain, products_of

if TYPE_CHECKING:
    import onnx

_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}  # of ONNX's plain types
_LARGEST_SIZE = 1 << 31  # sizes and pads beyond it run over where they are added up in 64 bits
_MOST_AXES = 8  # of a tensor; the emitter's have at most four, and NVIDIA's parsers take no more
_SIZED = {"Expand": 0, "OneHot": 0, "Pad": 0, "Reshape": 0, "Slice": 4, "Split": 0}  # -> the first input that says one
_DIVIDING = ("Div", "Mod")  # of whole numbers by 0, or of the least by -1, they end the process
_WHOLE = frozenset((2, 3, 4, 5, 6, 7, 12, 13))  # ONNX's types of them
_PAYLOADS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


class RefusedError(Exception):
    """Why a graph is not taken: the rest of a sentence about it, or about its node."""


class Sizes:
    """The tensors of a graph with their sizes, node by node, and what they sum to.

    Attributes:
        bytes: Of all tensors that nodes make.
        work: Values and products that nodes compute.
        nodes: That are run, those of a loop at every trip, and each trip itself.
    """

    def __init__(self, model: onnx.ModelProto, batch: int, *, with_loops: bool) -> None:
        """Take in the constants and inputs.

        Args:
            model: The parsed model.
            batch: The size of an axis that the file leaves free.
            with_loops: Whether it may hold loops.

        Raises:
            RefusedError: One of them is no dense tensor, or not whole.
        """
        self._versions = {entry.domain: entry.version for entry in model.opset_import}
        self._opsets, self._ir_version = list(model.opset_import), model.ir_version
        self._types: dict[str, onnx.TypeProto] = {}
        self._indices: dict[str, onnx.TensorProto] = {}
        self._far: set[str] = set()  # of them, those with values that are no sizes
        self._with_loops = with_loops
        self.bytes = self.work = self.nodes = 0
        for tensor in model.graph.initializer:
            self._constant(tensor.name, tensor)
        for value in model.graph.input:
            if value.name in self._types:
                raise RefusedError(f"its input {value.name!r:.80} is there already, as a constant or another input")
            self._types[value.name] = _with_batch(value, batch)
            self._count(value.name)

    def __contains__(self, name: str) -> bool:
        return name in self._types

    def add(self, node: onnx.NodeProto) -> None:
        """Take in a node, whose inputs are known.

        Args:
            node: The next one of the graph.

        Raises:
            RefusedError: Its outputs have no size that the file tells.
        """
        import onnx

        loop = self._with_loops and node.op_type == "Loop"
        if node.domain not in ("", "ai.onnx") or not (loop or is_plain(node.op_type)):
            raise RefusedError("is of an operator that no graph of a bundle has")
        if missing := next((name for name in node.input if name and name not in self._types), None):
            raise RefusedError(f"reads {missing!r:.80}, which nothing makes before it")
        if again := next((name for name in node.output if name in self._types), None):
            raise RefusedError(f"makes {again!r:.80}, which is there already")
        self.nodes += 1
        if loop:
            self._loop(node)
            return
        if node.op_type in _SIZED and not self._far.isdisjoint(node.input[_SIZED[node.op_type] :]):
            raise RefusedError("asks for sizes that no tensor has")
        kinds = (self._types[name].tensor_type.elem_type for name in node.input if name)
        if node.op_type in _DIVIDING and not _WHOLE.isdisjoint(kinds) and not self._is_safe(node.input[1]):
            raise RefusedError("divides whole numbers, which may end the process")
        if node.op_type == "Constant":
            value = _value(node)
            self._constant(node.output[0], value)
            return
        for attribute in node.attribute:
            if attribute.type not in (1, 2, 3, 6, 7, 8):  # numbers, text and lists of them
                raise RefusedError(f"has {attribute.name!r:.80}, which is neither numbers nor text")
        try:
            schema = onnx.defs.get_schema(node.op_type, self._versions.get("", 0))
            inferred = onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self._types[name] for name in node.input if name},
                {name: self._indices[name] for name in node.input if name in self._indices},
                opset_imports=self._opsets,
                ir_version=self._ir_version,
            )
        except Exception as error:  # onnx has an exception for each thing that can be wrong with a node
            reason = " ".join(str(error).split())
            raise RefusedError(f"cannot be: {reason:.200}") from error
        self._types.update(inferred)
        for name in filter(None, node.output):
            self.work += self._count(name)
        if node.op_type in REDUCTIONS:
            self.work += sum(math.prod(self._shape(name)) for name in node.input if name)
        if node.op_type in PRODUCTS:
            shapes = [self._shape(name) if name else () for name in node.input]
            products = products_of(node, shapes)
            if products is None:
                raise RefusedError(f"has inputs of sizes {shapes!s:.200}, which do not fit together")
            self.work += products

    def _loop(self, node: onnx.NodeProto) -> None:
        """Take in a loop of a constant number of trips, whose states keep their sizes and which holds no other loop."""
        if [(attribute.name, attribute.type) for attribute in node.attribute] != [("body", 5)]:
            raise RefusedError("holds more than one body")
        body, first = node.attribute[0].g, node.input[2:]
        trips = self._trips(node.input[0] if node.input else "")
        given, made = ([value.name for value in side] for side in (body.input, body.output))
        states, constants = len(first), len(body.initializer) + len(body.sparse_initializer)
        fits = len(given) == states + 2 and states < len(made) == len(node.output) + 1
        if constants or not fits or not all(first):
            raise RefusedError("has a body that does not fit its inputs and outputs")
        inner = copy.copy(self)
        inner._types, inner._indices, inner._far = dict(self._types), dict(self._indices), set(self._far)
        inner._with_loops, inner.bytes, inner.work, inner.nodes = False, 0, 0, 0
        kinds = [_scalar("INT64"), _scalar("BOOL"), *(self._types[name] for name in first)]
        if again := next((name for name in given if name in self._types), None) or len({*given}) < len(given):
            raise RefusedError(f"has a body with an input {again!r:.80}, which is there already")
        inner._types.update(zip(given, kinds, strict=True))
        for inside in body.node:
            inner.add(inside)
        if lost := next((name for name in made if name not in inner), None):
            raise RefusedError(f"has a body in which nothing makes {lost!r:.80}")
        for name, before in zip(made, kinds[1:], strict=False):
            if inner._types[name] != before:
                raise RefusedError(f"has a state {name!r:.80} that changes its size or type")
        for place, (name, inside) in enumerate(zip(node.output, made[1:], strict=True)):
            kind = inner._types[inside]
            if name:
                self._types[name] = kind if place < states else _stacked(kind, trips)
        self.bytes += inner.bytes
        self.work += trips * inner.work + sum(self._count(name) for name in node.output if name)
        self.nodes += trips * (inner.nodes + 1)

    def _is_safe(self, divisor: str) -> bool:
        """Whether it is a constant by which every whole number can be divided: neither 0 nor -1."""
        import onnx

        tensor = self._indices.get(divisor)
        return tensor is not None and not np.isin(onnx.numpy_helper.to_array(tensor), (0, -1)).any()

    def _trips(self, name: str) -> int:
        import onnx

        tensor = self._indices.get(name)
        if tensor is None or len(tensor.dims):
            raise RefusedError("is a loop whose number of trips is no constant")
        return max(0, int(onnx.numpy_helper.to_array(tensor)))

    def _constant(self, name: str, tensor: onnx.TensorProto) -> None:
        import onnx

        if tensor.data_type not in _BYTES:
            raise RefusedError(f"its constant {name!r:.80} is of a type that no graph of a bundle has")
        if len(tensor.dims) > _MOST_AXES:
            raise RefusedError(f"its constant {name!r:.80} has {len(tensor.dims):,} axes")
        values = math.prod(tensor.dims)
        if min(tensor.dims, default=0) < 0 or not _holds(tensor, values):
            raise RefusedError(f"its constant {name!r:.80} does not hold the values of {list(tensor.dims)!s:.80}")
        self._types[name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        if tensor.data_type == onnx.TensorProto.INT64:
            self._indices[name] = tensor
            try:
                held = onnx.numpy_helper.to_array(tensor)
            except Exception as error:  # of values in the place of another type, of segments, of sizes without end
                raise RefusedError(f"its constant {name!r:.80} cannot be read") from error
            if held.min(initial=0) < -_LARGEST_SIZE or held.max(initial=0) > _LARGEST_SIZE:
                self._far.add(name)

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(dim.dim_value for dim in self._types[name].tensor_type.shape.dim)

    def _count(self, name: str) -> int:
        """Add a tensor to the sum; the number of its values."""
        kind = self._types[name].tensor_type if name in self._types else None
        known = kind is not None and kind.elem_type in _BYTES and kind.HasField("shape")
        if kind is None or not known or any(not d.HasField("dim_value") or d.dim_value < 0 for d in kind.shape.dim):
            raise RefusedError(f"has a tensor {name!r:.80} whose type or size the file does not tell")
        if len(kind.shape.dim) > _MOST_AXES:
            raise RefusedError(f"has a tensor {name!r:.80} of {len(kind.shape.dim):,} axes")
        values = math.prod(self._shape(name))
        self.bytes += values * _BYTES[kind.elem_type]
        return values


def _with_batch(value: onnx.ValueInfoProto, batch: int) -> onnx.TypeProto:
    """The type of an input, whose first size may be free: the batch."""
    import onnx

    kind = onnx.TypeProto()
    kind.CopyFrom(value.type)
    for axis, dim in enumerate(kind.tensor_type.shape.dim):
        if not dim.HasField("dim_value"):
            if axis:
                raise RefusedError(f"its input {value.name!r:.80} is of any size along axis {axis}")
            dim.dim_value = batch
    return kind


def _scalar(kind: str) -> onnx.TypeProto:
    import onnx

    return onnx.helper.make_tensor_type_proto(onnx.TensorProto.DataType.Value(kind), ())


def _stacked(one: onnx.TypeProto, count: int) -> onnx.TypeProto:
    """The type of `count` values of a type, along a new first axis."""
    import onnx

    sizes = [dim.dim_value for dim in one.tensor_type.shape.dim]
    return onnx.helper.make_tensor_type_proto(one.tensor_type.elem_type, [count, *sizes])


def _value(node: onnx.NodeProto) -> onnx.TensorProto:
    values: list[onnx.TensorProto] = [a.t for a in node.attribute if a.name == "value" and a.type == 4]
    if len(values) != 1 or len(node.attribute) != 1 or len(node.output) != 1:  # of several, runtimes choose
        raise RefusedError("does not hold one tensor and nothing else")
    return values[0]


def _holds(tensor: onnx.TensorProto, values: int) -> bool:
    """Whether a constant holds so many values."""
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data) == values * _BYTES[tensor.data_type]
    return sum(len(getattr(tensor, payload)) for payload in _PAYLOADS) == values

"""The tensors that the nodes of an ONNX graph can name, and what is known of each: type, shape, value."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

_NEVER_CONSTANT = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
_FOLDED = ("Constant", "Identity", "Cast")  # whose outputs are weights to the parsers where their inputs are
_UNKNOWN = "unk__"  # what ONNX's inference calls the sizes that it does not know
_OF_SHAPES = ("Shape", "Size")  # whose outputs depend on no value


@functools.cache
def type_name(number: int) -> str:
    """ONNX's name of a tensor type, for example "FLOAT16"; the number where ONNX does not know it."""
    import onnx

    known = number in onnx.TensorProto.DataType.values()
    return onnx.TensorProto.DataType.Name(number) if known else f"type {number}"


class Scope:
    """The tensors that the nodes of one graph can name: its own, and those of the graphs around it."""

    def __init__(self, graph: onnx.GraphProto, outer: Scope | None = None, opset: int = 0) -> None:
        # `opset`: the version of ONNX's operators
        # `outputs` and `free_inputs`: what the caller of the network gets and gives; empty for a subgraph
        self._outer = outer
        self.opset: int = opset if outer is None else outer.opset
        self._values = {value.name: value.type for value in (*graph.value_info, *graph.output, *graph.input)}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._producers: dict[str, onnx.NodeProto] = {name: n for n in graph.node for name in n.output if name}
        self._constants = dict.fromkeys(self._initializers, True)  # name -> whether it is like a weight
        self.outputs = frozenset(value.name for value in graph.output) if outer is None else frozenset[str]()
        self._given = frozenset(value.name for value in graph.input)
        self.free_inputs = self._given if outer is None else frozenset[str]()
        self.names = {*self._given, *self._initializers, *self._producers}
        self._of_loop: dict[str, bool] = {}
        for node in graph.node:
            if self._folds(node):
                weights = node.op_type in _FOLDED and all(self.is_constant(name, weights=True) for name in node.input)
                self._constants.update(dict.fromkeys(node.output, weights))

    def sees(self, name: str) -> bool:
        """Whether `name` is a tensor of this graph or of one around it."""
        return name in self.names or (self._outer is not None and self._outer.sees(name))

    def type_of(self, name: str) -> str | None:
        """The ONNX name of a tensor's type; None where the type is unknown or not a dense tensor."""
        if name in self._initializers:
            return type_name(self._initializers[name].data_type)
        if name not in self.names:
            return None if self._outer is None else self._outer.type_of(name)
        number = self._values[name].tensor_type.elem_type if name in self._values else 0
        return type_name(number) if number else None

    @property
    def is_inner(self) -> bool:
        """Whether it is the scope of a subgraph."""
        return self._outer is not None

    def proto_of(self, name: str) -> onnx.TypeProto | None:
        """ONNX's own description of a tensor's type and shape; None where nothing is known."""
        import onnx

        if name in self._initializers:
            tensor = self._initializers[name]
            return onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        if name not in self.names:
            return None if self._outer is None else self._outer.proto_of(name)
        return self._values.get(name)

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """The shape of a tensor, -1 for a free axis; None where even the number of axes is unknown."""
        if name in self._initializers:
            return tuple(self._initializers[name].dims)
        if name not in self.names:
            return None if self._outer is None else self._outer.shape_of(name)
        if name not in self._values or not self._values[name].tensor_type.HasField("shape"):
            return None
        return shape_of(self._values[name])

    def is_free(self, name: str, axis: int) -> bool:
        """Whether an axis may have any size, because the network's inputs leave it free; not where it is unknown.

        Args:
            name: The tensor.
            axis: Its axis, from 0.
        """
        if name not in self.names:
            return self._outer is not None and self._outer.is_free(name, axis)
        shape = self.shape_of(name)
        if name in self._initializers or shape is None or shape[axis] >= 0:
            return False
        symbol = self._values[name].tensor_type.shape.dim[axis].dim_param
        return name in self.free_inputs or (bool(symbol) and not symbol.startswith(_UNKNOWN))

    def producer_of(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a tensor, or None."""
        if name in self._producers:
            return self._producers[name]
        return None if name in self.names or self._outer is None else self._outer.producer_of(name)

    def is_constant(self, name: str, *, weights: bool = False) -> bool:
        """Whether a builder can know a tensor's value, because initialisers and fixed shapes decide it.

        Args:
            name: The tensor's name.
            weights: Ask whether the parsers, which compute next to nothing, take it for an initialiser.
        """
        if name in self.names:
            return self._constants.get(name, False) if weights else name in self._constants
        return self._outer is not None and self._outer.is_constant(name, weights=weights)

    def is_of_loop(self, name: str) -> bool:
        """Whether a value differs from trip to trip: it comes from an input of a loop's body."""
        if name not in self.names:
            return self._outer is not None and self._outer.is_of_loop(name)
        if self._outer is not None and name in self._given:
            return True
        maker = self._producers.get(name)
        if maker is None or maker.op_type in _OF_SHAPES:
            return False
        if name not in self._of_loop:
            self._of_loop[name] = False  # for a graph that goes in a circle
            self._of_loop[name] = any(self.is_of_loop(inner) for inner in maker.input)
        return self._of_loop[name]

    def is_weight(self, name: str) -> bool:
        """Whether the tensor is an initialiser."""
        if name in self.names:
            return name in self._initializers
        return self._outer is not None and self._outer.is_weight(name)

    def tensor_of(self, name: str) -> onnx.TensorProto | None:
        """An initialiser, or what a Constant node holds as a tensor; None for what must be computed."""
        if name not in self.names:
            return None if self._outer is None else self._outer.tensor_of(name)
        tensor: onnx.TensorProto | None = self._initializers.get(name)
        if tensor is None and name in self._producers and self._producers[name].op_type == "Constant":
            tensor = next((a.t for a in self._producers[name].attribute if a.name == "value"), None)
        return tensor

    def value_of(self, name: str) -> NDArray[np.generic] | None:
        """The value of an initialiser or of a Constant node; None where it must be computed or is damaged."""
        from onnx import numpy_helper

        tensor = self.tensor_of(name)
        if tensor is None:
            return None
        try:
            value: NDArray[np.generic] = numpy_helper.to_array(tensor)
        except Exception:  # external, of a wrong size, of an unknown type
            return None
        return value

    def _folds(self, node: onnx.NodeProto) -> bool:
        if node.op_type in _NEVER_CONSTANT or any(a.HasField("g") for a in node.attribute):
            return False
        if node.op_type in ("Shape", "Size") and node.input:
            shape = self.shape_of(node.input[0])
            return shape is not None and -1 not in shape
        inputs = [name for name in node.input if name]
        return all(self.is_constant(name) for name in inputs) and bool(inputs or node.op_type == "Constant")


def shape_of(kind: onnx.TypeProto) -> tuple[int, ...]:
    """The declared axes of a tensor type, -1 for a free one."""
    return tuple(a.dim_value if a.HasField("dim_value") else -1 for a in kind.tensor_type.shape.dim)

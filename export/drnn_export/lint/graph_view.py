"""An ONNX graph as the lint rules see it: each node with what is known of its tensors, subgraphs included."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drnn_core.errors import InputError
from drnn_export.lint.tables import Finding, Severity
from drnn_runtimes.bundle.protobuf import MOST_MESSAGES, has_more_messages

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

_SMALL = 1 << 16  # bytes; of larger weights only type and shape are kept, since inference copies the whole model
_NEVER_CONSTANT = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
_FOLDED = ("Constant", "Identity", "Cast")  # whose outputs are weights to the parsers where their inputs are
_OF_SHAPES = ("Shape", "Size")  # whose outputs depend on no value
_PAYLOADS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


def load_graph(path: Path, fix: str, shown: str) -> onnx.ModelProto:
    """Read the model in a file, without its external data.

    Args:
        path: An ONNX file.
        fix: What a person should do where it is no model.
        shown: What messages call it.

    Raises:
        InputError: The file cannot be read or holds no model.
    """
    try:
        return parse_graph(path.read_bytes(), shown, fix)
    except OSError as error:
        raise InputError(f"cannot read {shown}: {error.strerror or error}", fix) from error


def parse_graph(data: bytes, shown: str, fix: str) -> onnx.ModelProto:
    """Read a model out of bytes.

    Args:
        data: A serialised ModelProto.
        shown: What messages call the file that they are from.
        fix: What a person should do where they are no model.

    Raises:
        InputError: The bytes are no model.
    """
    import onnx

    if has_more_messages(data, onnx.ModelProto.DESCRIPTOR, MOST_MESSAGES):
        raise InputError(f"{shown} holds more than {MOST_MESSAGES:,} parts, which would take too much memory", fix)
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf has exceptions of its own, which differ between its implementations
        raise InputError(f"{shown} is not an ONNX model, or was cut short", fix) from error
    if not model.graph.output:  # which come last in a file
        raise InputError(f"{shown} holds no graph: the file is empty or was cut short", fix)
    if _has_broken_text(model):
        raise InputError(f"{shown} has names that are not UTF-8: it is damaged", fix)
    return model


def _has_broken_text(message: Any) -> bool:
    """Whether a string of the message is not UTF-8; protobuf hands such a string over as bytes."""
    for field, value in message.ListFields():
        values = [value] if isinstance(value, str | bytes) or hasattr(value, "ListFields") else value
        if field.type == field.TYPE_STRING and any(isinstance(entry, bytes) for entry in values):
            return True
        if field.type == field.TYPE_MESSAGE and any(_has_broken_text(entry) for entry in values):
            return True
    return False


@functools.cache
def type_name(number: int) -> str:
    """ONNX's name of a tensor type, for example "FLOAT16"; the number where ONNX does not know it."""
    import onnx

    known = number in onnx.TensorProto.DataType.values()
    return onnx.TensorProto.DataType.Name(number) if known else f"type {number}"


def without_large_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model that keeps only type and shape of weights of more than 64 kB."""
    import onnx

    small = onnx.ModelProto()
    small.CopyFrom(model)
    for tensor in small.graph.initializer:
        if tensor.ByteSize() > _SMALL:
            for payload in _PAYLOADS:
                tensor.ClearField(payload)
    return small


def with_inferred_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types and shapes that ONNX infers; as it is where the inference gives up."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # whatever a hostile graph provokes; the rules do without what is not known
        return model


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


@dataclasses.dataclass(frozen=True)
class Site:
    """A node and the scope that it stands in.

    Attributes:
        node: The node as the file has it.
        scope: The tensors that it can name.
        name: The node's name, or its number in the file.
    """

    node: onnx.NodeProto
    scope: Scope
    name: str

    def input(self, index: int) -> str:
        """The name of an input (from 0), or "" where the node leaves it out."""
        return str(self.node.input[index]) if index < len(self.node.input) else ""

    def attribute(self, name: str) -> Any:
        """An attribute's value, with strings as str; None where it is missing or of another kind."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                return attribute_value(attribute)
        return None

    def has(self, name: str) -> bool:
        """Whether the attribute is there."""
        return any(attribute.name == name for attribute in self.node.attribute)

    def output_types(self) -> list[str]:
        """The known types of the outputs."""
        return [kind for name in self.node.output if (kind := self.scope.type_of(name)) is not None]

    def finding(self, severity: Severity, rule: str, what: str, fix: str) -> Finding:
        """A finding about this node.

        Args:
            severity: "error" or "warning".
            rule: The rule's name in reports.
            what: What is wrong, as a sentence without a full stop.
            fix: What to do about it, in the same way.
        """
        return Finding(severity, rule, self.name, self.node.op_type, what, fix)

    def error(self, rule: str, what: str, fix: str) -> Finding:
        """An error about this node.

        Args:
            rule: As for `finding`.
            what: As for `finding`.
            fix: As for `finding`.
        """
        return self.finding("error", rule, what, fix)


def attribute_value(attribute: onnx.AttributeProto) -> Any:
    """The number, string, or list of these that an attribute holds; None where it holds something else."""
    kinds = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints", 8: "strings"}
    if attribute.type not in kinds:
        return None
    value = getattr(attribute, kinds[attribute.type])
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int | float):
        return value
    return [entry.decode("utf-8", "replace") if isinstance(entry, bytes) else entry for entry in value]


def sites(model: onnx.ModelProto) -> Iterator[Site]:
    """Every node of a model and of its subgraphs.

    Yields:
        Each node, followed by the nodes of its subgraphs. A branch that is never taken is left out.
    """
    versions = {opset.domain: opset.version for opset in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 1))
    yield from _sites(model.graph, Scope(model.graph, opset=opset), "")


def _sites(graph: onnx.GraphProto, scope: Scope, prefix: str) -> Iterator[Site]:
    for index, node in enumerate(graph.node):
        site = Site(node, scope, f"{prefix}{node.name or f'#{index}'}")
        yield site
        for body in live_subgraphs(site):
            yield from _sites(body, Scope(body, scope), f"{site.name}/")


def subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and all graphs inside it, with those of branches that are never taken."""
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from subgraphs(inner)


def inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs in a node's attributes, in order, those of branches that are never taken too."""
    return [graph for a in node.attribute for graph in (*([a.g] if a.HasField("g") else []), *a.graphs)]


def live_subgraphs(site: Site) -> Sequence[onnx.GraphProto]:
    """The subgraphs of a node; only the branch that is taken of an If with a constant condition."""
    graphs = {attribute.name: attribute.g for attribute in site.node.attribute if attribute.HasField("g")}
    if site.node.op_type == "If" and (condition := site.scope.value_of(site.input(0))) is not None:
        taken = "then_branch" if condition.any() else "else_branch"
        graphs = {name: graph for name, graph in graphs.items() if name == taken}
    graphs_in_lists = [graph for attribute in site.node.attribute for graph in attribute.graphs]
    return [*graphs.values(), *graphs_in_lists]

"""An ONNX graph as the lint rules see it: each node with what is known of its tensors, subgraphs included."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_export.lint.scope import Scope
from drnn_export.lint.tables import Finding, Severity
from drnn_runtimes.bundle.protobuf import MOST_MESSAGES, has_more_messages

if TYPE_CHECKING:
    import onnx

_MOST_BYTES = 2**31 - 1  # of one protobuf message
_SMALL = 1 << 16  # bytes; of larger weights only type and shape are kept, since inference copies the whole model
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
        return parse_graph(bounds.read_bytes(path, _MOST_BYTES), shown, fix)
    except OSError as error:
        raise InputError(f"cannot read {shown}: {error.strerror or error}", fix) from error
    except bounds.TooLargeError as error:
        raise InputError(f"cannot read {shown}: {error}", fix) from error


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


def bodies(sites: Iterable[Site]) -> Iterator[tuple[Site, onnx.GraphProto]]:
    """The graphs in nodes that are not left out (`live_subgraphs`), each with its node."""
    return ((site, body) for site in sites for body in live_subgraphs(site))


def live_subgraphs(site: Site) -> Sequence[onnx.GraphProto]:
    """The subgraphs of a node; only the branch that is taken of an If with a constant condition."""
    graphs = {attribute.name: attribute.g for attribute in site.node.attribute if attribute.HasField("g")}
    if site.node.op_type == "If" and (condition := site.scope.value_of(site.input(0))) is not None:
        taken = "then_branch" if condition.any() else "else_branch"
        graphs = {name: graph for name, graph in graphs.items() if name == taken}
    graphs_in_lists = [graph for attribute in site.node.attribute for graph in attribute.graphs]
    return [*graphs.values(), *graphs_in_lists]

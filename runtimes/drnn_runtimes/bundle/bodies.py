"""The bodies of a graph's nodes: what a Loop runs at every trip. Values of the graph around them are read by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def every_node(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, each followed by the nodes of its bodies."""
    for node in nodes:
        yield node
        for body in inner_graphs(node):
            yield from every_node(body.node)


def inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs in a node's attributes, in order, those of branches that are never taken too."""
    return [graph for a in node.attribute for graph in (*([a.g] if a.HasField("g") else []), *a.graphs)]


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node and the nodes of its bodies read, also those that they make themselves."""
    yield from node.input
    for body in inner_graphs(node):
        for inner in body.node:
            yield from reads(inner)


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a model: of its graph, of that one's bodies, and of its functions."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from every_node(nodes)


def count_nodes(model: onnx.ModelProto) -> int:
    """The nodes of a graph, of its bodies and of its functions."""
    return sum(1 for _ in nodes_of(model))


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The constants of a model: of its graph, of that one's bodies, and of what nodes hold, also in functions."""
    nodes = list(nodes_of(model))
    for graph in (model.graph, *(body for node in nodes for body in inner_graphs(node))):
        yield from graph.initializer
        yield from _parts(graph.sparse_initializer)
    defaults = (attribute for function in model.functions for attribute in function.attribute_proto)
    for attribute in (*defaults, *(attribute for node in nodes for attribute in node.attribute)):
        yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
        yield from _parts([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])
        yield from _parts(attribute.sparse_tensors)


def _parts(tensors: Iterable[onnx.SparseTensorProto]) -> Iterator[onnx.TensorProto]:
    return (part for tensor in tensors for part in (tensor.values, tensor.indices))


def kept_elsewhere(model: onnx.ModelProto) -> onnx.TensorProto | None:
    """The first constant of a model that is in another file, or None."""
    return next((t for t in tensors_of(model) if t.data_location == t.EXTERNAL or len(t.external_data)), None)

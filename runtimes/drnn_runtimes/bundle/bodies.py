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
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from every_node(attribute.g.node)


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node and the nodes of its bodies read, also those that they make themselves."""
    for inner in every_node([node]):
        yield from inner.input


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a model: of its graph, of that one's bodies, and of its functions."""
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from every_node(nodes)


def count_nodes(model: onnx.ModelProto) -> int:
    """The nodes of a graph, of its bodies and of its functions."""
    return sum(1 for _ in nodes_of(model))

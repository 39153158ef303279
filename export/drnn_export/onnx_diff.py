"""Two graphs of one network compared by name: what a file holds against what the emitter makes of the weights.

1. Edges: inputs and outputs by name, type, shape and order.
2. Constants of the same name: type, shape and values; constants that one side lacks.
3. Nodes with the same first output, or else of the same name: operator, attributes, inputs and outputs.
4. What nodes mean: versions of operators, and functions (`drnn_export.declared_diff`).
5. All else that a file holds, field by field.

Names say to which part of the network a difference belongs (`drnn_export.named_graph`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_core.types import TensorInfo
from drnn_export.declared_diff import LONGEST, declared_differences, field_differences, first_other, same_model
from drnn_export.lint.graph_view import attribute_value
from drnn_export.named_graph import EVERY_LAYER, Difference, NamedGraph, key_of, stage_of
from drnn_export.onnx_surgery import tensor_info
from drnn_runtimes.bundle.bodies import inner_graphs, nodes_of

_SHOWN = 12  # values of a small constant
_NO_TEXT = "of another kind"  # than numbers and strings


def edge_differences(actual: onnx.ModelProto, right: onnx.ModelProto) -> list[Difference]:
    """Compare inputs and outputs (rule 1).

    Args:
        actual: The graph in question.
        right: What the emitter makes of the weights.
    """
    return [
        *_edges("input", actual.graph.input, right.graph.input),
        *_edges("output", actual.graph.output, right.graph.output),
    ]


def narrower_types(actual: onnx.ModelProto, right: onnx.ModelProto) -> list[str]:
    """The types under 32 bits that constants or casts of `actual` have and those of `right` have not.

    Args:
        actual: As for `edge_differences`.
        right: As for `edge_differences`.

    Returns:
        Names of NumPy types, sorted.
    """
    have, want = ({*_constant_types(model), *_cast_types(model)} for model in (actual, right))
    return sorted(str(kind) for kind in have - want if kind.itemsize < np.dtype(np.float32).itemsize)


@checked_arguments
def differences(actual: onnx.ModelProto, right: onnx.ModelProto) -> list[Difference]:
    """Compare all but the edges (rules 2 to 5), and of those what rule 1 does not see.

    Args:
        actual: The graph in question.
        right: What the emitter makes of the weights.

    Returns:
        The differences in the order of the nodes of `actual`; what only `right` has comes last, and then what no node
        reads. None where the two are the same, whatever versions of the package made them.
    """
    if same_model(actual, right):
        return []
    graph, other = NamedGraph(actual), NamedGraph(right)
    every = [*_constants(graph, other), *declared_differences(graph, other), *_nodes(graph, other)]
    every += _constants_of_one_side(graph, other)
    every += field_differences(graph, other, every=not every and not edge_differences(actual, right))
    return sorted(every, key=lambda difference: difference.position)


def _shown(node: onnx.NodeProto) -> str:
    kinds = [
        _numpy_type(attribute.i) for attribute in node.attribute if (node.op_type, attribute.name) == ("Cast", "to")
    ]
    return f"node {node.name or key_of(node)} ({' to '.join([node.op_type, *map(str, kinds)])})"


def _numpy_type(kind: int) -> np.dtype[Any]:
    """NumPy's type of a type of onnx; that of objects for one that there is not."""
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    except KeyError:
        return np.dtype(object)


def _constant_types(model: onnx.ModelProto) -> Iterator[np.dtype[Any]]:
    return (_numpy_type(tensor.data_type) for tensor in model.graph.initializer)


def _cast_types(model: onnx.ModelProto) -> Iterator[np.dtype[Any]]:
    casts = (node for node in nodes_of(model) if node.op_type == "Cast")
    return (_numpy_type(attribute.i) for node in casts for attribute in node.attribute if attribute.name == "to")


def _edges(side: str, actual: Any, right: Any) -> Iterator[Difference]:
    have, want = ({value.name: _edge(value) for value in values} for values in (actual, right))
    extra = [name for name in have if name not in want]
    for name, tensor in want.items():
        stages = tuple(filter(None, [stage_of(name)]))
        if name not in have:
            instead = f"; in its place is {extra.pop(0)!r}" if extra else ""
            yield Difference(stages, f"{side} {name!r}", f"is missing{instead}", -1)
        elif have[name].dtype != tensor.dtype:
            yield Difference(stages, f"{side} {name!r}", f"is {have[name].dtype}, should be {tensor.dtype}", -1)
        elif have[name].shape != tensor.shape:
            shapes = f"{list(have[name].shape)}, should be {list(tensor.shape)}"
            yield Difference(stages, f"{side} {name!r}", f"has the shape {shapes}", -1)
    for name in extra:
        yield Difference((), f"{side} {name!r}", "should not be there", -1)
    if set(have) == set(want) and list(have) != list(want):
        moved = next(name for name, other in zip(have, want, strict=True) if name != other)
        yield Difference(
            (), f"{side} {moved!r}", f"is out of order: they are {_list(have)}, should be {_list(want)}", -1
        )


def _edge(value: onnx.ValueInfoProto) -> TensorInfo:
    try:
        return tensor_info(value)
    except InputError:
        return TensorInfo(value.name, "no tensor", ())


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(names)


def _constants(actual: NamedGraph, right: NamedGraph) -> Iterator[Difference]:
    for name, tensor in right.constants.items():
        if name not in actual.constants or actual.constants[name].SerializeToString() == tensor.SerializeToString():
            continue
        have, want = _array(actual.constants[name]), numpy_helper.to_array(tensor)
        if have.dtype == want.dtype and np.array_equal(have, want):
            continue
        readers = actual.readers.get(name, [])
        own = _own_stages(name, have, want)
        stages = own or actual.stages_of(readers)
        yield Difference(stages, f"initializer {name}", _values(have, want), min(readers, default=len(actual.order)))


def _constants_of_one_side(actual: NamedGraph, right: NamedGraph) -> Iterator[Difference]:
    for side, other in ((right, actual), (actual, right)):
        for name in (name for name in side.constants if name not in other.constants):
            what = "is missing" if side is right else "should not be there"
            what = "is sparse, should be dense" if name in actual.sparse else what
            stages = tuple(filter(None, [stage_of(name)])) or side.stages_of(side.readers.get(name, []))
            yield Difference(stages, f"initializer {name}", what, len(actual.order))


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    """The values; of what holds none that can be read, an empty array of objects."""
    try:
        return numpy_helper.to_array(tensor)
    except Exception:  # a file may say anything: an unknown type, too few bytes, another file
        return np.zeros(0, object)


def _own_stages(name: str, have: NDArray[Any], want: NDArray[Any]) -> tuple[str, ...]:
    """By the constant's name; of weights that are stacked by layer, the layers that differ."""
    stage = stage_of(name)
    if stage == EVERY_LAYER and have.shape == want.shape and name.endswith(("/W", "/B")):
        return tuple(f"layer {layer}" for layer in range(len(want)) if not np.array_equal(have[layer], want[layer]))
    return (stage,) if stage else ()


def _values(have: NDArray[Any], want: NDArray[Any]) -> str:
    if have.dtype == object:
        return "holds nothing that can be read"
    if have.dtype != want.dtype:
        return f"is {have.dtype}, should be {want.dtype}"
    if have.shape != want.shape:
        return f"has the shape {list(have.shape)}, should be {list(want.shape)}"
    if want.dtype.kind == "i" and want.size <= _SHOWN:
        return f"is {have.tolist()}, should be {want.tolist()}"
    places = np.argwhere(have != want)
    first = tuple(int(index) for index in places[0])
    value, should = float(have[first]), float(want[first])
    source = "" if want.dtype.kind == "i" else " from the weights"
    example = f"first at {list(first)}: {value:.6g}, should be {should:.6g}"
    return f"differs{source} in {len(places)} of {want.size} values, {example}"


def _nodes(actual: NamedGraph, right: NamedGraph) -> Iterator[Difference]:
    renamed = _same_name_only(actual, right)
    for key, (place, node) in actual.nodes.items():
        other = key if key in right.nodes else renamed.get(key)
        if other is None:
            yield Difference(actual.stages(place), _shown(node), "should not be there", place)
        elif what := _changes(node, right.nodes[other][1]):
            yield Difference(actual.stages(place), _shown(node), what, place)
    for key, (place, node) in right.nodes.items():
        if key not in actual.nodes and key not in renamed.values():
            yield Difference(right.stages(place), _shown(node), "is missing", len(actual.order))


def _same_name_only(actual: NamedGraph, right: NamedGraph) -> dict[str, str]:
    """Keys of nodes that have their name in common, and not their first output: a node that gives another tensor."""
    by_name = {node.name: key for key, (_, node) in right.nodes.items() if node.name and key not in actual.nodes}
    return {key: by_name[node.name] for key, (_, node) in actual.nodes.items()
            if key not in right.nodes and node.name in by_name}  # fmt: skip


def _changes(have: onnx.NodeProto, want: onnx.NodeProto) -> str:
    """The first of a node's differences, or ""."""
    if have.op_type != want.op_type:
        return f"should be {want.op_type}"
    for what in ("domain", "overload"):
        if (got := getattr(have, what)) != (should := getattr(want, what)):
            return f"has the {what} {got!r:.{LONGEST}}, should be {should!r}"
    values = [{attribute.name: attribute for attribute in node.attribute} for node in (have, want)]
    for name in sorted({*values[0], *values[1]}):
        got, should = (_attribute(side[name]) if name in side else "not there" for side in values)
        if got != should:
            return f"has the attribute {name:.{LONGEST}} {got:.{LONGEST}}, should be {should}"
        if got == _NO_TEXT and not _is_body(values[0][name]) and values[0][name] != values[1][name]:
            return f"has another value of the attribute {name:.{LONGEST}}"
    own = (("has the input {index}", have.input, want.input), ("has the output {index}", have.output, want.output))
    return first_other((*own, *_bodies(have, want)))


def _bodies(have: onnx.NodeProto, want: onnx.NodeProto) -> Iterator[tuple[str, list[str], list[str]]]:
    """What the bodies of two nodes read, give and hold, by name; their nodes are compared like all others."""
    sides = (("that reads", "input"), ("that gives", "output"), ("with the constant", "initializer"))
    for what, side in sides:
        got, should = (
            [value.name for body in inner_graphs(node) for value in getattr(body, side)] for node in (have, want)
        )
        yield f"has a body {what}", got, should


def _attribute(attribute: onnx.AttributeProto) -> str:
    value = attribute_value(attribute)
    return _NO_TEXT if value is None else str(value)


def _is_body(attribute: onnx.AttributeProto) -> bool:
    return attribute.HasField("g") or len(attribute.graphs) > 0

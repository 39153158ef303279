"""The one function that a bundle's graph may hold: the stack of layers as standard operators, called by one node.

Readers that know no functions, and those that bound what a graph takes, see the graph with the function's nodes in
place of that node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from drnn_core.errors import InputError

if TYPE_CHECKING:
    import onnx

DOMAIN, OPERATOR = "drnn", "DilatedStack"
NODE = "stack"  # the name of the node that calls it
STACK_NODE = f"node {NODE} ({OPERATOR})"  # for people
INLINED = f"{NODE}/"  # what the names begin with that inlining makes

NO_FUNCTIONS = "reads no local functions: it runs the same network from a graph of another style"


def calls_stack(node: onnx.NodeProto) -> bool:
    """Whether a node is the stack of layers, which a plugin may compute."""
    return (node.domain, node.op_type) == (DOMAIN, OPERATOR)


def constants_of(functions: Iterable[onnx.FunctionProto]) -> Iterator[onnx.TensorProto]:
    """The constants of functions, each with the name of the value that it is."""
    for node in (node for function in functions for node in function.node if node.op_type == "Constant"):
        yield from (attribute.t for attribute in node.attribute if attribute.name == "value")


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the nodes of its function in place of the node that calls it.

    Args:
        model: A model; it stays as it is. What has no functions is returned as it is.

    Returns:
        The model of standard operators. What the function makes has names that begin with the node's.

    Raises:
        InputError: It holds other functions than the stack's, calls it more than once, or the two do not fit together.
    """
    import onnx

    if not len(model.functions):
        return model
    function, calls = model.functions[0], [node for node in model.graph.node if calls_stack(node)]
    if len(model.functions) > 1 or len(calls) != 1:
        raise InputError("it holds other functions than one stack of layers that one node calls")
    if reason := _misfit(model, function, calls[0]):
        raise InputError(f"its function {function.name!r:.80} {reason}")
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.functions[:], plain.graph.node[:]
    for node in model.graph.node:
        plain.graph.node.extend(_body(function, node) if calls_stack(node) else [node])
    kept = [entry for entry in model.opset_import if entry.domain != DOMAIN]
    del plain.opset_import[:]
    plain.opset_import.extend(kept)
    return plain


def _misfit(model: onnx.ModelProto, function: onnx.FunctionProto, call: onnx.NodeProto) -> str:
    """Why inlining would not be what a runtime makes of a function, or ""."""
    formal = [*function.input, *function.output]
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if (function.domain, function.name, function.overload) != (DOMAIN, OPERATOR, "") or call.overload:
        return f"is not {DOMAIN}::{OPERATOR}"
    if len({*formal, ""}) != len(formal) + 1 or any(not name for name in (*call.input, *call.output)):
        return "has inputs or outputs without a name of their own"
    if (len(call.input), len(call.output)) != (len(function.input), len(function.output)):
        return "has other inputs and outputs than the node that calls it"
    if any(versions.get(entry.domain or "ai.onnx") != entry.version for entry in function.opset_import):
        return "has operators of another version than the graph"
    attributes = [attribute for node in function.node for attribute in node.attribute]
    if len(function.attribute_proto) or any(a.ref_attr_name or a.HasField("g") or a.graphs for a in attributes):
        return "has attributes that change with the node, or bodies"
    if any(node.domain not in ("", "ai.onnx") for node in function.node):
        return "calls what is no standard operator"
    return ""


def _body(function: onnx.FunctionProto, call: onnx.NodeProto) -> Iterable[onnx.NodeProto]:
    import onnx

    names = dict(zip((*function.input, *function.output), (*call.input, *call.output), strict=True)) | {"": ""}
    for inner in function.node:
        node = onnx.NodeProto()
        node.CopyFrom(inner)
        node.name = f"{call.name}/{inner.name}"
        for side in (node.input, node.output):
            side[:] = [names.get(name, f"{call.name}/{name}") for name in side]
        yield node

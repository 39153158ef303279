"""A graph's file, read and bounded before anything computes it.

ONNX is a programming language: a few bytes of it can ask for a billion rounds or a terabyte, and runtimes compute
constants while they load. A bundle's graphs need none of that. `read_graph` takes files that hold operators without
bodies, whose every tensor has a size that the file tells, and that take no more than their manifest accounts for
(`drnn_runtimes.bundle.cost`); in emission `blocked` also loops with a constant number of trips. Any emission does; what
does not is refused unseen by any runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from drnn_core.bounds import TooLargeError, read_bytes, shown_bytes
from drnn_core.errors import InputError
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle.bodies import count_nodes, kept_elsewhere, nodes_of
from drnn_runtimes.bundle.cost import cost_of, most_graph_bytes
from drnn_runtimes.bundle.functions import inlined
from drnn_runtimes.bundle.graph_sizes import RefusedError, Sizes
from drnn_runtimes.bundle.infos import GraphInfo
from drnn_runtimes.bundle.protobuf import MOST_MESSAGES, has_more_messages

if TYPE_CHECKING:
    import onnx

_FIX = (
    "Export it again: drnn-export model.pt --output DIR. What NVIDIA's parsers make of a graph from elsewhere: "
    "drnn-deploy lint model.onnx"
)


def read_graph(path: Path, spec: ModelSpec, graph: GraphInfo) -> onnx.ModelProto:
    """Read a graph of a bundle that is to be run.

    Args:
        path: The file.
        spec: The network.
        graph: What the manifest says of it.

    Returns:
        The model, which any runtime may load and run.

    Raises:
        InputError: The file is no ONNX model, or holds what no graph of the network does. The message names the node.
    """
    model = parse_graph(path, spec, graph)
    if reason := refusal(model, spec, graph):
        raise InputError(f"{path} cannot be loaded: {reason}", _FIX)
    return model


def refusal(model: onnx.ModelProto, spec: ModelSpec, graph: GraphInfo) -> str:
    """Say why a parsed model must not be run.

    Args:
        model: What `parse_graph` gave.
        spec: The network.
        graph: What the manifest says of the graph.

    Returns:
        The rest of a sentence that begins "it cannot be loaded: ", or "" where any runtime may run it.
    """
    try:
        _check(model, spec, graph)
    except RefusedError as error:
        return str(error)
    return ""


def parse_graph(path: Path, spec: ModelSpec, graph: GraphInfo) -> onnx.ModelProto:
    """Read a graph of a bundle that is to be looked at alone: nothing may infer its shapes, or compute it.

    Args:
        path: The file.
        spec: The network.
        graph: What the manifest says of it.

    Returns:
        The model. Its constants are in it.

    Raises:
        InputError: The file is no ONNX model, or too large for a graph of the network.
    """
    try:
        model = _parsed(read_bytes(path, most_graph_bytes(spec, graph)))
        nodes, most = count_nodes(model), cost_of(spec, graph, graph.largest_batch).nodes
        if nodes > most:
            raise RefusedError(f"it has {nodes:,} nodes, and the network takes at most {most:,}")
        if (elsewhere := kept_elsewhere(model)) is not None:
            raise RefusedError(f"it keeps constants in another file ({elsewhere.name!r:.80})")
    except OSError as error:
        raise InputError(f"{path} cannot be loaded: {error.strerror or error}", _FIX) from error
    except (TooLargeError, RefusedError) as error:
        raise InputError(f"{path} cannot be loaded: {error}", _FIX) from error
    return model


def _parsed(data: bytes) -> onnx.ModelProto:
    import onnx

    if has_more_messages(data, onnx.ModelProto.DESCRIPTOR, MOST_MESSAGES):
        raise RefusedError(f"it holds more than {MOST_MESSAGES:,} parts")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf has exceptions of its own, which differ between its implementations
        raise RefusedError("it is not an ONNX model, or was cut short") from error
    if not model.graph.output:  # which come last in a file
        raise RefusedError("it holds no graph: the file is empty or was cut short")
    if any(isinstance(name, bytes) for name in _names(model)):  # protobuf hands over what is no UTF-8 as bytes
        raise RefusedError("it has names that are not UTF-8: it is damaged")
    return model


def _names(model: onnx.ModelProto) -> Iterator[str]:
    graph = model.graph
    for function in model.functions:
        yield from (*function.input, *function.output, *function.attribute)
        yield from (function.name, function.domain, function.overload)
    for node in nodes_of(model):
        yield from (*node.input, *node.output, node.name, node.op_type, node.domain)
        yield from (attribute.name for attribute in node.attribute)
    yield from (named.name for side in (graph.initializer, graph.input, graph.output) for named in side)


def _check(model: onnx.ModelProto, spec: ModelSpec, graph: GraphInfo) -> None:
    cost = cost_of(spec, graph, graph.largest_batch)
    if graph.emission == "plugin":
        try:
            model = inlined(model)
        except InputError as error:
            raise RefusedError(error.message) from error
    if len(model.functions) or len(model.training_info) or len(model.graph.sparse_initializer):
        raise RefusedError("it holds functions, training or sparse constants, which it must not have")
    sizes = Sizes(model, graph.largest_batch, with_loops=graph.emission == "blocked")
    for index, node in enumerate(model.graph.node):
        try:
            sizes.add(node)
        except RefusedError as error:
            name = node.name or f"#{index}"
            raise RefusedError(f"its node {name!r:.80} ({node.op_type:.40}) {error}") from error
        if sizes.bytes > cost.bytes:
            raise RefusedError(f"its tensors take over {shown_bytes(cost.bytes)}, more than those of the network")
        if sizes.nodes > cost.nodes:
            raise RefusedError(f"it runs more nodes than the {cost.nodes:,} that the network takes")
        if sizes.work > cost.products + cost.bytes:
            raise RefusedError("it computes more than the network does")
    for value in model.graph.output:
        if value.name not in sizes:
            raise RefusedError(f"nothing makes its output {value.name!r:.80}")
    for what, there, told in (
        ("inputs", model.graph.input, graph.inputs),
        ("outputs", model.graph.output, graph.outputs),
    ):
        names, named = [value.name for value in there], [tensor.name for tensor in told]
        if names != named:
            raise RefusedError(f"its {what} are {names!s:.200}, and the manifest says {named!s:.200}")

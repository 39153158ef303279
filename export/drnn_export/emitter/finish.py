"""What a builder collected, as a checked model or a local function: without dead nodes, in the precision asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx
from onnx import helper

from drnn_core.types import Precision
from drnn_export.emitter.builder import GraphBuilder, value_info
from drnn_export.emitter.precision import retyped
from drnn_runtimes.bundle.bodies import reads

OPSET = 13  # the lowest with Split and Squeeze sizes as inputs; RNN, GRU and LSTM are those of opset 7
IR_VERSION = 7  # the one that came with opset 13
FUNCTIONS_IR_VERSION = 8  # the lowest with local functions
Edge = tuple[str, int, Sequence[int | None]]


@dataclasses.dataclass(frozen=True)
class LivePart:
    """What the outputs of a graph need, in its precision.

    Attributes:
        nodes: The nodes, in the order in which they were added.
        constants: The constants that they use, in that order.
    """

    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]


def live_part(g: GraphBuilder, outputs: Sequence[str], precision: Precision) -> LivePart:
    """Drop what no output needs, and set the precision.

    Args:
        g: What was collected.
        outputs: Names of the graph's outputs.
        precision: Of matrix products.
    """
    nodes, constants = retyped(_live_nodes(g.added, outputs), g.constants, precision)
    used = {name for node in nodes for name in reads(node)}
    return LivePart(nodes, [constant for name, constant in constants.items() if name in used])


def _live_nodes(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that reach an output, in order."""
    needed, live = set(outputs), []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.output):
            needed.update(reads(node))
            live.append(node)
    return live[::-1]


def as_function(
    g: GraphBuilder,
    domain: str,
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    attributes: Sequence[str],
    precision: Precision,
) -> onnx.FunctionProto:
    """Make a local function of the nodes, with the constants as nodes of their own.

    Args:
        g: What was collected.
        domain: Of the function.
        name: Of the function.
        inputs: Names of what it reads.
        outputs: Names of what it gives.
        attributes: Names of what a node that calls it may carry beside.
        precision: Of matrix products.
    """
    live = live_part(g, outputs, precision)
    held = [helper.make_node("Constant", [], [tensor.name], tensor.name, value=tensor) for tensor in live.constants]
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_function(domain, name, inputs, outputs, [*held, *live.nodes], opset, attributes)


def as_model(
    g: GraphBuilder,
    live: LivePart,
    inputs: Sequence[Edge],
    outputs: Sequence[Edge],
    metadata: dict[str, str],
    producer_version: str,
) -> onnx.ModelProto:
    """Make the model, with the shape of every edge, and check it in full.

    Args:
        g: What was collected.
        live: What the outputs need of it.
        inputs: (name, TensorProto type, shape with None for the dynamic batch) of every input.
        outputs: The same of every output.
        metadata: Entries of the model's metadata.
        producer_version: The version of this package.

    Returns:
        The checked model.
    """
    read, made = ([value_info(*edge) for edge in side] for side in (inputs, outputs))
    graph = helper.make_graph(live.nodes, "drnn", read, made, live.constants, value_info=g.declared)
    domains = [helper.make_opsetid(function.domain, 1) for function in g.functions]
    model = helper.make_model(
        graph,
        functions=g.functions,
        opset_imports=[helper.make_opsetid("", OPSET), *domains],
        ir_version=FUNCTIONS_IR_VERSION if g.functions else IR_VERSION,
        producer_name="drnn-deploy",
        producer_version=producer_version,
    )
    helper.set_model_props(model, metadata)
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=bool(g.functions))
    return model

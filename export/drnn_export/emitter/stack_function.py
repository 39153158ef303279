"""All layers as one node: a local function of standard operators, in whose place a plugin of TensorRT may compute.

Runtimes without the plugin inline the function. Its weights are constants of its own; the node reads them once more,
packed as the kernel of the plugin reads them, which the function does not use.
"""

from __future__ import annotations

from drnn_export.emitter.batch_axis import batch_first, time_major
from drnn_export.emitter.builder import GraphBuilder
from drnn_export.emitter.finish import as_function
from drnn_export.emitter.layers import all_layers
from drnn_export.emitter.request import GraphRequest
from drnn_export.emitter.weights import LayerWeights
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle.functions import DOMAIN, INLINED, NODE, OPERATOR
from drnn_runtimes.bundle.graph_kind import state_name
from drnn_runtimes.plugin.stack import ROWS, TOP, WEIGHTS, Stack


def add_stack(
    g: GraphBuilder, spec: ModelSpec, weights: Weights, request: GraphRequest, rows: str
) -> tuple[str, list[str]]:
    """Add the node and its function.

    Args:
        g: The graph.
        spec: The network.
        weights: Its weights.
        request: The graph.
        rows: What the first layer reads, (B, T, C).

    Returns:
        What the top layer gives in the last steps that the head reads, (B, answers, H); and of the graph in which the
        function is inlined the tensor that the first layer reads, and what each layer gives.
    """
    stack = Stack.of(spec, request, pruned=request.prune)
    attributes = stack.attributes()
    inputs, outputs = stack.inputs_and_outputs()
    body, between = _body(spec, weights, request, stack)
    function = as_function(body, DOMAIN, OPERATOR, inputs, outputs, sorted(attributes), request.precision)
    packed, top = g.constant(f"{INLINED}{WEIGHTS}", stack.packed(weights)), f"{INLINED}{TOP}"
    g.call(function, [rows, packed, *inputs[2:]], [top, *outputs[1:]], NODE, attributes)
    return top, [f"{INLINED}{name}" for name in between]


def _body(spec: ModelSpec, weights: Weights, request: GraphRequest, stack: Stack) -> tuple[GraphBuilder, list[str]]:
    """The nodes of the function, and what is between its layers."""
    body = GraphBuilder()
    for name, shape in request.state_shapes(spec).items():
        body.shape(state_name(name), shape)
    layers = [LayerWeights.of(spec, weights, index) for index in range(spec.layers)]
    x = time_major(body, request, ROWS, request.steps, (stack.features,), "time_major")
    given, length, stop = all_layers(body, spec, request, layers, x)
    top = body.take(given[-1], stop - stack.answers, stop, "answers") if stack.answers < length else given[-1]
    batch_first(body, request, top, stack.answers, spec.hidden[-1], TOP)
    return body, [*map(body.origin, (x, *given))]

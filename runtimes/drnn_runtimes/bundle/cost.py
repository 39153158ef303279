"""What one run of a graph may take, from its kind and the spec alone: an upper bound that every emission stays under.

A graph file that would take more than its manifest accounts for is refused. The bounds are generous: they tell a
network from what only poses as one. A manifest whose graphs would not fit into this machine is refused by
`least_memory`.
"""

from __future__ import annotations

import dataclasses
import math

from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle.graph_kind import GraphKind, edges

MOST_STEPS = 1 << 20  # of the reference's plain loop and its delay lines: a minute or so per layer
_BYTES, _PRODUCTS, _NODES = 64 << 20, 1 << 30, 256  # that any graph may take, however small its network
_NODE_BYTES = 512  # of a node with its names and its outputs' shapes; the emitter's take 125
_PROTOBUF_LIMIT = 2**31 - 1
_SLACK = 4  # times what the formulas count


@dataclasses.dataclass(frozen=True)
class Cost:
    """An upper bound of what one run takes.

    Attributes:
        bytes: Of all tensors together, constants not counted.
        products: Multiplications of matrix products.
        nodes: Of the graph.
        constants: Bytes of all constants.
    """

    bytes: int
    products: int
    nodes: int
    constants: int


def cost_of(spec: ModelSpec, graph: GraphKind, batch: int) -> Cost:
    """Bound what one run of a graph takes.

    Args:
        spec: The network.
        graph: The kind of the graph.
        batch: Sequences of the run.

    Returns:
        The bound, for any emission of the kind.
    """
    steps = graph.steps * (2 if graph.form == "sequence" else 1)  # a layer pads up to its dilation, or to twice
    size = max(spec.hidden)
    wide = max(size, spec.input.width)
    inputs = (wide,) * spec.layers if graph.emission == "skewed" else (spec.input.width, *spec.hidden[:-1])
    hidden = (size,) * spec.layers if graph.emission == "skewed" else spec.hidden
    gates, states = spec.gates + 1, len(spec.cell_states)
    layers = list(zip(inputs, hidden, strict=True))
    values = sum(4 * fed + (3 * gates + 8) * own for fed, own in layers) + 4 * spec.input.width
    answered = spec.head.output_steps(graph.steps)
    head = answered * (4 * spec.window * spec.hidden[-1] + 4 * spec.head.outputs)
    lines = 6 * states * sum(d * own for d, own in zip(spec.dilations, hidden, strict=True))
    products = steps * sum(gates * own * (fed + own) for fed, own in layers)
    products += answered * spec.window * spec.hidden[-1] * spec.head.outputs
    weights = sum(gates * own * (fed + own + 2) for fed, own in layers)
    weights += sum(math.prod(shape) for name, shape in spec.weight_shapes().items() if not name.startswith("layers"))
    cells = (
        1
        if graph.emission in ("fused", "skewed", "plugin")
        else sum(-(-steps // min(d, steps)) for d in spec.dilations)
    )
    return Cost(
        bytes=_BYTES + _SLACK * 4 * (batch * (steps * values + head + lines) + weights),
        products=_PRODUCTS + _SLACK * batch * products,
        nodes=_NODES + 64 * spec.layers + 32 * cells,
        constants=_BYTES + _SLACK * 4 * weights,
    )


def most_weight_bytes(spec: ModelSpec) -> int:
    """The largest file of weights that the network can have."""
    return _BYTES + 4 * sum(math.prod(shape) for shape in spec.weight_shapes().values())


def most_graph_bytes(spec: ModelSpec, graph: GraphKind) -> int:
    """The largest file that a graph of the network can have.

    Args:
        spec: The network.
        graph: The kind of the graph.
    """
    cost = cost_of(spec, graph, 1)
    return min(cost.constants + _NODE_BYTES * cost.nodes, _PROTOBUF_LIMIT)


def least_memory(spec: ModelSpec, graph: GraphKind, batch: int) -> int:
    """The bytes that a run takes at least: what goes in and comes out, and what one layer reads and gives.

    Args:
        spec: The network.
        graph: The kind of the graph.
        batch: Sequences of the run.
    """
    tensors = [tensor for side in edges(spec, graph) for tensor in side]
    values = sum(math.prod(tensor.shape[1:]) for tensor in tensors)
    layer = 0 if graph.form != "sequence" else graph.steps * max(spec.hidden)  # which a chunk's states outweigh
    return 4 * batch * (values + layer)

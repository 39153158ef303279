"""Weights and spec to an ONNX model: emitted node by node, nothing traced, no torch.

input (B, T, C) -> time-major -> layers (`drnn_export.emitter.layers`) -> window -> linear -> output

Forms with state have inputs `state_l0_h`, ... (B, d, H) beside it, and outputs `next_state_l0_h`, ...
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math

import numpy as np
import onnx

from drnn_core.arguments import checked_arguments
from drnn_core.environment import package_version
from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, SMALLER, Emission, style_of
from drnn_export.emitter.batch_axis import time_major
from drnn_export.emitter.builder import FLOAT, INT64, GraphBuilder
from drnn_export.emitter.cells import cell_nodes
from drnn_export.emitter.finish import LivePart, as_model, live_part
from drnn_export.emitter.layers import all_layers
from drnn_export.emitter.range import check_range
from drnn_export.emitter.request import WRITTEN_OUT, GraphRequest
from drnn_export.emitter.skew import SkewedLayers
from drnn_export.emitter.stack_function import add_stack
from drnn_export.emitter.weights import LayerWeights
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights, check_weights
from drnn_runtimes.bundle.bodies import every_node
from drnn_runtimes.bundle.functions import constants_of
from drnn_runtimes.bundle.graph_kind import INPUT, OUTPUT, edges, next_state_name, state_name
from drnn_runtimes.cuda_kernel.around import kernel_answers

GRAPH_FORMAT = "drnn-deploy-graph/1"
NODE_BUDGET = 20_000  # of an unrolled graph; compilers and ONNX Runtime's optimiser grow slower than linear beyond it
_COUNTABLE = 20 * NODE_BUDGET  # beyond it a lower bound of the node count says enough
_PROTOBUF_LIMIT = 2**31 - 1
_BYTES_PER_NODE = 125  # a node with its names and its outputs' shapes, measured on emitted graphs
Value = tuple[str, int, tuple[int | None, ...]]  # name, type, shape with None for the dynamic batch


@dataclasses.dataclass(frozen=True)
class Estimate:
    """The size of a graph. Far beyond any budget, only the nodes of the cells are counted.

    Attributes:
        cells: Cell evaluations one after the other.
        nodes: Nodes of the graph, exact.
        weight_bytes: Bytes of all constants.
        file_bytes: Bytes of the file, within about a quarter.
    """

    cells: int
    nodes: int
    weight_bytes: int
    file_bytes: int


@checked_arguments
def emit(
    spec: ModelSpec, weights: Weights, request: GraphRequest, *, node_budget: int = NODE_BUDGET
) -> onnx.ModelProto:
    """Emit one graph. The same arguments give the same bytes.

    The graph has the input `input`, (B, T, C) float32 or (B, T) int64 tokens, and the output `output`, float32 as
    `ModelSpec.head` says; a chunk's output is that of its own steps. `GraphRequest.state_shapes` says its states.

    Args:
        spec: The network.
        weights: Its weights, in torch's gate order.
        request: What to emit.
        node_budget: The most nodes of a graph of emission `unrolled` or `blocked`.

    Returns:
        The checked model.

    Raises:
        InputError: The weights do not fit the spec or the precision, or the graph is over the node budget or too large
            for a file.
    """
    weights = check_weights(spec, weights)
    check_range(spec, weights, request)
    if not _is_countable(least := _least(spec, request), node_budget):
        _check(least, request, node_budget)
    g, live, size = _build(spec, weights, request)
    _check(size, request, node_budget)
    inputs, outputs = _edges(spec, request)
    described = {
        "drnn.format": GRAPH_FORMAT,
        "drnn.form": request.form,
        "drnn.delay": str(request.delay(spec)),
        "drnn.precision": request.precision,
        "drnn.spec": json.dumps(spec.to_json(), sort_keys=True),
    }
    return as_model(g, live, inputs, outputs, described, package_version())


def _edges(spec: ModelSpec, request: GraphRequest) -> list[list[Value]]:
    """The inputs and the outputs of a graph as ONNX has them, with a batch of None where it is dynamic."""
    kinds = {"float32": FLOAT, "int64": INT64}
    return [
        [(t.name, kinds[t.dtype], tuple(None if size < 0 else size for size in t.shape)) for t in side]
        for side in edges(spec, request)
    ]


@checked_arguments
def estimate(spec: ModelSpec, request: GraphRequest) -> Estimate:
    """The size of the graph that `emit` would make, from the shapes alone.

    Args:
        spec: The network, whose weights' values do not matter.
        request: The form, steps, batch, emission and precision of the graph.
    """
    return _estimate(spec, request)


@functools.lru_cache(maxsize=512)  # plans, exports and their reports ask for the same graphs
def _estimate(spec: ModelSpec, request: GraphRequest) -> Estimate:
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in spec.weight_shapes().items()}
    least = _least(spec, request)
    return _build(spec, zeros, request)[2] if _is_countable(least) else least


def boundaries(spec: ModelSpec, request: GraphRequest) -> list[str]:
    """The tensors between the stages of a graph.

    Args:
        spec: The network, whose weights' values do not matter.
        request: The form, steps, batch, emission and precision of the graph.

    Returns:
        The tensor that the first layer reads, then what each layer gives: time-major rows (steps, B, features) in some
        shape, with padding at the end in form `sequence`. Emission `skewed` has one tensor for all layers, (B, layers,
        widest H).
    """
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in spec.weight_shapes().items()}
    return _NetworkEmitter(GraphBuilder(), spec, zeros, request).emit()


def stack_output(spec: ModelSpec, request: GraphRequest) -> str:
    """The tensor that a graph of emission `plugin` has in place of the stages between its layers.

    Args:
        spec: The network, whose weights' values do not matter.
        request: The form, steps, batch and precision of the graph.

    Returns:
        What the top layer gives, time-major rows (answers, B, H) in some shape.
    """
    zeros = {name: np.broadcast_to(np.float32(0), shape) for name, shape in spec.weight_shapes().items()}
    g = GraphBuilder()
    top, *_ = _NetworkEmitter(g, spec, zeros, request)._layers()
    return g.origin(top)


def _least(spec: ModelSpec, request: GraphRequest) -> Estimate:
    """A lower bound of the nodes, without making any, with the bytes of float32 weights."""
    weight_bytes = 4 * sum(math.prod(shape) for shape in spec.weight_shapes().values())
    return _size(spec, request, request.written_cells(spec) * cell_nodes(spec), weight_bytes)


def _size(spec: ModelSpec, request: GraphRequest, nodes: int, weight_bytes: int) -> Estimate:
    cells = sum(layer.cells for layer in request.plan(spec).layers)
    return Estimate(cells, nodes, weight_bytes, weight_bytes + _BYTES_PER_NODE * nodes)


def _is_countable(least: Estimate, node_budget: int = 0) -> bool:
    """Whether the nodes are made and counted: where they may be within the budget, or are not far beyond any."""
    return least.nodes <= max(_COUNTABLE, node_budget) and least.weight_bytes <= _PROTOBUF_LIMIT


def _build(spec: ModelSpec, weights: Weights, request: GraphRequest) -> tuple[GraphBuilder, LivePart, Estimate]:
    """All nodes, those of them that the outputs need, and their exact number."""
    g = GraphBuilder()
    _NetworkEmitter(g, spec, weights, request).emit()
    live = live_part(g, [tensor.name for tensor in edges(spec, request)[1]], request.precision)
    nodes = sum(1 for _ in every_node(live.nodes)) + sum(len(function.node) for function in g.functions)
    weight_bytes = sum(len(constant.raw_data) for constant in (*live.constants, *constants_of(g.functions)))
    return g, live, _size(spec, request, nodes, weight_bytes)


def _check(size: Estimate, request: GraphRequest, node_budget: int) -> None:
    if size.file_bytes > _PROTOBUF_LIMIT:
        raise InputError(
            f"the graph would take about {size.file_bytes / 1e9:.1f} GB; an ONNX file holds at most 2 GB",
            "Use smaller layers or a smaller vocabulary.",
        )
    if request.emission in WRITTEN_OUT and size.nodes > node_budget:
        least, more = ("at least ", "") if size.nodes > _COUNTABLE else ("", f", or --node-budget {size.nodes}")
        raise InputError(
            f"{request.steps} steps in style {request.emission} take {least}{size.nodes:,} nodes "
            f"({size.cells:,} cells), over the budget of {node_budget:,}",
            f"Use {_smaller(request)}{more}.",
        )


def _smaller(request: GraphRequest) -> str:
    """What makes a graph of fewer nodes, of what its precision and form have."""
    others: list[Emission] = ["fused", *(["blocked"] if request.form == "sequence" else [])]  # type: ignore[list-item]
    refused = (request.emission, *PRECISIONS[request.precision].refused)
    styles = " or ".join(style_of(emission) for emission in others if emission not in refused)
    block = "a smaller --block, " if (request.block or 2) > 2 else ""
    return f"{block}{f'--style {styles}, ' if styles else ''}{SMALLER[request.form]}"


class _NetworkEmitter:
    """The nodes of one graph."""

    def __init__(self, g: GraphBuilder, spec: ModelSpec, weights: Weights, request: GraphRequest) -> None:
        self._g, self._spec, self._weights, self._request = g, spec, weights, request

    def emit(self) -> list[str]:
        """Add all nodes, and return the tensors of `boundaries`."""
        g, spec, request = self._g, self._spec, self._request
        steps = spec.head.output_steps(request.steps)
        for name, shape in request.state_shapes(spec).items():
            g.shape(state_name(name), shape)
        x, between, length, stop = self._layers()
        if request.form != "sequence" and spec.window > 1:
            x, stop = self._fusion_memory(x, length), length + spec.window - 1
            length = stop
        elif (missing := steps + spec.window - 1 - stop) > 0:  # the first windows reach to before the sequence
            x, stop, length = g.pad(x, missing, 0, "head/pad"), stop + missing, length + missing
        self._head(x, stop, length, steps)
        return between

    def _layers(self) -> tuple[str, list[str], int, int]:
        """All layers: what the last one gives (rows, B, H), the tensors of `boundaries`, the rows, and where they end.

        What comes behind the end is padding.
        """
        g, spec, request, tokens = self._g, self._spec, self._request, isinstance(self._spec.input, Tokens)
        if request.emission == "plugin":
            answers = kernel_answers(spec, request.steps)
            top, between = add_stack(g, spec, self._weights, request, self._rows(INPUT))
            return (
                time_major(g, request, top, answers, (spec.hidden[-1],), f"{top}/time_major"),
                between,
                answers,
                answers,
            )
        weights = [LayerWeights.of(spec, self._weights, index) for index in range(spec.layers)]
        row = () if tokens else (spec.input.width,)
        x = self._rows(time_major(g, request, INPUT, request.steps, row, "time_major"))
        if request.emission == "skewed":
            names = {name: (state_name(name), next_state_name(name)) for name in request.state_shapes(spec)}
            top, every = SkewedLayers(g, spec, request, weights).emit(x, names)
            return top, [g.origin(x), every], request.steps, request.steps
        given, length, stop = all_layers(g, spec, request, weights, x)
        return given[-1], [*map(g.origin, (x, *given))], length, stop

    def _rows(self, x: str) -> str:
        """What the first layer reads: (T, B, C) or, of tokens (T, B), rows of their embedding or one-hot vectors."""
        g, spec = self._g, self._spec
        if not isinstance(spec.input, Tokens):
            return x
        if spec.input.embedding is not None:
            table = g.constant("embedding/table", self._weights["embedding.weight"])
            return g.node("Gather", [table, x], "embedding", axis=0)
        depth = g.constant("one_hot/depth", np.array(spec.input.vocabulary, np.int64))
        values = g.constant("one_hot/values", np.array([0, 1], np.float32))
        return g.node("OneHot", [x, depth, values], "one_hot", axis=-1)

    def _fusion_memory(self, top: str, rows: int) -> str:
        """top: (rows, B, H). Puts the last window - 1 top outputs before it, and remembers those of the next chunk."""
        g, past = self._g, self._spec.window - 1
        before = g.node("Transpose", [state_name("fusion")], "fusion/time_major", perm=[1, 0, 2])
        joined = g.node("Concat", [before, top], "fusion/joined", axis=0)
        last = g.take(joined, rows, rows + past, "fusion/last")
        g.node("Transpose", [last], "fusion/batch_first", output=next_state_name("fusion"), perm=[1, 0, 2])
        return joined

    def _head(self, top: str, stop: int, length: int, steps: int) -> None:
        """top: (length, B, H), of which the rows before `stop` count. Ends in `output`, for the last `steps` steps."""
        g, spec, weights = self._g, self._spec, self._weights
        window, features = spec.window, spec.hidden[-1]
        weight, bias = weights["head.weight"], g.constant("head/B", weights["head.bias"])
        first = stop - (steps + window - 1)
        if window > 1:
            indices = first + np.arange(steps)[:, None] + np.arange(window)
            top = g.gather(top, indices, "head/window")  # (k, window, B, H)
            top = g.node("Transpose", [top], "head/batch_first", perm=[2, 0, 1, 3])  # (B, k, window, H)
        elif first > 0 or stop < length:
            top = g.take(top, first, stop, "head/select")  # (k, B, H)
        if spec.head.kind == "last":
            rows = g.reshape(top, (-1, window * features), "head/rows")
            g.node("Gemm", [rows, g.constant("head/W", weight), bias], "head/linear", output=OUTPUT, transB=1)
            return
        if window > 1:
            top = g.reshape(top, (-1, steps, window * features), "head/rows")
        else:
            top = g.node("Transpose", [top], "head/batch_first", perm=[1, 0, 2])
        product = g.node("MatMul", [top, g.constant("head/W", weight.T)], "head/product")
        g.node("Add", [product, bias], "head/linear", output=OUTPUT)

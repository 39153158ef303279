"""Weights and spec to an ONNX model: emitted node by node, nothing traced, no torch.

input (B, T, C) -> time-major -> per layer: select steps, pad, fold, run, unfold -> window -> linear -> output
"""

from __future__ import annotations

import json
from importlib import metadata

import numpy as np
import onnx

from drnn_export.cells import LayerWeights, fused_layer, unrolled_layer
from drnn_export.graph import FLOAT, INT64, GraphBuilder
from drnn_export.request import NODE_BUDGET, GraphRequest, check_budget
from drnn_models.cone import ConePlan, LayerPlan, as_slice
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights, check_weights

GRAPH_FORMAT = "drnn-deploy-graph/1"
INPUT, OUTPUT = "input", "output"


def emit(
    spec: ModelSpec, weights: Weights, request: GraphRequest, *, node_budget: int = NODE_BUDGET
) -> onnx.ModelProto:
    """Emit one graph.

    Input `input`: (B, T, C) float32 or (B, T) int64 tokens. Output `output`: float32, as `ModelSpec.head` says. The
    same arguments give the same bytes. Raises `InputError` where the weights do not fit the spec or the graph would be
    over the node budget.
    """
    check_budget(spec, request, node_budget)
    weights = check_weights(spec, weights)
    g = GraphBuilder()
    plan = request.plan(spec)
    x, length = _time_major(g, spec, weights), request.steps
    for index, layer in enumerate(plan.layers):
        x, length = _layer(g, spec, LayerWeights.of(spec, weights, index), layer, request, x, length, f"l{index}")
    _head(g, spec, weights, plan, x, length)

    tokens = isinstance(spec.input, Tokens)
    in_shape = (request.batch, request.steps) if tokens else (request.batch, request.steps, spec.input.width)
    steps = spec.head.output_steps(request.steps)
    out_shape = (
        (request.batch, spec.head.outputs) if spec.head.kind == "last" else (request.batch, steps, spec.head.outputs)
    )
    return g.model(
        [(INPUT, INT64 if tokens else FLOAT, in_shape)],
        [(OUTPUT, FLOAT, out_shape)],
        {"drnn.format": GRAPH_FORMAT, "drnn.form": "sequence", "drnn.spec": json.dumps(spec.to_json(), sort_keys=True)},
        metadata.version("drnn-deploy"),
    )


def _time_major(g: GraphBuilder, spec: ModelSpec, weights: Weights) -> str:
    """(B, T, C) or tokens (B, T) -> (T, B, C)."""
    if not isinstance(spec.input, Tokens):
        return g.node("Transpose", [INPUT], "time_major", perm=[1, 0, 2])
    tokens = g.node("Transpose", [INPUT], "time_major", perm=[1, 0])
    if spec.input.embedding is not None:
        return g.node(
            "Gather", [g.constant("embedding/table", weights["embedding.weight"]), tokens], "embedding", axis=0
        )
    depth = g.constant("one_hot/depth", np.array(spec.input.vocabulary, np.int64))
    return g.node(
        "OneHot", [tokens, depth, g.constant("one_hot/values", np.array([0, 1], np.float32))], "one_hot", axis=-1
    )


def _layer(
    g: GraphBuilder,
    spec: ModelSpec,
    weights: LayerWeights,
    layer: LayerPlan,
    request: GraphRequest,
    x: str,
    length: int,
    name: str,
) -> tuple[str, int]:
    """x: (length, B, C). Returns (cells * fold, B, H) and its length; rows past `layer.steps` are padding.

    Padding at the end reaches no earlier output, so it is left in place for the layers above.
    """
    features, hidden = next(iter(weights.w.values())).shape[1], len(next(iter(weights.br.values())))
    if layer.select is not None:
        kept = as_slice(layer.select)
        selected = f"{name}/select"
        x = g.take(x, kept.start, kept.stop, kept.step, selected) if kept else g.gather(x, layer.select, selected)
        length = layer.steps
    full = layer.cells * layer.fold
    if length < full:
        x = g.pad(x, 0, full - length, f"{name}/pad")
    elif length > full:
        x = g.take(x, 0, full, 1, f"{name}/trim")
    batch = -1 if request.batch is None else request.batch
    if request.emission == "fused":
        rows = batch if batch < 0 else layer.fold * batch
        x = g.reshape(x, (layer.cells, rows, features), f"{name}/fold") if layer.fold > 1 else x
        y = fused_layer(g, spec, weights, x, name)
    else:
        x = g.reshape(x, (full * batch, features), f"{name}/fold")
        y = unrolled_layer(g, spec, weights, x, layer.cells, layer.fold * batch, name)
    return g.reshape(y, (full, batch, hidden), f"{name}/unfold"), full


def _head(g: GraphBuilder, spec: ModelSpec, weights: Weights, plan: ConePlan, top: str, length: int) -> None:
    """top: (length, B, H), of which the first `steps` of the top layer's plan count. Ends in `output`."""
    steps, window, features = spec.head.output_steps(plan.length), spec.window, spec.hidden[-1]
    stop = plan.layers[-1].steps
    weight, bias = weights["head.weight"], g.constant("head/B", weights["head.bias"])
    missing = steps + window - 1 - plan.head_steps
    if missing:  # the window of the first outputs reaches to before the sequence
        top, stop = g.pad(top, missing, 0, "head/pad"), stop + missing
    first = stop - (steps + window - 1)
    if window > 1:
        indices = first + np.arange(steps)[:, None] + np.arange(window)
        top = g.gather(top, indices, "head/window")  # (k, window, B, H)
        top = g.node("Transpose", [top], "head/batch_first", perm=[2, 0, 1, 3])  # (B, k, window, H)
    elif first > 0 or stop < length:
        top = g.take(top, first, stop, 1, "head/select")  # (k, B, H)
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

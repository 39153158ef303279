"""One recurrent layer as ONNX nodes: the fused operator, or unrolled steps. One piece of code for RNN, GRU and LSTM.

Both take time-major rows and follow the ONNX operator definitions. A GRU resets after the recurrent product as torch
does (linear_before_reset = 1), or before it where the spec says so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_export.emitter.builder import GraphBuilder
from drnn_models.cells import CELLS
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights

Array = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class LayerWeights:
    """One layer's weights with their gate blocks apart: w (H, C), r (H, H), bw and br (H,) per gate letter.

    `name`: the layer's, under which its weights become constants, however many nodes use them.
    """

    name: str
    w: dict[str, Array]
    r: dict[str, Array]
    bw: dict[str, Array]
    br: dict[str, Array]

    @classmethod
    def of(cls, spec: ModelSpec, weights: Weights, layer: int) -> LayerWeights:
        """Take layer `layer` out of a network's weights."""
        order = CELLS[spec.cell].torch

        def blocks(name: str) -> dict[str, Array]:
            return dict(zip(order, np.split(weights[f"layers.{layer}.{name}_l0"], len(order)), strict=True))

        parts = (blocks(part) for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        return cls(f"l{layer}", *parts)

    @property
    def features(self) -> int:
        """Inputs per step."""
        return int(next(iter(self.w.values())).shape[1])

    @property
    def hidden(self) -> int:
        """Units."""
        return len(next(iter(self.br.values())))


def cell_nodes(spec: ModelSpec) -> int:
    """Nodes of one unrolled step."""
    return {"rnn": 2, "gru": 10 if spec.reset == "after" else 9, "lstm": 10}[spec.cell]


def stack(blocks: dict[str, Array], order: str) -> Array:
    """Gate blocks from top to bottom in the given order."""
    return np.concatenate([blocks[gate] for gate in order])


def fused_layer(
    g: GraphBuilder, spec: ModelSpec, layer: LayerWeights, rows: str, name: str, initial: Sequence[str] = ()
) -> tuple[str, str]:
    """rows: (steps, rows, C). initial: h, for an LSTM also c, (1, rows, H) each, or nothing for zeros.

    Returns the outputs (steps, 1, rows, H), and of an LSTM with a state also the last c (1, rows, H), otherwise "".
    """
    order = CELLS[spec.cell].onnx
    attributes: dict[str, Any] = {"hidden_size": layer.hidden}
    if spec.cell == "gru":
        attributes["linear_before_reset"] = int(spec.reset == "after")
    if spec.activation == "relu":
        attributes["activations"] = ["Relu"]
    inputs = [
        rows,
        g.constant(f"{layer.name}/operator/W", stack(layer.w, order)[None]),
        g.constant(f"{layer.name}/operator/R", stack(layer.r, order)[None]),
        g.constant(f"{layer.name}/operator/B", np.concatenate([stack(layer.bw, order), stack(layer.br, order)])[None]),
        *(("", *initial) if initial else ()),
    ]
    operator, node = CELLS[spec.cell].operator, f"{name}/{spec.cell}"
    if len(initial) < 2:
        return g.node(operator, inputs, node, **attributes), ""
    outputs, _, last = g.nodes(operator, inputs, node, ["outputs", "", "c"], **attributes)
    return outputs, last


def unrolled_layer(
    g: GraphBuilder,
    spec: ModelSpec,
    layer: LayerWeights,
    x: str,
    steps: int,
    rows: int,
    name: str,
    initial: Sequence[str] = (),
) -> tuple[str, str]:
    """x: (steps * rows, C). initial: h, for an LSTM also c, (rows, H) each, or nothing for zeros.

    Returns the outputs (steps * rows, H), and of an LSTM the last c (rows, H), otherwise ""; `cell_nodes` a step.
    """
    ticks = [f"t{t:03d}" for t in range(steps)]

    def project(gates: str, *, with_recurrent_bias: bool, label: str) -> list[str]:
        """W x + b for all steps in one product, then one (rows, G*H) piece per step."""
        bias = stack(layer.bw, gates) + (stack(layer.br, gates) if with_recurrent_bias else 0)
        weight = g.constant(f"{layer.name}/{label}/W", stack(layer.w, gates))
        inputs = [x, weight, g.constant(f"{layer.name}/{label}/B", bias)]
        whole = g.node("Gemm", inputs, f"{name}/{label}", transB=1)
        return g.split(whole, [rows] * steps, f"{name}/{label}/steps", ticks, axis=0) if steps > 1 else [whole]

    if not initial:
        zeros = g.constant(f"zeros_{rows}_{layer.hidden}", np.zeros((rows, layer.hidden), np.float32))
        initial = [zeros, zeros]
    run = {"rnn": _rnn_steps, "gru": _gru_steps, "lstm": _lstm_steps}[spec.cell]
    outputs, last = run(g, spec, layer, project, initial, [f"{name}/{tick}" for tick in ticks])
    return (g.node("Concat", outputs, f"{name}/outputs", axis=0) if steps > 1 else outputs[0]), last


Project = Callable[..., list[str]]


def _rnn_steps(
    g: GraphBuilder,
    spec: ModelSpec,
    layer: LayerWeights,
    project: Project,
    initial: Sequence[str],
    ticks: Sequence[str],
) -> tuple[list[str], str]:
    recurrent, h = g.constant(f"{layer.name}/R", layer.r["h"]), initial[0]
    outputs = []
    for tick, fed in zip(ticks, project("h", with_recurrent_bias=True, label="input"), strict=True):
        gates = g.node("Gemm", [h, recurrent, fed], f"{tick}/gates", transB=1)
        h = rnn_update(g, spec, gates, tick)
        outputs.append(h)
    return outputs, ""


def _gru_steps(
    g: GraphBuilder,
    spec: ModelSpec,
    layer: LayerWeights,
    project: Project,
    initial: Sequence[str],
    ticks: Sequence[str],
) -> tuple[list[str], str]:
    name, size, h, after = layer.name, layer.hidden, initial[0], spec.reset == "after"
    recurrent, recurrent_new = g.constant(f"{name}/Rzr", stack(layer.r, "zr")), g.constant(f"{name}/Rn", layer.r["n"])
    fed = project("zr", with_recurrent_bias=True, label="input_zr")
    fed_new = project("n", with_recurrent_bias=not after, label="input_n")
    outputs = []
    for tick, for_gates, for_new in zip(ticks, fed, fed_new, strict=True):
        gates = g.node("Gemm", [h, recurrent, for_gates], f"{tick}/gates", transB=1)
        if after:
            bias_new = g.constant(f"{name}/Bn", layer.br["n"])
            recalled = g.node("Gemm", [h, recurrent_new, bias_new], f"{tick}/recalled", transB=1)
            h = gru_update(g, h, gates, for_new, size, tick, axis=1, recalled=recalled)
        else:

            def recall(kept: str, total: str, fed: str = for_new) -> str:
                return g.node("Gemm", [kept, recurrent_new, fed], total, transB=1)

            h = gru_update(g, h, gates, for_new, size, tick, axis=1, recall=recall)
        outputs.append(h)
    return outputs, ""


def _lstm_steps(
    g: GraphBuilder,
    spec: ModelSpec,
    layer: LayerWeights,
    project: Project,
    initial: Sequence[str],
    ticks: Sequence[str],
) -> tuple[list[str], str]:
    h, cell = initial
    recurrent = g.constant(f"{layer.name}/R", stack(layer.r, "ifog"))
    outputs = []
    for tick, fed in zip(ticks, project("ifog", with_recurrent_bias=True, label="input"), strict=True):
        gates = g.node("Gemm", [h, recurrent, fed], f"{tick}/gates", transB=1)
        h, cell = lstm_update(g, cell, gates, layer.hidden, tick, axis=1)
        outputs.append(h)
    return outputs, cell


def rnn_update(g: GraphBuilder, spec: ModelSpec, gates: str, tick: str) -> str:
    """One step: h = act(gates), where gates = W x + b + R h."""
    return g.node("Relu" if spec.activation == "relu" else "Tanh", [gates], f"{tick}/h")


def gru_update(
    g: GraphBuilder,
    h: str,
    gates: str,
    fed_new: str,
    size: int,
    tick: str,
    *,
    axis: int,
    recalled: str = "",
    recall: Callable[[str, str], str] | None = None,
) -> str:
    """One step: z, r = sigmoid(gates); n = tanh(fed_new + r * recalled); h = n + z * (h - n).

    With the reset before the product, n = tanh(recall(r * h, name of the sum)) instead, where fed_new is in the sum.
    """
    update, reset = g.split(g.node("Sigmoid", [gates], f"{tick}/zr"), [size] * 2, f"{tick}/gate", "zr", axis=axis)
    kept = g.node("Mul", [reset, recalled or h], f"{tick}/kept")
    total = recall(kept, f"{tick}/total") if recall else g.node("Add", [fed_new, kept], f"{tick}/total")
    new = g.node("Tanh", [total], f"{tick}/n")
    change = g.node("Mul", [update, g.node("Sub", [h, new], f"{tick}/difference")], f"{tick}/change")
    return g.node("Add", [new, change], f"{tick}/h")


def lstm_update(g: GraphBuilder, cell: str, gates: str, size: int, tick: str, *, axis: int) -> tuple[str, str]:
    """One step, gates in the order i, f, o, g: c = f * c + i * g; h = o * tanh(c). Returns h and c."""
    sigmoids, candidate = g.split(gates, [3 * size, size], f"{tick}/parts", ["ifo", "g"], axis=axis)
    opened = g.node("Sigmoid", [sigmoids], f"{tick}/opened")
    keep_in, forget, out = g.split(opened, [size] * 3, f"{tick}/gate", "ifo", axis=axis)
    candidate = g.node("Tanh", [candidate], f"{tick}/candidate")
    kept = g.node("Mul", [forget, cell], f"{tick}/kept")
    cell = g.node("Add", [kept, g.node("Mul", [keep_in, candidate], f"{tick}/added")], f"{tick}/c")
    return g.node("Mul", [out, g.node("Tanh", [cell], f"{tick}/squashed")], f"{tick}/h"), cell

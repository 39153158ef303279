"""One recurrent layer as ONNX nodes: the fused operator, or unrolled steps. One piece of code for RNN, GRU and LSTM.

Both take time-major rows and follow the ONNX operator definitions with torch's conventions (GRU resets after the
recurrent product: linear_before_reset = 1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_export.graph import GraphBuilder
from drnn_models.gates import GATES
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights

Array = NDArray[np.float32]
CELL_NODES = {"rnn": 2, "gru": 10, "lstm": 10}  # nodes of one unrolled step
PROJECTIONS = {"rnn": 1, "gru": 2, "lstm": 1}  # input products per layer, over all steps at once


@dataclasses.dataclass(frozen=True)
class LayerWeights:
    """One layer's weights with their gate blocks apart: w (H, C), r (H, H), bw and br (H,) per gate letter."""

    w: dict[str, Array]
    r: dict[str, Array]
    bw: dict[str, Array]
    br: dict[str, Array]

    @classmethod
    def of(cls, spec: ModelSpec, weights: Weights, layer: int) -> LayerWeights:
        """Take layer `layer` out of a network's weights."""
        order = GATES[spec.cell].torch

        def blocks(name: str) -> dict[str, Array]:
            return dict(zip(order, np.split(weights[f"layers.{layer}.{name}_l0"], len(order)), strict=True))

        return cls(blocks("weight_ih"), blocks("weight_hh"), blocks("bias_ih"), blocks("bias_hh"))


def stack(blocks: dict[str, Array], order: str) -> Array:
    """Gate blocks from top to bottom in the given order."""
    return np.concatenate([blocks[gate] for gate in order])


def fused_layer(g: GraphBuilder, spec: ModelSpec, layer: LayerWeights, rows: str, name: str) -> str:
    """rows: (steps, rows, C). Returns (steps, 1, rows, H), from a zero state."""
    order = GATES[spec.cell].onnx
    attributes: dict[str, Any] = {"hidden_size": len(layer.br[order[0]])}
    if spec.cell == "gru":
        attributes["linear_before_reset"] = 1
    if spec.activation == "relu":
        attributes["activations"] = ["Relu"]
    inputs = [
        rows,
        g.constant(f"{name}/W", stack(layer.w, order)[None]),
        g.constant(f"{name}/R", stack(layer.r, order)[None]),
        g.constant(f"{name}/B", np.concatenate([stack(layer.bw, order), stack(layer.br, order)])[None]),
    ]
    return g.node(spec.cell.upper(), inputs, f"{name}/{spec.cell}", **attributes)


def unrolled_layer(
    g: GraphBuilder, spec: ModelSpec, layer: LayerWeights, x: str, steps: int, rows: int, name: str
) -> str:
    """x: (steps * rows, C). Returns (steps * rows, H), from a zero state; `CELL_NODES` nodes per step."""
    hidden = len(layer.br[GATES[spec.cell].onnx[0]])
    ticks = [f"t{t:03d}" for t in range(steps)]

    def project(gates: str, *, with_recurrent_bias: bool, label: str) -> list[str]:
        """W x + b for all steps in one product, then one (rows, G*H) piece per step."""
        bias = stack(layer.bw, gates) + (stack(layer.br, gates) if with_recurrent_bias else 0)
        weight = g.constant(f"{name}/{label}/W", stack(layer.w, gates))
        whole = g.node("Gemm", [x, weight, g.constant(f"{name}/{label}/B", bias)], f"{name}/{label}", transB=1)
        return g.split(whole, [rows] * steps, f"{name}/{label}/steps", ticks, axis=0) if steps > 1 else [whole]

    zeros = g.constant(f"zeros_{rows}_{hidden}", np.zeros((rows, hidden), np.float32))
    run = {"rnn": _rnn_steps, "gru": _gru_steps, "lstm": _lstm_steps}[spec.cell]
    outputs = run(g, spec, layer, project, zeros, [f"{name}/{tick}" for tick in ticks])
    return g.node("Concat", outputs, f"{name}/outputs", axis=0) if steps > 1 else outputs[0]


Project = Callable[..., list[str]]


def _rnn_steps(
    g: GraphBuilder, spec: ModelSpec, layer: LayerWeights, project: Project, h: str, ticks: Sequence[str]
) -> list[str]:
    """One step: h = act(W x + b + R h)."""
    recurrent = g.constant(f"{ticks[0].rpartition('/')[0]}/R", layer.r["h"])
    outputs = []
    for tick, fed in zip(ticks, project("h", with_recurrent_bias=True, label="input"), strict=True):
        gates = g.node("Gemm", [h, recurrent, fed], f"{tick}/gates", transB=1)
        h = g.node("Relu" if spec.activation == "relu" else "Tanh", [gates], f"{tick}/h")
        outputs.append(h)
    return outputs


def _gru_steps(
    g: GraphBuilder, spec: ModelSpec, layer: LayerWeights, project: Project, h: str, ticks: Sequence[str]
) -> list[str]:
    """One step: z, r = sigmoid(...); n = tanh(W x + b + r * (R h + b_r)); h = n + z * (h - n)."""
    name, size = ticks[0].rpartition("/")[0], len(layer.br["n"])
    recurrent = g.constant(f"{name}/Rzr", stack(layer.r, "zr"))
    recurrent_new, bias_new = g.constant(f"{name}/Rn", layer.r["n"]), g.constant(f"{name}/Bn", layer.br["n"])
    fed = project("zr", with_recurrent_bias=True, label="input_zr")
    fed_new = project("n", with_recurrent_bias=False, label="input_n")
    outputs = []
    for tick, for_gates, for_new in zip(ticks, fed, fed_new, strict=True):
        gates = g.node("Gemm", [h, recurrent, for_gates], f"{tick}/gates", transB=1)
        update, reset = g.split(g.node("Sigmoid", [gates], f"{tick}/zr"), [size] * 2, f"{tick}/gate", "zr", axis=1)
        recalled = g.node("Gemm", [h, recurrent_new, bias_new], f"{tick}/recalled", transB=1)
        total = g.node("Add", [for_new, g.node("Mul", [reset, recalled], f"{tick}/kept")], f"{tick}/total")
        new = g.node("Tanh", [total], f"{tick}/n")
        change = g.node("Mul", [update, g.node("Sub", [h, new], f"{tick}/difference")], f"{tick}/change")
        h = g.node("Add", [new, change], f"{tick}/h")
        outputs.append(h)
    return outputs


def _lstm_steps(
    g: GraphBuilder, spec: ModelSpec, layer: LayerWeights, project: Project, h: str, ticks: Sequence[str]
) -> list[str]:
    """One step: i, f, o = sigmoid(...); g = tanh(...); c = f * c + i * g; h = o * tanh(c)."""
    size = len(layer.br["i"])
    recurrent = g.constant(f"{ticks[0].rpartition('/')[0]}/R", stack(layer.r, "ifog"))
    cell, outputs = h, []
    for tick, fed in zip(ticks, project("ifog", with_recurrent_bias=True, label="input"), strict=True):
        gates = g.node("Gemm", [h, recurrent, fed], f"{tick}/gates", transB=1)
        sigmoids, candidate = g.split(gates, [3 * size, size], f"{tick}/parts", ["ifo", "g"], axis=1)
        opened = g.node("Sigmoid", [sigmoids], f"{tick}/opened")
        keep_in, forget, out = g.split(opened, [size] * 3, f"{tick}/gate", "ifo", axis=1)
        candidate = g.node("Tanh", [candidate], f"{tick}/candidate")
        kept = g.node("Mul", [forget, cell], f"{tick}/kept")
        cell = g.node("Add", [kept, g.node("Mul", [keep_in, candidate], f"{tick}/added")], f"{tick}/c")
        h = g.node("Mul", [out, g.node("Tanh", [cell], f"{tick}/squashed")], f"{tick}/h")
        outputs.append(h)
    return outputs

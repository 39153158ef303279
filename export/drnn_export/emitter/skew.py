"""All layers of a step as one batched cell: layer l works on step t - l, so that none waits for the one below it.

Exact, and the output comes `layers - 1` steps later. What layer l reads is what layer l - 1 gave one run before: the
newest row of its delay line. Narrower layers are padded with zero weights up to the widest, which leaves their padding
at zero. Values are (B, layers, H) between the nodes; W is the wider of the input and H.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_export.emitter.builder import GraphBuilder
from drnn_export.emitter.cells import LayerWeights, gru_update, lstm_update, rnn_update
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import ModelSpec

Array = NDArray[np.float32]
_GATES = {"rnn": "h", "gru": "zrn", "lstm": "ifog"}  # columns of the product, as `drnn_export.emitter.cells` takes them


def skewed_layers(
    g: GraphBuilder,
    spec: ModelSpec,
    layers: Sequence[LayerWeights],
    request: GraphRequest,
    x: str,
    states: Mapping[str, tuple[str, str]],
) -> tuple[str, str]:
    """One step of every layer, and the update of their packed delay lines.

    x: (1, B, C). states: (input, output) names of `drnn_export.emitter.request.packed_shapes`. Returns the top (1, B,
    H_last) and h of all layers (B, layers, H).
    """
    size, wide = max(spec.hidden), max(*spec.hidden, spec.input.width)
    oldest, newest = _rows(spec)
    lines = states["lines_h"][0]
    below = g.reshape(x, (request.rows, 1, spec.input.width), "skew/input")
    below = _widened(g, below, wide - spec.input.width, "skew/input/wide")
    if spec.layers > 1:
        given = g.gather(lines, newest[:-1], "skew/below", axis=1)
        given = _widened(g, given, wide - size, "skew/below/wide")
        below = g.node("Concat", [below, given], "skew/belows", axis=1)  # (B, layers, W)
    before = {part: g.gather(line, oldest, f"skew/oldest_{part}", axis=1) for part, line in _lines(states)}
    parts = _cells(g, spec, layers, request, below, before, (wide, size))
    reached = _reached(g, spec, *states["started"])
    for part, line in _lines(states):
        new = g.node("Mul", [parts[part], reached], f"skew/new_{part}")
        both = g.node("Concat", [line, new], f"skew/both_{part}", axis=1)
        g.gather(both, _shifted(spec), f"skew/lines_{part}", axis=1, output=states[f"lines_{part}"][1])
        parts[part] = new
    top = g.take(parts["h"], spec.layers - 1, spec.layers, 1, "skew/top", axis=1)
    if spec.hidden[-1] < size:
        top = g.take(top, 0, spec.hidden[-1], 1, "skew/top/narrow", axis=2)
    return g.reshape(top, (1, request.rows, spec.hidden[-1]), "skew/top/time_major"), parts["h"]


def _lines(states: Mapping[str, tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name[-1], before) for name, (before, _) in states.items() if name.startswith("lines_")]


def _rows(spec: ModelSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where every layer's oldest and newest row is among the packed ones."""
    ends = np.cumsum(spec.dilations)
    return ends - np.array(spec.dilations), ends - 1


def _shifted(spec: ModelSpec) -> NDArray[np.int64]:
    """Rows of [lines, new] that make the next lines: every line loses its oldest row and gains the layer's new one."""
    rows = np.arange(sum(spec.dilations)) + 1
    rows[_rows(spec)[1]] = sum(spec.dilations) + np.arange(spec.layers)
    return rows


def _reached(g: GraphBuilder, spec: ModelSpec, before: str, after: str) -> str:
    """1 for the layers that the sequence has reached, one more in each run; the others keep their zeros."""
    climb = g.constant("skew/climb", np.eye(spec.layers, k=-1, dtype=np.float32))
    first = g.constant("skew/first", np.eye(spec.layers, 1, dtype=np.float32))
    return g.node("Add", [g.node("MatMul", [climb, before], "skew/climbed"), first], "skew/reached", output=after)


def _cells(
    g: GraphBuilder,
    spec: ModelSpec,
    layers: Sequence[LayerWeights],
    request: GraphRequest,
    below: str,
    before: Mapping[str, str],
    widths: tuple[int, int],
) -> dict[str, str]:
    """below: (B, layers, W). before: h and c. Returns the new ones, (B, layers, H) each."""
    (wide, size), h = widths, before["h"]
    reads = g.node("Concat", [below, h], "skew/reads", axis=2)
    apart = spec.cell == "gru" and spec.reset == "after"  # r scales R h + b alone, so W x + b has columns of its own
    weight = np.stack([_columns(layer, _GATES[spec.cell], wide, size, apart=apart) for layer in layers])
    bias = np.stack([_biases(layer, _GATES[spec.cell], size, apart=apart) for layer in layers])
    gates = _product(g, request, reads, weight, bias, "skew/gates")
    if spec.cell == "rnn":
        return {"h": rnn_update(g, spec, gates, "skew")}
    if spec.cell == "lstm":
        h, c = lstm_update(g, before["c"], gates, size, "skew", axis=2)
        return {"h": h, "c": c}
    sizes, labels = [2 * size, size, size], ["zr", "fed", "recalled"]
    if apart:
        zr, fed, recalled = g.split(gates, sizes, "skew/parts", labels, axis=2)
        return {"h": gru_update(g, h, zr, fed, size, "skew", axis=2, recalled=recalled)}
    zr, fed = g.split(gates, sizes[:2], "skew/parts", labels[:2], axis=2)
    recurrent = np.stack([_padded(layer.r["n"], size, size).T for layer in layers])

    def recall(kept: str, total: str) -> str:
        return g.node("Add", [fed, _product(g, request, kept, recurrent, None, "skew/recalled")], total)

    return {"h": gru_update(g, h, zr, fed, size, "skew", axis=2, recall=recall)}


def _product(g: GraphBuilder, request: GraphRequest, reads: str, weight: Array, bias: Array | None, name: str) -> str:
    """(B, layers, K) times (layers, K, N), plus (layers, 1, N) -> (B, layers, N)."""
    count, inner, outer = weight.shape
    alone = request.batch == 1  # then the axes change places in a reshape, which costs nothing
    if alone:
        rows = g.reshape(reads, (count, 1, inner), f"{name}/by_layer")
    else:
        rows = g.node("Transpose", [reads], f"{name}/by_layer", perm=[1, 0, 2])
    rows = g.node("MatMul", [rows, g.constant(f"{name}/W", weight)], f"{name}/product")
    if bias is not None:
        rows = g.node("Add", [rows, g.constant(f"{name}/B", bias)], f"{name}/biased")
    if alone:
        return g.reshape(rows, (1, count, outer), f"{name}/by_sequence")
    return g.node("Transpose", [rows], f"{name}/by_sequence", perm=[1, 0, 2])


def _columns(layer: LayerWeights, gates: str, wide: int, size: int, *, apart: bool) -> Array:
    """(W + H, G * H): what each gate makes of [x, h]. `apart`: the last gate's two halves are columns of their own."""
    blocks: list[Array] = []
    for gate in gates:
        fed, recalled = _padded(layer.w[gate], size, wide).T, _padded(layer.r[gate], size, size).T
        if gate == "n":
            blocks.append(np.concatenate([fed, np.zeros_like(recalled)]))
            blocks += [np.concatenate([np.zeros_like(fed), recalled])] if apart else []
        else:
            blocks.append(np.concatenate([fed, recalled]))
    return np.concatenate(blocks, axis=1)


def _biases(layer: LayerWeights, gates: str, size: int, *, apart: bool) -> Array:
    """(1, G * H), in the order of `_columns`."""
    blocks: list[Array] = []
    for gate in gates:
        blocks += [layer.bw[gate], layer.br[gate]] if gate == "n" and apart else [layer.bw[gate] + layer.br[gate]]
    return np.concatenate([np.pad(block, (0, size - len(block))) for block in blocks])[None]


def _padded(block: Array, rows: int, columns: int) -> Array:
    return np.pad(block, ((0, rows - block.shape[0]), (0, columns - block.shape[1])))


def _widened(g: GraphBuilder, value: str, more: int, name: str) -> str:
    """Zeros behind the last of three axes."""
    return g.node("Pad", [value, g.constant(f"{name}/pads", np.array([0, 0, 0, 0, 0, more]))], name) if more else value

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
from drnn_export.emitter.cells import CELL_EMITTERS
from drnn_export.emitter.request import GraphRequest
from drnn_export.emitter.weights import LayerWeights
from drnn_models.spec import ModelSpec

Array = NDArray[np.float32]


class SkewedLayers:
    """The nodes of one step of every layer, and the update of their packed delay lines."""

    def __init__(self, g: GraphBuilder, spec: ModelSpec, request: GraphRequest, layers: Sequence[LayerWeights]) -> None:
        self._g, self._spec, self._request, self._layers = g, spec, request, layers
        self._cell = CELL_EMITTERS[spec.cell](g, spec)
        self._size, self._wide = max(spec.hidden), max(*spec.hidden, spec.input.width)

    def emit(self, x: str, states: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
        """Add one step of all layers.

        Args:
            x: (1, B, C).
            states: (input, output) names of the states of `drnn_runtimes.bundle.graph_kind.packed_shapes`.

        Returns:
            The top (1, B, H_last), and h of all layers (B, layers, H).
        """
        g, spec, size, rows = self._g, self._spec, self._size, self._request.rows
        oldest, newest = _rows(spec)
        below = g.reshape(x, (rows, 1, spec.input.width), "skew/input")
        below = self._widened(below, self._wide - spec.input.width, "skew/input/wide")
        if spec.layers > 1:
            given = g.gather(states["lines_h"][0], newest[:-1], "skew/below", axis=1)
            given = self._widened(given, self._wide - size, "skew/below/wide")
            below = g.node("Concat", [below, given], "skew/belows", axis=1)  # (B, layers, W)
        lines = {letter: states[f"lines_{letter}"] for letter in spec.cell_states}
        before = {
            letter: g.gather(line, oldest, f"skew/oldest_{letter}", axis=1) for letter, (line, _) in lines.items()
        }
        after = self._step(below, before)
        reached = self._reached(*states["started"])
        for letter, (line, output) in lines.items():
            after[letter] = g.node("Mul", [after[letter], reached], f"skew/new_{letter}")
            both = g.node("Concat", [line, after[letter]], f"skew/both_{letter}", axis=1)
            g.gather(both, _shifted(spec), f"skew/lines_{letter}", axis=1, output=output)
        top = g.take(after["h"], spec.layers - 1, spec.layers, "skew/top", axis=1)
        if spec.hidden[-1] < size:
            top = g.take(top, 0, spec.hidden[-1], "skew/top/narrow", axis=2)
        return g.reshape(top, (1, rows, spec.hidden[-1]), "skew/top/time_major"), after["h"]

    def _reached(self, before: str, after: str) -> str:
        """1 for the layers that the sequence has reached, one more in each run; the others keep their zeros."""
        g, layers = self._g, self._spec.layers
        climb = g.constant("skew/climb", np.eye(layers, k=-1, dtype=np.float32))
        first = g.constant("skew/first", np.eye(layers, 1, dtype=np.float32))
        return g.node("Add", [g.node("MatMul", [climb, before], "skew/climbed"), first], "skew/reached", output=after)

    def _step(self, below: str, before: Mapping[str, str]) -> dict[str, str]:
        """below: (B, layers, W). before: state letter -> (B, layers, H). Returns the states after it."""
        wide, size, gates = self._wide, self._size, self._cell.gates
        reads = self._g.node("Concat", [below, before["h"]], "skew/reads", axis=2)
        apart = self._cell.parts_new_gate(self._spec)
        weight = np.stack([_columns(layer, gates, wide, size, apart=apart) for layer in self._layers])
        bias = np.stack([_biases(layer, gates, size, apart=apart) for layer in self._layers])
        product = self._product(reads, weight, bias, "skew/gates")

        def recall(kept: str, fed: str, total: str) -> str:
            recurrent = np.stack([_padded(layer.r["n"], size, size).T for layer in self._layers])
            return self._g.node("Add", [fed, self._product(kept, recurrent, None, "skew/recalled")], total)

        return self._cell.all_layers(product, before, size, recall)

    def _product(self, reads: str, weight: Array, bias: Array | None, name: str) -> str:
        """(B, layers, K) times (layers, K, N), plus (layers, 1, N) -> (B, layers, N)."""
        g, (count, inner, outer) = self._g, weight.shape
        alone = self._request.batch == 1  # then the axes change places in a reshape, which costs nothing
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

    def _widened(self, value: str, more: int, name: str) -> str:
        """Zeros behind the last of three axes."""
        if not more:
            return value
        pads = self._g.constant(f"{name}/pads", np.array([0, 0, 0, 0, 0, more]))
        return self._g.node("Pad", [value, pads], name)


def _rows(spec: ModelSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where every layer's oldest and newest row is among the packed ones."""
    ends = np.cumsum(spec.dilations)
    return ends - np.array(spec.dilations), ends - 1


def _shifted(spec: ModelSpec) -> NDArray[np.int64]:
    """Rows of [lines, new] that make the next lines: every line loses its oldest row and gains the layer's new one."""
    rows = np.arange(sum(spec.dilations)) + 1
    rows[_rows(spec)[1]] = sum(spec.dilations) + np.arange(spec.layers)
    return rows


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

"""A dilated layer as ONNX nodes around one or two runs of its cell: fold, run, unfold; with a state, also its update.

Time-major (steps, B, features) between layers, batch-first (B, rows, H) in states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from drnn_export.emitter.batch_axis import batch_first, time_major
from drnn_export.emitter.builder import GraphBuilder
from drnn_export.emitter.cells import CELL_EMITTERS, Project
from drnn_export.emitter.request import GraphRequest
from drnn_export.emitter.weights import LayerWeights, stack
from drnn_models.cells import CELLS
from drnn_models.cone import LayerPlan
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle.graph_kind import next_state_name, state_name


class LayerEmitter:
    """The nodes of one layer of a graph."""

    def __init__(self, g: GraphBuilder, spec: ModelSpec, request: GraphRequest, weights: LayerWeights) -> None:
        self._g, self._spec, self._request, self._weights = g, spec, request, weights
        self._name, self._hidden = weights.name, weights.hidden
        self._cell = CELL_EMITTERS[spec.cell](g, spec)

    def sequence(self, layer: LayerPlan, x: str, length: int) -> tuple[str, int]:
        """Add the layer from a zero state. It computes the planned steps only.

        Args:
            layer: The steps that the layer computes.
            x: (length, B, C).
            length: Rows of `x`.

        Returns:
            (cells * fold, B, H) and its length. Rows past `layer.steps` are padding: it reaches no earlier output, so
            the layers above get it as well.
        """
        g, name = self._g, self._name
        if layer.select is not None:
            # Also where they are evenly spaced: as quick as a Slice with a step, which tract cannot load.
            x, length = g.gather(x, layer.select, f"{name}/select"), layer.steps
        full = layer.cells * layer.fold
        if length < full:
            x = g.pad(x, 0, full - length, f"{name}/pad")
        elif length > full:
            x = g.take(x, 0, full, f"{name}/trim")
        y, _ = self._run(x, layer.cells, layer.fold, name)
        return y, full

    def stateful(self, dilation: int, x: str, states: Sequence[tuple[str, str]]) -> str:
        """Add the layer from its delay lines, and their update.

        n steps make n // d folded steps; the n % d steps that fill none make one more, on the first rows. With
        `request.ring` and n < d, a state holds the n oldest rows only, and its output the n newest, which take their
        place.

        Args:
            dilation: d.
            x: (n, B, C).
            states: (input, output) names of the delay lines (B, d, H), oldest row first, in the order of the cell's
                states.

        Returns:
            (n, B, H).
        """
        full, rest = divmod(self._request.steps, dilation)
        if not full:
            return self._within_the_line(dilation, x, states)
        g, name, letters = self._g, self._name, self._spec.cell_states
        used = g.take(x, 0, full * dilation, f"{name}/whole") if rest else x
        initial = [self._time_major(before, dilation) for before, _ in states]
        y, cell = self._run(used, full, dilation, name, initial)
        last = g.take(y, (full - 1) * dilation, full * dilation, f"{name}/last") if full > 1 else y
        lines = [last, cell][: len(states)]  # (d, B, H)
        if rest:
            x = g.take(x, full * dilation, self._request.steps, f"{name}/rest_of_input")
            initial = [g.take(line, 0, rest, f"{name}/oldest_{s}") for s, line in zip(letters, lines, strict=True)]
            more, cell = self._run(x, 1, rest, f"{name}/rest", initial)
            for index, new in enumerate([more, cell][: len(states)]):
                kept = g.take(lines[index], rest, dilation, f"{name}/kept_{letters[index]}")
                lines[index] = g.node("Concat", [kept, new], f"{name}/line_{letters[index]}", axis=0)
            y = g.node("Concat", [y, more], f"{name}/all", axis=0)
        for line, (_, after) in zip(lines, states, strict=True):
            self._batch_first(line, dilation, after)
        return y

    def _within_the_line(self, dilation: int, x: str, states: Sequence[tuple[str, str]]) -> str:
        """N < d: one batched cell on the n oldest rows of the delay lines."""
        g, name, steps, ring = self._g, self._name, self._request.steps, self._request.ring
        letters = self._spec.cell_states
        oldest = [
            before if ring else g.take(before, 0, steps, f"{name}/oldest_{letter}", axis=1)
            for letter, (before, _) in zip(letters, states, strict=True)
        ]
        initial = [self._time_major(line, steps) for line in oldest]
        y, cell = self._run(x, 1, steps, name, initial)
        for letter, new, (before, after) in zip(letters, (y, cell), states, strict=False):
            if ring:
                self._batch_first(new, steps, after)
            else:
                kept = g.take(before, steps, dilation, f"{name}/kept_{letter}", axis=1)
                new = self._batch_first(new, steps, f"{name}/new_{letter}")
                g.node("Concat", [kept, new], f"{name}/line_{letter}", output=after, axis=1)
        return y

    def _run(self, x: str, cells: int, fold: int, name: str, initial: Sequence[str] = ()) -> tuple[str, str]:
        """Run the cell over folded steps.

        Args:
            x: (cells * fold, B, C).
            cells: Steps one after the other.
            fold: Rows of a folded step per sequence.
            name: Prefix of the nodes' names.
            initial: The states before the first step, (fold, B, H) each; none for zeros.

        Returns:
            The outputs (cells * fold, B, H) and, of a cell with a c that has a state, the last c (fold, B, H).
        """
        g, batch, hidden, features = self._g, self._request.rows, self._hidden, self._weights.features
        rows = batch if batch < 0 else fold * batch
        if self._request.fuses(self._spec, cells):
            x = g.reshape(x, (cells, rows, features), f"{name}/fold") if fold > 1 else x
            initial = [g.reshape(line, (1, rows, hidden), f"{line}/fold") for line in initial]
            y, cell = self._operator(x, name, initial)
        else:
            x = g.reshape(x, (cells * rows, features), f"{name}/fold")
            initial = [g.reshape(line, (rows, hidden), f"{line}/fold") for line in initial]
            y, cell = self._steps(x, cells, rows, name, initial)
        y = g.reshape(y, (cells * fold, batch, hidden), f"{name}/unfold")
        return y, g.reshape(cell, (fold, batch, hidden), f"{name}/unfold_c") if cell and initial else ""

    def _operator(self, x: str, name: str, initial: Sequence[str]) -> tuple[str, str]:
        """The ONNX operator over x (steps, rows, C).

        initial: (1, rows, H) each, or nothing for zeros. Returns the outputs (steps, 1, rows, H), and of a cell with a
        c that has a state the last c (1, rows, H), otherwise "".
        """
        g, info, weights = self._g, CELLS[self._spec.cell], self._weights
        bias = np.concatenate([stack(weights.bw, info.onnx), stack(weights.br, info.onnx)])
        inputs = [
            x,
            g.constant(f"{self._name}/operator/W", stack(weights.w, info.onnx)[None]),
            g.constant(f"{self._name}/operator/R", stack(weights.r, info.onnx)[None]),
            g.constant(f"{self._name}/operator/B", bias[None]),
            *(("", *initial) if initial else ()),
        ]
        attributes: dict[str, Any] = {"hidden_size": self._hidden, **self._cell.attributes()}
        node = f"{name}/{self._spec.cell}"
        if len(initial) < 2:
            return g.node(info.operator, inputs, node, **attributes), ""
        outputs, _, last = g.nodes(info.operator, inputs, node, ["outputs", "", "c"], **attributes)
        return outputs, last

    def _steps(self, x: str, cells: int, rows: int, name: str, initial: Sequence[str]) -> tuple[str, str]:
        """Nodes over x (cells * rows, C) without an operator: all steps, or a loop over blocks of them.

        initial: (rows, H) each, or nothing for zeros. Returns the outputs (cells * rows, H), and of a cell with a c
        the last c (rows, H) unless it went through a loop, otherwise "".
        """
        g, hidden = self._g, self._hidden
        if not initial:
            zeros = g.constant(f"zeros_{rows}_{hidden}", np.zeros((rows, hidden), np.float32))
            initial = [zeros] * len(self._spec.cell_states)
        trips, length = self._request.blocks(cells)
        if trips == 1:
            y, last = self._unrolled(self._projection(x, cells, rows, name), cells, name, initial)
            return y, "".join(last[1:])
        first, outputs = (cells - trips * length) * rows, []
        if first:
            start, x = g.take(x, 0, first, f"{name}/start"), g.take(x, first, cells * rows, f"{name}/others")
            steps, part = first // rows, f"{name}/first"
            y, initial = self._unrolled(self._projection(start, steps, rows, part), steps, part, initial)
            outputs = [y]
        outputs.append(self._loop(x, trips, length, rows, name, initial))
        return g.node("Concat", outputs, f"{name}/outputs", axis=0) if first else outputs[0], ""

    def _loop(self, x: str, trips: int, length: int, rows: int, name: str, initial: Sequence[str]) -> str:
        """`trips` blocks of `length` steps over x (trips * length * rows, C). Returns the outputs."""
        g, block, size = self._g, f"{name}/block", length * rows

        def project(gates: str, *, with_recurrent_bias: bool, label: str) -> list[str]:
            """The products of all blocks before the loop, which takes its part of them at every trip."""
            with g.around():
                every = self._product(x, gates, name, label, with_recurrent_bias=with_recurrent_bias)
                every = g.reshape(every, (trips, size, len(gates) * self._hidden), f"{block}/{label}/every")
            part = g.node("Gather", [every, f"{block}/trip"], f"{block}/{label}", axis=0)
            return self._pieces(part, length, rows, f"{block}/{label}")

        before = [f"{block}/{letter}" for letter in self._spec.cell_states]
        for state in before:
            g.shape(state, (rows, self._hidden))
        with g.body() as body:
            y, after = self._unrolled(project, length, block, before)
        g.shape(y, (size, self._hidden))
        every = g.loop(body, trips, list(zip(initial, before, after, strict=True)), y, block)
        return g.reshape(every, (trips * size, self._hidden), f"{block}/outputs")

    def _unrolled(self, project: Project, steps: int, name: str, initial: Sequence[str]) -> tuple[str, list[str]]:
        """Nodes for every step; `cell_nodes` a step. initial: (rows, H) each.

        Returns the outputs (steps * rows, H), and the last states (rows, H).
        """
        ticks = [f"{name}/{tick}" for tick in _ticks(steps)]
        outputs, cell = self._cell.steps(self._weights, project, initial, ticks)
        y = self._g.node("Concat", outputs, f"{name}/outputs", axis=0) if steps > 1 else outputs[0]
        return y, [outputs[-1], cell][: len(initial)]

    def _projection(self, x: str, steps: int, rows: int, name: str) -> Project:
        """Gives W x + b for all steps of x (steps * rows, C) in one product, then one (rows, G*H) piece per step."""

        def project(gates: str, *, with_recurrent_bias: bool, label: str) -> list[str]:
            whole = self._product(x, gates, name, label, with_recurrent_bias=with_recurrent_bias)
            return self._pieces(whole, steps, rows, f"{name}/{label}")

        return project

    def _product(self, x: str, gates: str, name: str, label: str, *, with_recurrent_bias: bool) -> str:
        """W x + b of some gates: x (n, C) -> (n, G*H)."""
        g, layer = self._g, self._weights
        bias = stack(layer.bw, gates) + (stack(layer.br, gates) if with_recurrent_bias else 0)
        weight = g.constant(f"{layer.name}/{label}/W", stack(layer.w, gates))
        inputs = [x, weight, g.constant(f"{layer.name}/{label}/B", bias)]
        return g.node("Gemm", inputs, f"{name}/{label}", transB=1)

    def _pieces(self, whole: str, steps: int, rows: int, name: str) -> list[str]:
        """(steps * rows, n) -> (rows, n) for each step."""
        if steps == 1:
            return [whole]
        return self._g.split(whole, [rows] * steps, f"{name}/steps", _ticks(steps), axis=0)

    def _time_major(self, value: str, rows: int) -> str:
        """(B, rows, H) -> (rows, B, H)."""
        return time_major(self._g, self._request, value, rows, (self._hidden,), f"{value}/time_major")

    def _batch_first(self, value: str, rows: int, output: str) -> str:
        """(rows, B, H) -> (B, rows, H), called `output`."""
        return batch_first(self._g, self._request, value, rows, self._hidden, output)


def all_layers(
    g: GraphBuilder, spec: ModelSpec, request: GraphRequest, weights: Sequence[LayerWeights], x: str
) -> tuple[list[str], int, int]:
    """Add the layers one after the other, with the update of their states in forms that have some.

    Args:
        g: The graph.
        spec: The network.
        request: What the graph is.
        weights: Of each layer.
        x: (T, B, C).

    Returns:
        What each layer gives, (rows, B, H), and of the last one the rows and the row after the last step; what comes
        behind is padding.
    """
    layers = [LayerEmitter(g, spec, request, layer) for layer in weights]
    given, rows = [], request.steps
    if request.form == "sequence":
        plan = request.plan(spec)
        for layer, layer_plan in zip(layers, plan.layers, strict=True):
            x, rows = layer.sequence(layer_plan, x, rows)
            given.append(x)
        return given, rows, plan.layers[-1].steps
    for index, (layer, dilation) in enumerate(zip(layers, spec.dilations, strict=True)):
        names = [f"l{index}_{letter}" for letter in spec.cell_states]
        x = layer.stateful(dilation, x, [(state_name(name), next_state_name(name)) for name in names])
        given.append(x)
    return given, rows, rows


def _ticks(steps: int) -> list[str]:
    return [f"t{step:03d}" for step in range(steps)]

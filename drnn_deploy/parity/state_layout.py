"""The states of a graph before and after a run, as its edges hold them, from the reference's values at every step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.streaming.delay_lines import line_name, next_states

Array = NDArray[np.floating]
Trace = Mapping[str, Array]  # see `drnn_runtimes.reference.loop.Reference.trace`
Times = NDArray[np.int64]
Lines = Mapping[str, Array]  # name of `ModelSpec.state_shapes` -> (B, d, H)


def rows_at(values: Array, steps: Times) -> Array:
    """Pick time steps.

    Args:
        values: (B, T, H).
        steps: Time steps, (n,) int64, also outside 0..T-1.

    Returns:
        (B, n, H), zeros where there is no such step.
    """
    inside = (steps >= 0) & (steps < values.shape[1])
    rows = values[:, np.clip(steps, 0, values.shape[1] - 1)]
    return np.where(inside[None, :, None], rows, 0.0)


def states_before(
    spec: ModelSpec, graph: GraphInfo, trace: Trace, run: int, start: Lines | None = None
) -> dict[str, Array]:
    """The state inputs of a run in float64; a ring gets the oldest rows of each line.

    Args:
        spec: The network.
        graph: A graph with state.
        trace: The values between the layers, of all sequences from step 0 on.
        run: The number of the run; run 0 reads the first chunk.
        start: The states at step 0; None for zeros.
    """
    taken = {tensor.name: tensor.shape[1] for tensor in graph.inputs}
    lines = _lines(spec, graph, trace, run, start)
    return {before: lines[line_name(before)][:, : taken[before]] for before, _ in graph.states}


def states_after(
    spec: ModelSpec, graph: GraphInfo, trace: Trace, run: int, start: Lines | None = None
) -> dict[str, Array]:
    """The state outputs of a run in float64; a ring gives the newest rows of each line.

    Args:
        spec: As for `states_before`.
        graph: As for `states_before`.
        trace: As for `states_before`.
        run: As for `states_before`.
        start: As for `states_before`.
    """
    return next_states(graph, _lines(spec, graph, trace, run + 1, start))


def _lines(spec: ModelSpec, graph: GraphInfo, trace: Trace, run: int, start: Lines | None) -> dict[str, Array]:
    """Whole delay lines before a run, by the names that states have without their prefix."""

    def rows(line: str, source: str, steps: Times) -> Array:
        if start is None or line not in start:
            return rows_at(trace[source], steps)
        earlier = start[line]
        return rows_at(np.concatenate([earlier, trace[source]], axis=1), steps + earlier.shape[1])

    late = 1 if graph.emission == "skewed" else 0
    ages = [np.arange(-dilation, 0) for dilation in spec.dilations]
    batch, kinds, last = len(trace["input"]), spec.cell_states, spec.layers - 1
    lines = {
        name: rows(name, name, run * graph.steps - late * layer + ages[layer])
        for layer in range(spec.layers)
        for name in (f"l{layer}_{kind}" for kind in kinds)
    }
    top = run * graph.steps - late * last
    lines["fusion"] = rows("fusion", f"l{last}_h", top + np.arange(1 - spec.window, 0))
    if late:
        wide = max(spec.hidden)
        for kind in kinds:
            every = [lines[f"l{layer}_{kind}"] for layer in range(spec.layers)]
            lines[f"lines_{kind}"] = np.concatenate(
                [np.pad(line, ((0, 0), (0, 0), (0, wide - line.shape[2]))) for line in every], axis=1
            )
        reached = (np.arange(spec.layers) < run).astype(np.float64)
        lines["started"] = np.tile(reached[None, :, None], (batch, 1, 1))
    return lines

"""States of a graph as arrays: between the names and rows of a graph's edges and whole delay lines. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo

Kind = TypeVar("Kind", bound=np.generic)
_PREFIX = "state_"
LAYER_BY_LAYER = "it runs the weights layer by layer, and a skewed graph has its layers at different steps"


def line_name(state: str) -> str:
    """The name in `ModelSpec.state_shapes` of a graph's state input."""
    return state.removeprefix(_PREFIX)


def zero_states(graph: GraphInfo, batch: int) -> dict[str, NDArray[np.float32]]:
    """The graph's state inputs at the start of a sequence.

    Args:
        graph: A graph with state.
        batch: B, in place of the states' first axis.

    Returns:
        Name of the input -> zeros, (B, rows, width) float32.
    """
    names = {name for name, _ in graph.states}
    tensors = [tensor for tensor in graph.inputs if tensor.name in names]
    return {tensor.name: np.zeros((batch, *tensor.shape[1:]), np.float32) for tensor in tensors}


def line_shapes(spec: ModelSpec, graph: GraphInfo, batch: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a stream's delay lines.

    Args:
        spec: The network.
        graph: A graph with state.
        batch: Sequences that are fed in step.

    Returns:
        Name of `DelayLines.lines` -> (B, d, H), or the shape of a packed state of emission `skewed`.
    """
    whole = spec.state_shapes(batch)  # of which a ring's graph takes rows
    fed = {tensor.name: (batch, *tensor.shape[1:]) for tensor in graph.inputs}
    return {line_name(name): whole[line_name(name)] if graph.ring else fed[name] for name, _ in graph.states}


def whole_lines(
    spec: ModelSpec, graph: GraphInfo, inputs: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """Whole delay lines from a graph's state inputs.

    A ring's graph takes the oldest rows of a line only; the chunk does not reach the others, which are zeros here.

    Args:
        spec: The network.
        graph: A graph with state.
        inputs: Name -> array, of all its inputs.

    Returns:
        Name of `ModelSpec.state_shapes` -> (B, d, H), oldest first.
    """
    batch = len(inputs["input"])
    lines = {}
    for state, _ in graph.states:
        name, rows = line_name(state), inputs[state]
        _, length, hidden = spec.state_shapes(batch)[name]
        missing = np.zeros((batch, length - rows.shape[1], hidden), rows.dtype)
        lines[name] = np.concatenate([rows, missing], axis=1)
    return lines


def next_states(graph: GraphInfo, lines: Mapping[str, NDArray[Kind]]) -> dict[str, NDArray[Kind]]:
    """A graph's state outputs from the delay lines after the chunk: the newest rows of a ring, else whole lines.

    Args:
        graph: A graph with state.
        lines: Name of `ModelSpec.state_shapes` -> (B, d, H), oldest first.
    """
    rows = {tensor.name: tensor.shape[1] for tensor in graph.outputs}
    return {after: lines[line_name(state)][:, -rows[after] :] for state, after in graph.states}

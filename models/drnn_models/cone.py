"""Cone pruning: which steps of which layer can reach the output at all. Exact, and computed backwards from the head.

A layer with dilation d needs its own past at t-d, t-2d, ..., so the steps it must compute are whole residue
classes (*phases*) modulo d. Kept in time order, the steps of m phases are again a dilated layer, of dilation m over
fewer steps: pruning a layer is selecting steps from the layer below and running the same fold with m in place of d.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from drnn_models.spec import ModelSpec

Indices = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """What one layer computes.

    Attributes:
        select: Positions of its steps among those that the layer below delivers; None for all.
        phases: Residues modulo the layer's dilation that it computes, ascending; at most one per step.
        steps: The number of time steps that it computes.
    """

    select: Indices | None
    phases: Indices
    steps: int

    @property
    def fold(self) -> int:
        """The effective dilation m: rows per sequence of one folded step."""
        return len(self.phases)

    @property
    def cells(self) -> int:
        """Sequential cell evaluations: ceil(steps / fold)."""
        return -(-self.steps // self.fold)


@dataclasses.dataclass(frozen=True)
class ConePlan:
    """The plan of the whole stack.

    Attributes:
        length: Steps of the input.
        layers: One plan per layer, bottom first.
        head_steps: How many of the top layer's last steps the head reads.
    """

    length: int
    layers: tuple[LayerPlan, ...]
    head_steps: int

    @property
    def evaluations(self) -> int:
        """Cell evaluations per sequence, over all layers."""
        return sum(layer.steps for layer in self.layers)


def plan_cone(spec: ModelSpec, length: int, *, prune: bool = True) -> ConePlan:
    """Plan the steps of every layer for a zero initial state.

    Args:
        spec: The network.
        length: Steps of the input, at least 1.
        prune: Whether layers leave out steps that cannot reach the output.

    Raises:
        ValueError: `length` is below 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    head_steps = min(length, spec.head.output_steps(length) + spec.window - 1)
    needed = np.arange(length - head_steps if prune else 0, length)
    computed: list[Indices] = []
    for dilation in reversed(spec.dilations):
        needed = _with_own_past(needed, dilation, length)
        computed.append(needed)
    computed.reverse()

    layers = []
    below = np.arange(length)
    for steps, dilation in zip(computed, spec.dilations, strict=True):
        select = None if len(steps) == len(below) else np.searchsorted(below, steps)
        layers.append(LayerPlan(select, np.unique(steps % dilation), len(steps)))
        below = steps
    return ConePlan(length, tuple(layers), head_steps)


def as_slice(indices: Indices) -> slice | None:
    """Find the slice that selects the same.

    Args:
        indices: Strictly ascending.

    Returns:
        The slice, or None where the spacing is uneven.
    """
    stride = int(indices[1] - indices[0]) if len(indices) > 1 else 1
    if not np.array_equal(indices, indices[0] + stride * np.arange(len(indices))):
        return None
    return slice(int(indices[0]), int(indices[-1]) + 1, stride)


def _with_own_past(steps: Indices, dilation: int, length: int) -> Indices:
    phase_is_needed = np.zeros(dilation, dtype=bool)
    phase_is_needed[steps % dilation] = True
    return np.flatnonzero(phase_is_needed[np.arange(length) % dilation])

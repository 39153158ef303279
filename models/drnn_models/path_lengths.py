"""How well a network can remember: path lengths, mean recurrent length, and what a sequence costs. Needs no torch.

The path from the input at time i to the output at time i + n climbs through every layer once and crosses n steps along
recurrent edges, each of which is one layer's dilation long. The fewer edges, the easier the gradient's way (Chang et
al. 2017, section 3; the mean over n is their mean recurrent length). The fusion layer, where there is one, is one more
edge and may cross up to d_0 - 1 steps. A skip RNN has edges of one step in every layer as well; a CNN's layer crosses
either nothing or its dilation, once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_core import bounds
from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_models.baseline_specs import ConvSpec, NetworkSpec, SkipSpec
from drnn_models.cone import plan_cone
from drnn_models.spec import ModelSpec

_LONGEST = 1 << 24  # a lag: as long as the largest dilation


@dataclasses.dataclass(frozen=True)
class MemoryReport:
    """How well a network can remember on sequences of one length, and what they cost.

    Attributes:
        length: Steps of a sequence.
        parameters: The number of weights.
        mean_recurrent_length: Mean path length over lags 1 to the largest dilation; infinite where a lag has no path.
        longest_path: The longest of the shortest paths from any step that reaches the last output, in edges.
        reachable: The share of steps that reach the last output.
        sequential_cells: Cell evaluations one after the other, folded.
        evaluations: Cell evaluations per sequence, with cone pruning.
        evaluations_unpruned: The same without pruning.
        multiply_adds: Multiplications of matrix products per sequence, pruned.
    """

    length: int
    parameters: int
    mean_recurrent_length: float
    longest_path: int
    reachable: float
    sequential_cells: int
    evaluations: int
    evaluations_unpruned: int
    multiply_adds: int


def path_lengths(spec: NetworkSpec, longest: int) -> NDArray[np.float64]:
    """Measure the shortest paths through the network.

    Args:
        spec: The network.
        longest: The largest lag, in steps, 0 to about 17 million.

    Returns:
        (longest + 1,) float64: the edges of the shortest path for every lag from 0; infinity where there is no path.

    Raises:
        InputError: `longest` is out of range.
    """
    if not 0 <= longest <= _LONGEST:
        raise InputError(f"the longest lag must be from 0 to {_LONGEST:,}, got {longest:,}")
    edges = np.full(longest + 1, math.inf)
    if isinstance(spec, ConvSpec):
        edges[0] = len(spec.dilations)
        for dilation in spec.dilations:
            edges = np.minimum(edges, _delayed(edges, dilation))
        return edges
    stack = spec.stack if isinstance(spec, SkipSpec) else spec
    edges[0] = stack.layers
    for dilation in sorted({*stack.dilations, *((1,) if isinstance(spec, SkipSpec) else ())}):
        edges = _repeated(edges, dilation)
    return 1 + _best_within(edges, stack.window) if stack.window > 1 else edges


def mean_recurrent_length(spec: NetworkSpec, period: int | None = None) -> float:
    """The mean path length over lags 1 .. `period` (the paper's memory capacity).

    Args:
        spec: The network.
        period: The largest lag, in steps, from 1 to about 17 million; None for the largest dilation.

    Returns:
        Edges; infinity where a lag has no path.

    Raises:
        InputError: `period` is out of range.
    """
    stack = spec.stack if isinstance(spec, SkipSpec) else spec
    period = max(stack.dilations) if period is None else period
    if period < 1:
        raise InputError(f"the largest lag must be at least 1, got {period}")
    return float(path_lengths(spec, period)[1:].mean())


@checked_arguments
def analyse(spec: NetworkSpec, length: int) -> MemoryReport:
    """Compute everything that a `MemoryReport` says.

    Args:
        spec: A dilated network or one of the paper's baselines.
        length: Time steps of a sequence, 1 to about a million.

    Raises:
        InputError: `length` is out of range.
    """
    _check_length(length)
    lags = path_lengths(spec, length - 1)
    reached = lags[np.isfinite(lags)]
    work = _work(spec, length)
    return MemoryReport(
        length=length,
        parameters=sum(math.prod(shape) for shape in spec.weight_shapes().values()),
        mean_recurrent_length=mean_recurrent_length(spec),
        longest_path=int(reached.max()),
        reachable=len(reached) / length,
        sequential_cells=work.sequential,
        evaluations=work.evaluations,
        evaluations_unpruned=work.unpruned,
        multiply_adds=work.multiply_adds,
    )


@dataclasses.dataclass(frozen=True)
class _Work:
    sequential: int
    evaluations: int
    unpruned: int
    multiply_adds: int


def _work(spec: NetworkSpec, length: int) -> _Work:
    shapes = spec.weight_shapes()
    stack = spec.stack if isinstance(spec, SkipSpec) else spec
    steps = [length] * len(stack.dilations)
    sequential = len(steps) if isinstance(spec, ConvSpec) else sum(steps)
    if isinstance(spec, ModelSpec):
        plan = plan_cone(spec, length).layers
        steps, sequential = [layer.steps for layer in plan], sum(layer.cells for layer in plan)
    total = spec.head.output_steps(length) * math.prod(shapes["head.weight"])
    for name, shape in shapes.items():
        if name.startswith("layers.") and "weight" in name:
            total += steps[int(name.split(".")[1])] * math.prod(shape)
    return _Work(sequential, sum(steps), length * len(steps), total)


def doubling_stacks(length: int, *, first: int = 1) -> list[tuple[int, ...]]:
    """Choose dilations that double from layer to layer.

    Args:
        length: Steps of a sequence, 1 to about a million.
        first: The first layer's dilation.

    Returns:
        The dilations of 1, 2, 3, ... layers, until the largest is as long as the sequence.

    Raises:
        InputError: `length` is out of range, or `first` below 1.
    """
    _check_length(length)
    if first < 1:
        raise InputError(f"the first dilation must be at least 1, got {first}")
    layers = 1 + max(0, math.ceil(math.log2(length / first)))
    return [tuple(first << layer for layer in range(count)) for count in range(1, layers + 1)]


@checked_arguments
def suggest(reports: Sequence[MemoryReport]) -> int:
    """Choose the smallest stack with the shortest longest path.

    For 784 and 1,020 steps this is the paper's own choice of nine layers, 1 to 256.

    Args:
        reports: Of several stacks, smallest first.

    Returns:
        The index of the choice.

    Raises:
        InputError: There are no reports.
    """
    if not reports:
        raise InputError("there is no stack to choose from", "Give at least one report.")
    return min(range(len(reports)), key=lambda index: reports[index].longest_path)


def _check_length(length: int) -> None:
    if not 1 <= length <= bounds.STEPS:
        raise InputError(f"length must be from 1 to {bounds.STEPS:,}, the most that is ever checked, got {length:,}")


def _repeated(edges: NDArray[np.float64], dilation: int) -> NDArray[np.float64]:
    """With any number of further edges of one dilation: at each lag the least of edges[lag - n * dilation] + n."""
    rows = -(-len(edges) // dilation)
    lags = np.full(rows * dilation, math.inf)
    lags[: len(edges)] = edges
    taken = np.arange(rows, dtype=np.float64)[:, None]
    best: NDArray[np.float64] = np.minimum.accumulate(lags.reshape(rows, dilation) - taken) + taken
    return best.ravel()[: len(edges)]


def _best_within(edges: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """At each lag the least of the last `window`, found by doubling how many are seen."""
    seen = 1
    while seen < min(window, len(edges)):
        further = min(seen, window - seen)
        edges, seen = np.minimum(edges, _delayed(edges, further)), seen + further
    return edges


def _delayed(edges: NDArray[np.float64], offset: int) -> NDArray[np.float64]:
    return np.concatenate([np.full(min(offset, len(edges)), math.inf), edges[: max(0, len(edges) - offset)]])

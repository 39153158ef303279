"""What a run of the compiled kernel costs, before it is made: counts times coefficients, as in `cost_model`.

`python -m benchmarks.native_costs` fits the coefficients to measurements on one machine. The counts follow the loops of
`drnn.h`: a layer is taken through its rows (a step of a sequence each), up to 32 of them at a time and no more than are
independent of each other; four of these are computed together, the others alone. That two layers of a pruned sequence
take turns is not counted: such a sequence takes up to a third less.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.planner.cost_model import shipped_costs
from drnn_export.emitter.request import GraphRequest
from drnn_models.cells import Cell
from drnn_models.cone import plan_cone
from drnn_models.spec import ModelSpec
from drnn_runtimes.native.network import network_sizes, padded

NATIVE_FEATURES = ("call", "rows alone", "units together", "products alone", "products together", "far products")
_PASS_ROWS, _TILE, _TOGETHER = 256, 32, 4  # as in `drnn.h`
_RUN_VALUES = 1 << 16  # of the rows that whole sequences are taken through all layers in
_NEAR_VALUES = 1 << 15  # weights of a product, 128 KiB; more of them come from a farther cache each time


@dataclasses.dataclass(frozen=True)
class _Pass:
    """A layer taken `times` through `rows` rows, of which `lag` are independent of each other."""

    times: int
    rows: int
    lag: int


def native_features(spec: ModelSpec, request: GraphRequest) -> NDArray[np.float64]:
    """What the time of a run is computed from, (6,), in the order of `NATIVE_FEATURES`.

    How the graph is written makes no difference: the kernel runs the weights, whole sequences pruned.

    Args:
        spec: The network.
        request: The form, steps and batch; a dynamic batch counts as 1.
    """
    counts = np.zeros(len(NATIVE_FEATURES))
    counts[0] = 1
    one_hot = network_sizes(spec)["tokens"] == 1  # a column is copied
    read = [0 if one_hot else spec.input.width, *spec.hidden[:-1]]
    for passes, inputs, hidden in zip(_passes(spec, request), read, spec.hidden, strict=True):
        units = padded(hidden)
        for at in passes:
            alone, of_inputs = _alone(at.rows, at.lag), _alone(at.rows, at.rows)
            counts[1:3] += at.times * np.array([alone, (at.rows - alone) * units])
            for single, values in ((alone, hidden), (of_inputs, inputs)):
                counts[3:] += at.times * _products(single, at.rows, values * spec.gates * units)
    answers = (request.batch or 1) * spec.head.output_steps(request.steps)
    head = spec.window * spec.hidden[-1] * padded(spec.head.outputs)
    counts[3:] += _products(_alone(answers, answers), answers, head)
    return counts


def native_microseconds(spec: ModelSpec, request: GraphRequest) -> float:
    """The estimated time of one run of runtime `native` from Python, with bound arrays, in microseconds.

    Args:
        spec: The network.
        request: The form, steps and batch of the graph.
    """
    return float(native_features(spec, request) @ np.array(native_costs(spec.cell)["run"]))


def native_costs(cell: Cell) -> dict[str, Any]:
    """The fitted coefficients of a kind of cell.

    Args:
        cell: Its name in a spec.

    Returns:
        `run`: microseconds for each of `NATIVE_FEATURES`; `run_error`: the factor within which nine of ten measured
        runs that a fit had not seen are of their estimates.
    """
    entry: dict[str, Any] = shipped_costs()["native"]["cells"][cell]
    return entry


def _passes(spec: ModelSpec, request: GraphRequest) -> Iterator[list[_Pass]]:
    """The passes through each layer."""
    batch, steps = request.batch or 1, request.steps
    if request.form != "sequence" or spec.head.kind == "sequence":
        most = max(1, _PASS_ROWS // batch)  # steps
        full, rest = divmod(steps, most)
        for dilation in spec.dilations:
            passes = [_Pass(full, most * batch, dilation * batch), _Pass(1, rest * batch, dilation * batch)]
            yield [one for one in passes if one.times and one.rows]
        return
    together = min(batch, max(4, _RUN_VALUES // (steps * network_sizes(spec)["widest"])))  # sequences
    full, rest = divmod(batch, together)
    for layer in plan_cone(spec, steps).layers:
        sizes = (full, together), (1, rest)
        passes = [_Pass(times, layer.steps * some, layer.fold * some) for times, some in sizes]
        yield [one for one in passes if one.times and one.rows]


def _alone(rows: int, lag: int) -> int:
    """How many of a layer's rows are computed alone."""
    full, rest = divmod(rows, _TILE)
    return full * _alone_of_tile(_TILE, lag) + _alone_of_tile(rest, lag)


def _alone_of_tile(rows: int, lag: int) -> int:
    times, rest = divmod(rows, lag)
    return times * (lag % _TOGETHER) + rest % _TOGETHER


def _products(alone: int, rows: int, weights: int) -> NDArray[np.float64]:
    """Multiply-adds of rows alone and of rows together, and how often weights come from far."""
    far = (alone + (rows - alone) / _TOGETHER) * weights if weights > _NEAR_VALUES else 0
    return np.array([alone * weights, (rows - alone) * weights, far], np.float64)

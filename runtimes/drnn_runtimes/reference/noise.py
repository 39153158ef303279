"""What an arithmetic's own rounding does to a network: how far results spread when every operation rounds at random.

One computation in float32 is one sample of the rounding error, and may be lucky. So the reference's loop runs several
times at once in float64, and every product, sum and activation is off by a random share of the arithmetic's spacing
(Monte Carlo arithmetic). A part of each error is new at every operation, as rounding is. The other parts stay the same
for the whole sequence, one for each unit and one for all of them: a runtime's tanh may give small values 0.8 spacings
too small on the mean, which adds up where independent errors would cancel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import FLOAT64, PRECISIONS, Precision
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.reference.loop import Array, Product, Reference, Rounding, run_reference
from drnn_runtimes.reference.low_precision import graph_weights, rounding_product

_SAMPLES = (
    8  # of each sequence: an estimate from n of them is k times too small with a chance of about (n / k**2)**(n/2)
)
_FEWER, _ROWS = 4, 256  # where many sequences are samples of each other
_EXACT = 4.0  # spacings
_LINEAR = 2.0**-10  # of the signal; smaller errors grow in proportion
_FINER = float(np.finfo(np.float64).eps / np.finfo(np.float32).eps)
_STRIDE = 10_007  # from the random numbers of one operation to those of the next; a prime, so that all are used


@dataclasses.dataclass(frozen=True)
class Noise:
    """The root mean square error of an arithmetic, on the most sensitive of some sequences.

    It never falls from one time step to the next: a lucky step has no smaller limit than those before it.

    Attributes:
        outputs: Of each output and step: (outputs,) or (k, outputs).
        trace: Of what is between the layers, by the names of `Reference.trace`: (T, H) each.
    """

    outputs: NDArray[np.float64]
    trace: dict[str, NDArray[np.float64]]


@dataclasses.dataclass(frozen=True)
class OutputNoises:
    """The noise of a network's outputs on some sequences.

    Attributes:
        by_precision: Of fp32, `FLOAT64` and the precisions that were asked for, like `Noise.outputs`. That of a
            narrower precision is not under float32's.
        narrow_outputs: Precision -> what float64 makes of the weights that its graphs hold, of those but fp32.
        signal: (outputs,): the largest |output| of each, without the head's bias, which any network would add. With it,
            where an output has no more noise than a number of its size: one that does not depend on the input.
    """

    by_precision: dict[str, NDArray[np.float64]]
    narrow_outputs: dict[str, NDArray[np.float64]]
    signal: NDArray[np.float64]


def output_noises(
    spec: ModelSpec, weights: Weights, inputs: NDArray[np.generic], right: Reference, precisions: Collection[Precision]
) -> OutputNoises:
    """Measure what a comparison of outputs with float64's needs to know.

    Args:
        spec: The network.
        weights: Its weights.
        inputs: (N, T, C) or tokens (N, T).
        right: What float64 makes of them.
        precisions: Precisions of graphs, besides fp32.
    """
    noise = estimate_noise(spec, weights, inputs, right).outputs
    size = np.abs(right.outputs).reshape(-1, spec.head.outputs).max(axis=0)
    answer = np.abs(right.outputs - weights["head.bias"]).reshape(-1, spec.head.outputs).max(axis=0)
    exact = noise.reshape(-1, spec.head.outputs).max(axis=0) <= _EXACT * PRECISIONS["fp32"].spacing * size
    signal: NDArray[np.float64] = np.where(exact, size, answer)
    by_precision = {"fp32": noise, FLOAT64: noise * _FINER}
    if np.any(noise > _LINEAR * signal):  # so large that it is no measure of what smaller roundings do
        by_precision[FLOAT64] = estimate_noise(spec, weights, inputs, right, FLOAT64).outputs
    narrow_outputs: dict[str, NDArray[np.float64]] = {}
    for precision in sorted({*precisions} - {"fp32"}):
        held = graph_weights(weights, precision)
        rounded = run_reference(spec, held, inputs)
        narrow_outputs[precision] = rounded.outputs.astype(np.float64)
        by_precision[precision] = np.maximum(noise, estimate_noise(spec, held, inputs, rounded, precision).outputs)
    return OutputNoises(by_precision, narrow_outputs, signal)


def estimate_noise(
    spec: ModelSpec,
    weights: Weights,
    inputs: NDArray[np.generic],
    right: Reference,
    precision: Precision | Literal["fp64"] = "fp32",
    *,
    state: Mapping[str, NDArray[np.generic]] | None = None,
) -> Noise:
    """Estimate what the rounding of a precision does to a network on these inputs. The same on every machine.

    Args:
        spec: The network.
        weights: What `graph_weights` gives.
        inputs: (N, T, C) or tokens (N, T).
        right: What float64 makes of them. Where it has a trace, that has its noise too.
        precision: A precision of graphs (`drnn_core.types.PRECISIONS`), or `FLOAT64`.
        state: Name -> (N, d, H), from which the sequences start; None for zeros.

    Returns:
        The noise; infinite where numbers are beyond what the precision holds.
    """
    kept = _different(inputs) if state is None else np.arange(len(inputs))
    samples = min(_SAMPLES, max(_FEWER, _ROWS // len(kept)))
    rows = np.tile(kept, samples)
    states = None if state is None else {name: line[rows] for name, line in state.items()}
    product, rounded = _arithmetic(spec, len(rows), precision)
    with np.errstate(over="ignore", invalid="ignore"):
        found = run_reference(
            spec, weights, inputs[rows], states, product=product, rounded=rounded, traced=bool(right.trace)
        )
        outputs = _spread(found.outputs, right.outputs[kept], steps=right.outputs.ndim == 3)
        trace = {name: _spread(found.trace[name], exact[kept], steps=True) for name, exact in right.trace.items()}
    return Noise(outputs, trace)


def _different(inputs: NDArray[np.generic]) -> NDArray[np.int64]:
    """The sequences without those that are there twice."""
    return np.sort(np.unique(inputs, axis=0, return_index=True)[1])


def _arithmetic(spec: ModelSpec, rows: int, precision: Precision | Literal["fp64"]) -> tuple[Product, Rounding]:
    """Products, and all other operations, of an arithmetic that rounds at random."""
    if precision == FLOAT64:
        rounded = _Jitter(spec, rows, float(np.finfo(np.float64).eps))
        return (lambda x, w: rounded(rounded(x) @ w)), rounded
    rounded = _Jitter(spec, rows, PRECISIONS["fp32"].spacing)
    info = PRECISIONS[precision]
    if precision == "fp32" or info.weights_only:
        return (lambda x, w: rounded(rounded(x) @ w)), rounded
    narrow, dithered = rounding_product(info.numpy), _Jitter(spec, rows, info.spacing / 4)
    inside = dithered if "fused" not in info.refused else rounded  # an operator is narrow inside, too
    return (lambda x, w: narrow(dithered(x), w).astype(np.float64)), inside


class _Jitter:
    """Makes every value wrong by at most three spacings, each row in its own way.

    One is the same for the whole row: up or down. One belongs to the unit. One is new every time.
    """

    def __init__(self, spec: ModelSpec, rows: int, spacing: float) -> None:
        random = np.random.default_rng(0)  # the same network has the same golden data
        widest = max(*spec.layer_inputs(), *spec.hidden, spec.hidden[-1] * spec.window, spec.head.outputs)
        every = np.where(np.arange(rows) < rows // 2, 1.0, -1.0)[:, None]
        self._kept = 1.0 + spacing * (every + random.uniform(-1.0, 1.0, (rows, widest)))
        self._new = spacing * random.uniform(-1.0, 1.0, 2 * rows * widest + _STRIDE)
        self._place = 0

    def __call__(self, value: Array) -> Array:
        self._place = (self._place + _STRIDE) % (len(self._new) - value.size)
        new = self._new[self._place : self._place + value.size].reshape(value.shape)
        jittered: Array = value * (self._kept[:, : value.shape[1]] + new)
        return jittered


def _spread(found: Array, exact: Array, *, steps: bool) -> NDArray[np.float64]:
    """Root mean square over the samples of a sequence, then the largest over sequences and over all steps so far."""
    error = found.reshape(-1, *exact.shape) - exact
    noise: NDArray[np.float64] = np.sqrt(np.mean(error**2, axis=0)).max(axis=0)
    noise[~np.isfinite(noise)] = np.inf
    return np.maximum.accumulate(noise, axis=0) if steps else noise

"""What an arithmetic's own rounding does to a network: how far results spread when every operation rounds at random.

One computation in float32 is one sample of the rounding error, and may be lucky. So the reference's loop runs several
times at once, and every product, sum and activation is off by a random share of the arithmetic's spacing
(Monte Carlo arithmetic). A part of each error is new at every operation, as rounding is. The other parts stay the same
for the whole sequence, one for each unit and one for all of them: a runtime's tanh may give small values 0.8 spacings
too small on the mean, which adds up where independent errors would cancel.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import FLOAT64, PRECISIONS, Precision
from drnn_models.spec import Head, ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.reference.loop import Array, Product, Reference, Rounding, run_reference
from drnn_runtimes.reference.low_precision import graph_weights, rounding_product

_SAMPLES = 8  # of each sequence: an estimate from n of them is k times too small with a chance of about (n/k**2)**(n/2)
_FEWER, _ROWS = 4, 64  # where many sequences are samples of each other
_EXACT = 4.0  # spacings
_LINEAR = 2.0**-10  # of the signal; smaller errors grow in proportion
_FINER = float(np.finfo(np.float64).eps / np.finfo(np.float32).eps)
_FACTORS = 61  # that take turns; a prime, so that an operation meets all of them


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
class Answer:
    """What is right for some sequences, and what a comparison with it needs to know.

    Attributes:
        outputs: In float64, (N, outputs) or (N, k, outputs).
        magnitude: The largest sum of absolute values that the head adds up.
        noises: Of fp32, `FLOAT64` and the precisions that were asked for: each like a sequence's outputs. That of a
            narrower precision is not under float32's.
        signal: (outputs,): the largest |output|, without the head's bias, which any network would add. With it, where
            an output has no more noise than a number of its size: one that does not depend on the input.
        every_noise: Of fp32 at every step, whatever the head answers, (T, outputs).
        every_signal: The same of the signal, (outputs,).
        narrow_outputs: Precision -> what float64 makes of the weights that its graphs hold, of those but fp32. Their
            noise is held against these.
    """

    outputs: NDArray[np.float64]
    magnitude: float
    noises: dict[str, NDArray[np.float64]]
    signal: NDArray[np.float64]
    every_noise: NDArray[np.float64]
    every_signal: NDArray[np.float64]
    narrow_outputs: dict[str, NDArray[np.float64]]


def answer(
    spec: ModelSpec, weights: Weights, inputs: NDArray[np.generic], precisions: Collection[Precision] = ()
) -> Answer:
    """Compute the outputs of sequences in float64, and how exact other arithmetic can be on them.

    Args:
        spec: The network.
        weights: Its weights.
        inputs: (N, T, C) or tokens (N, T).
        precisions: Precisions of graphs, besides fp32.

    Returns:
        The answer; its noise is infinite where numbers are beyond what a precision holds.
    """
    every = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs))
    with np.errstate(over="ignore", invalid="ignore"):
        right = run_reference(every, weights, inputs)
    steps: slice | int = -1 if spec.head.kind == "last" else slice(-spec.head.output_steps(inputs.shape[1]), None)
    outputs = right.outputs[:, steps].astype(np.float64)
    noise = estimate_noise(every, weights, inputs, right).outputs
    signal = _signal(outputs, noise[steps], weights["head.bias"])
    noises = {"fp32": noise[steps], FLOAT64: noise[steps] * _FINER}
    if np.any(noise[steps] > _LINEAR * signal):  # so large that it is no measure of what smaller roundings do
        noises[FLOAT64] = estimate_noise(every, weights, inputs, right, FLOAT64).outputs[steps]
    narrow_outputs: dict[str, NDArray[np.float64]] = {}
    for precision in sorted({*precisions} - {"fp32"}):
        held = graph_weights(weights, precision)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = run_reference(every, held, inputs)
        narrow_outputs[precision] = rounded.outputs[:, steps].astype(np.float64)
        narrow = estimate_noise(every, held, inputs, rounded, precision).outputs
        noises[precision] = np.maximum(noise, narrow)[steps]
    every_signal = _signal(right.outputs, noise, weights["head.bias"])
    return Answer(outputs, float(right.magnitude.max()), noises, signal, noise, every_signal, narrow_outputs)


def _signal(outputs: Array, noise: NDArray[np.float64], bias: NDArray[np.float32]) -> NDArray[np.float64]:
    def largest(values: Array) -> NDArray[np.float64]:
        return np.abs(values).reshape(-1, len(bias)).max(axis=0)  # type: ignore[no-any-return]

    size = largest(outputs)
    exact = largest(noise) <= _EXACT * PRECISIONS["fp32"].spacing * size
    signal: NDArray[np.float64] = np.where(exact, size, largest(outputs - bias))
    return signal


def estimate_noise(
    spec: ModelSpec,
    weights: Weights,
    inputs: NDArray[np.generic],
    right: Reference,
    precision: Precision | Literal["fp64"] = "fp32",
    *,
    state: Mapping[str, NDArray[np.generic]] | None = None,
) -> Noise:
    """Estimate what the rounding of a precision does to a network on these inputs.

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
            spec,
            weights,
            inputs[rows],
            states,
            precision=np.float64 if precision == FLOAT64 else np.float32,
            product=product,
            rounded=rounded,
            traced=bool(right.trace),
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
        rounded = _Jitter(spec, rows, float(np.finfo(np.float64).eps), kind=np.float64)
        return np.matmul, rounded
    info = PRECISIONS[precision]
    if precision == "fp32" or info.weights_only:
        return np.matmul, _Jitter(spec, rows, PRECISIONS["fp32"].spacing)
    narrow, dithered = rounding_product(info.numpy), _Jitter(spec, rows, info.spacing / 4, info.largest)
    in_operators = "fused" not in info.refused  # which are narrow inside, too
    inside = dithered if in_operators else _Jitter(spec, rows, PRECISIONS["fp32"].spacing, info.largest)
    return (lambda x, w: narrow(dithered(x), w)), inside


class _Jitter:
    """Makes every value wrong by at most three spacings, each row in its own way.

    One is the same for the whole row: up or down. One belongs to the unit. One is new every time. What a type holds,
    up to `largest`, stays something that it holds.
    """

    def __init__(
        self,
        spec: ModelSpec,
        rows: int,
        spacing: float,
        largest: float = math.inf,
        kind: type[np.floating[Any]] = np.float32,
    ) -> None:
        random = np.random.default_rng(0)  # the same network has the same golden data
        widest = max(*spec.layer_inputs(), *spec.hidden, spec.hidden[-1] * spec.window, spec.head.outputs)
        every = np.where(np.arange(rows) < rows // 2, 1.0, -1.0)[:, None]
        kept = every + random.uniform(-1.0, 1.0, (rows, widest))
        factors = [
            (1.0 + spacing * (kept + random.uniform(-1.0, 1.0, (rows, widest)))).astype(kind) for _ in range(_FACTORS)
        ]
        self._turns, self._largest = itertools.cycle(factors), largest

    def __call__(self, value: Array) -> Array:
        jittered: Array = value * next(self._turns)[:, : value.shape[1]]
        if self._largest == math.inf:
            return jittered
        within = np.abs(value) <= self._largest
        return np.where(within, np.clip(jittered, -self._largest, self._largest), jittered)


def _spread(found: Array, exact: Array, *, steps: bool) -> NDArray[np.float64]:
    """Root mean square over the samples of a sequence, then the largest over sequences and over all steps so far."""
    error = found.reshape(-1, *exact.shape) - exact
    noise: NDArray[np.float64] = np.sqrt(np.mean(error**2, axis=0)).max(axis=0)
    noise[~np.isfinite(noise)] = np.inf
    return np.maximum.accumulate(noise, axis=0) if steps else noise

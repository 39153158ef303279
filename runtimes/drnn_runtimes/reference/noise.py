"""What an arithmetic's own rounding does to a network: how far results spread when every operation rounds at random.

One computation in float32 is one sample of the rounding error, and may be lucky. So the reference's loop runs several
times at once, and every product, sum and activation is off by a random share of the arithmetic's spacing
(Monte Carlo arithmetic). A part of each error is new at every operation, as rounding is. The other parts stay the same
for the whole sequence, one for each unit and one for all of them: a runtime's tanh may give small values 0.8 spacings
too small on the mean, which adds up where independent errors would cancel.

A small activation may be off by far more than its own spacing. ONNX Runtime's RNN operator computes tanh x as
(1 - exp(-2x)) / (1 + exp(-2x)), which is off by up to a spacing of 1, however small x is. So every tanh is also rounded
as a difference of numbers of that size is.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import FLOAT64, PRECISIONS, Precision
from drnn_models.spec import Head, ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.reference.loop import Array, Product, Reference, run_reference
from drnn_runtimes.reference.low_precision import graph_weights, rounding_product

_SAMPLES = 8  # of each sequence: an estimate from n of them is k times too small with a chance of about (n/k**2)**(n/2)
FEWER, _ROWS = 4, 64  # where many sequences are samples of each other
_EXACT = 4.0  # spacings
_LINEAR = 2.0**-10  # of the signal; smaller errors grow in proportion
_FINER = float(np.finfo(np.float64).eps / np.finfo(np.float32).eps)
_SHARED = 1 << 22  # outputs of all steps: cases with more of them are large enough to be computed one by one
_BESIDE = 3.0  # its neighbours are two spacings of 1 apart: what it is added to and taken from is off by up to one
FACTORS = 61  # that take turns; a prime, so that an operation meets all of them


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
    return answers(spec, weights, [inputs], precisions)[0]


def answers(
    spec: ModelSpec, weights: Weights, cases: Sequence[NDArray[np.generic]], precisions: Collection[Precision] = ()
) -> list[Answer]:
    """Compute the answers of several cases, each as `answer` does: they share its loops, of which each costs time.

    Args:
        spec: The network.
        weights: Its weights.
        cases: The inputs of each, all of as many steps.
        precisions: Precisions of graphs, besides fp32.
    """
    if sum(map(len, cases)) * cases[0].shape[1] * spec.head.outputs > _SHARED and len(cases) > 1:
        return [answer(spec, weights, inputs, precisions) for inputs in cases]
    every, bias = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs)), weights["head.bias"]
    steps: slice | int = -1 if spec.head.kind == "last" else slice(-spec.head.output_steps(cases[0].shape[1]), None)
    right, noise = _with_noise(every, weights, cases)
    outputs = [exact.outputs[:, steps].astype(np.float64) for exact in right]
    signals = [_signal(values, spread[steps], bias) for values, spread in zip(outputs, noise, strict=True)]
    noises = [{"fp32": spread[steps], FLOAT64: spread[steps] * _FINER} for spread in noise]
    # noise so large that it is no measure of what smaller roundings do
    coarse = [i for i, signal in enumerate(signals) if np.any(noises[i]["fp32"] > _LINEAR * signal)]
    finer = _noises(every, weights, [cases[i] for i in coarse], [right[i] for i in coarse], FLOAT64)
    for i, own in zip(coarse, finer, strict=True):
        noises[i][FLOAT64] = own.outputs[steps]
    narrow_outputs: list[dict[str, NDArray[np.float64]]] = [{} for _ in cases]
    for precision in sorted({*precisions} - {"fp32"}):
        held, narrow = _with_noise(every, graph_weights(weights, precision), cases, precision)
        for i in range(len(cases)):
            narrow_outputs[i][precision] = held[i].outputs[:, steps].astype(np.float64)
            noises[i][precision] = np.maximum(noise[i], narrow[i])[steps]
    return [
        Answer(
            outputs[i],
            float(right[i].magnitude.max()),
            noises[i],
            signals[i],
            noise[i],
            _signal(right[i].outputs, noise[i], bias),
            narrow_outputs[i],
        )
        for i in range(len(cases))
    ]


def _with_noise(
    spec: ModelSpec, weights: Weights, cases: Sequence[NDArray[np.generic]], precision: Precision = "fp32"
) -> tuple[list[Reference], list[NDArray[np.float64]]]:
    """What float64 makes of cases, and the noise of their outputs."""
    with np.errstate(over="ignore", invalid="ignore"):
        joint = run_reference(spec, weights, np.concatenate(cases))
    ends = np.cumsum([len(inputs) for inputs in cases])[:-1]
    pairs = zip(np.split(joint.outputs, ends), np.split(joint.magnitude, ends), strict=True)
    right = [Reference(outputs, {}, magnitude) for outputs, magnitude in pairs]
    return right, [noise.outputs for noise in _noises(spec, weights, cases, right, precision)]


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
    return _noises(spec, weights, [inputs], [right], precision, state)[0]


def _noises(
    spec: ModelSpec,
    weights: Weights,
    cases: Sequence[NDArray[np.generic]],
    right: Sequence[Reference],
    precision: Precision | Literal["fp64"],
    state: Mapping[str, NDArray[np.generic]] | None = None,
) -> list[Noise]:
    """The noise of each of several cases, from one loop: see `estimate_noise`. A state is that of a case alone."""
    if not cases:
        return []
    kept = [_different(inputs) if state is None else np.arange(len(inputs)) for inputs in cases]
    sampled = [np.tile(rows, min(_SAMPLES, max(FEWER, _ROWS // len(rows)))) for rows in kept]
    product, jitter = _arithmetic(spec, list(map(len, sampled)), precision)
    with np.errstate(over="ignore", invalid="ignore"):
        sampled_run = run_reference(
            spec,
            weights,
            np.concatenate([inputs[rows] for inputs, rows in zip(cases, sampled, strict=True)]),
            None if state is None else {name: line[sampled[0]] for name, line in state.items()},
            precision=np.float64 if precision == FLOAT64 else np.float32,
            product=product,
            rounded=jitter,
            activated=jitter.activated,
            traced=bool(right[0].trace),
        )
        ends, noises = np.cumsum(list(map(len, sampled))), []
        for end, own, rows, exact in zip(ends, sampled, kept, right, strict=True):
            part = slice(end - len(own), end)
            outputs = _spread(sampled_run.outputs[part], exact.outputs[rows], steps=exact.outputs.ndim == 3)
            trace = {
                name: _spread(sampled_run.trace[name][part], x[rows], steps=True) for name, x in exact.trace.items()
            }
            noises.append(Noise(outputs, trace))
    return noises


def _different(inputs: NDArray[np.generic]) -> NDArray[np.int64]:
    """The sequences without those that are there twice."""
    return np.sort(np.unique(inputs, axis=0, return_index=True)[1])


def _arithmetic(
    spec: ModelSpec, rows: Sequence[int], precision: Precision | Literal["fp64"]
) -> tuple[Product, _Jitter]:
    """Products, and all other operations, of an arithmetic that rounds at random; rows: of each case."""
    if precision == FLOAT64:
        return np.matmul, _Jitter(spec, rows, float(np.finfo(np.float64).eps), kind=np.float64)
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
    up to `largest`, stays something that it holds. The rows of each case are those that it would have alone.
    """

    def __init__(
        self,
        spec: ModelSpec,
        rows: Sequence[int],
        spacing: float,
        largest: float = math.inf,
        kind: type[np.floating[Any]] = np.float32,
    ) -> None:
        of_cases = [_factors(count, widest(spec), spacing, kind) for count in rows]
        factors = [np.concatenate(turn) if len(turn) > 1 else turn[0] for turn in zip(*of_cases, strict=True)]
        self._turns, self._largest = itertools.cycle(factors), largest
        self._beside = kind(_BESIDE * spacing / np.finfo(kind).eps)

    def __call__(self, value: Array) -> Array:
        jittered: Array = value * next(self._turns)[:, : value.shape[1]]
        if self._largest == math.inf:
            return jittered
        within = np.abs(value) <= self._largest
        return np.where(within, np.clip(jittered, -self._largest, self._largest), jittered)

    def activated(self, value: Array) -> Array:
        """The same of what tanh gives, up to 1, and by up to a spacing of 1 more; zero stays zero."""
        jittered = self(value)
        jittered += self._beside
        jittered -= self._beside
        return jittered


def widest(spec: ModelSpec) -> int:
    """The most numbers that are rounded at once, of a row.

    Args:
        spec: The network.
    """
    return max(*spec.layer_inputs(), *spec.hidden, spec.hidden[-1] * spec.window, spec.head.outputs)


def _factors(rows: int, width: int, spacing: float, kind: type[np.floating[Any]]) -> Iterator[Array]:
    random = np.random.default_rng(0)  # the same network has the same golden data
    every = np.where(np.arange(rows) < rows // 2, 1.0, -1.0)[:, None]
    kept = every + random.uniform(-1.0, 1.0, (rows, width))
    for _ in range(FACTORS):
        yield (1.0 + spacing * (kept + random.uniform(-1.0, 1.0, (rows, width)))).astype(kind)


def _spread(sampled: Array, exact: Array, *, steps: bool) -> NDArray[np.float64]:
    """Root mean square over the samples of a sequence, then the largest over sequences and over all steps so far."""
    error = sampled.reshape(-1, *exact.shape) - exact
    noise: NDArray[np.float64] = np.sqrt(np.mean(error**2, axis=0)).max(axis=0)
    noise[~np.isfinite(noise)] = np.inf
    return np.maximum.accumulate(noise, axis=0) if steps else noise

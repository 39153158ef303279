"""The case at both ends of a precision's range: the largest samples that its graphs take, one side at a time and mixed.

A graph that clips its inputs, or rounds them to a narrower type than it says, is right on all smaller ones.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import PRECISIONS, Precision
from drnn_deploy.parity.cases import CaseInputs
from drnn_export.emitter.range import largest_input
from drnn_models.spec import Head, ModelSpec, Tokens
from drnn_models.weights import Weights
from drnn_runtimes.reference.noise import answer

_NAME, _STREAM = "edge", "edge stream"
_SMALLEST = 2.0**-10  # of the sizes in the mixed sequence
_LESS = 0.25  # of the range, as long as relu cells grow beyond the precision within it
_FLOAT32_MAX = PRECISIONS["fp32"].largest


def edge_precision(case: str) -> Precision | None:
    """The precision whose graphs alone a case is for; None for a case of all graphs."""
    name, _, precision = case.rpartition(" ")
    return precision if name in (_NAME, _STREAM) and precision in PRECISIONS else None


def is_for(case: str, precision: Precision) -> bool:
    """Whether a case is for graphs of a precision.

    Args:
        case: Its name.
        precision: The graphs'.
    """
    return edge_precision(case) in (None, precision)


def edge_case(
    spec: ModelSpec, weights: Weights, precision: Precision, steps: int, *, stream: bool = False
) -> CaseInputs | None:
    """The case at the ends of a precision's range.

    The range of relu cells, whose numbers grow with their inputs, ends where they stay within the precision.

    Args:
        spec: The network.
        weights: Its weights.
        precision: The precision of graphs.
        steps: Time steps of the sequences.
        stream: Whether it is for graphs with state.

    Returns:
        The case; None for a network that reads tokens, or that grows beyond the precision whatever it reads.
    """
    most = largest_input(spec, weights, precision)
    if most is None or isinstance(spec.input, Tokens):
        return None
    name = f"{_STREAM if stream else _NAME} {precision}"
    every = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs))
    while most >= 1:
        inputs = _edges(spec.input.features, precision, most, steps)
        if spec.activation != "relu" or _is_finite(every, weights, precision, inputs):
            return CaseInputs(name, inputs, stream=stream)
        most *= _LESS
    return None


def _edges(features: int, precision: Precision, most: float, steps: int) -> NDArray[np.float32]:
    """At the upper end; at the lower; both signs in all sizes; usual ones with peaks: (4, T, C).

    At each step one feature is at the end and the others are within half of it: if all were, weights of few digits
    would cancel to the last one, and leave nothing but the rounding of huge numbers.
    """
    random, info = np.random.default_rng(0), PRECISIONS[precision]
    shape = (steps, features)
    signs = random.choice([-1.0, 1.0], shape)
    usual = random.standard_normal(shape)
    peaks = random.random(steps) < min(0.5, 2 / steps)
    end = most * random.uniform(0.5, 1.0, shape)
    end[np.arange(steps), np.arange(steps) % features] = most
    rows = [
        end,
        -end,
        signs * most * np.exp(random.uniform(np.log(_SMALLEST), 0, shape)),
        np.where(peaks[:, None], signs * most, usual),
    ]
    kind = np.dtype(np.float32) if info.weights_only else info.numpy
    return np.stack(rows).astype(kind).astype(np.float32)


def _is_finite(spec: ModelSpec, weights: Weights, precision: Precision, inputs: NDArray[np.float32]) -> bool:
    known = answer(spec, weights, inputs, [precision])
    noises = all(np.isfinite(noise).all() for noise in known.noises.values())
    return bool(noises and known.magnitude <= _FLOAT32_MAX)

"""The noise of what is between the layers of a network, and of its outputs, on inputs and from states of one's own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_core.types import PRECISIONS, Precision
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.reference.loop import Reference
from drnn_runtimes.reference.noise import Noise, estimate_noise


def trace_noises(
    spec: ModelSpec,
    weights: Weights,
    precision: Precision,
    inputs: NDArray[np.generic],
    right: Reference,
    state: Mapping[str, NDArray[np.generic]] | None = None,
) -> Noise:
    """Estimate the noise of every tensor between the layers, as that of the outputs is estimated.

    It is at least one rounding of a value of the tensor's size, or of 1: what an activation gives is as exact as its
    argument, which may be larger than it.

    Args:
        spec: The network.
        weights: Its weights, as a graph of the precision holds them.
        precision: The precision of the graph.
        inputs: The inputs, (N, T, C) float32 or (N, T) int64 tokens.
        right: What float64 makes of them, with its trace.
        state: Name -> (N, d, H), from which the sequences start; None for zeros.

    Returns:
        The noise of the outputs, and of each tensor of the trace by its name: of each step and unit, (T, H).
    """
    spacing = PRECISIONS[precision].spacing
    trace = {name: np.full(x.shape[1:], spacing * max(1.0, float(np.abs(x).max()))) for name, x in right.trace.items()}
    estimates = [
        estimate_noise(spec, weights, inputs, right, kind, state=state) for kind in sorted({"fp32", precision})
    ]
    for name, least in trace.items():
        trace[name] = np.maximum.reduce([least, *(noise.trace[name] for noise in estimates)])
    return Noise(np.maximum.reduce([noise.outputs for noise in estimates]), trace)

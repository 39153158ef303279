"""What of a network is outside the kernel, in NumPy: the rows that the first layer reads, and the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights

Floats = NDArray[np.float32]


def kernel_inputs(spec: ModelSpec, weights: Weights, inputs: NDArray[np.generic]) -> Floats:
    """The rows that the first layer reads: the inputs, or for tokens the rows of their embedding or one-hot vectors.

    Args:
        spec: The network.
        weights: Name -> array.
        inputs: (B, T, C) float32, or tokens (B, T), which are checked.

    Returns:
        (B, T, C) contiguous.
    """
    if not isinstance(spec.input, Tokens):
        return np.ascontiguousarray(inputs, np.float32)
    if spec.input.embedding is not None:
        return np.ascontiguousarray(weights["embedding.weight"][inputs])
    rows = np.zeros((*inputs.shape, spec.input.vocabulary), np.float32)
    np.put_along_axis(rows, inputs.astype(np.intp)[..., None], 1.0, axis=-1)
    return rows


def kernel_answers(spec: ModelSpec, length: int) -> int:
    """How many of the last steps of the top layer the head reads.

    Args:
        spec: The network.
        length: Time steps of a launch.
    """
    return min(length, spec.head.output_steps(length) + spec.window - 1)


def run_head(
    spec: ModelSpec, weights: Weights, top: Floats, length: int, past: Floats | None = None
) -> tuple[Floats, Floats]:
    """The outputs of a network.

    Args:
        spec: The network.
        weights: Name -> array.
        top: (B, answers, H), what the kernel wrote for `kernel_answers`.
        length: Time steps of the launch.
        past: (B, window - 1, H) of the steps before, oldest first; None for zeros.

    Returns:
        (B, k, outputs) of the steps that the head answers, and the past of the next launch.
    """
    batch, _, hidden = top.shape
    if past is None:
        past = np.zeros((batch, spec.window - 1, hidden), np.float32)
    rows = np.concatenate([past, top], axis=1)
    answered = spec.head.output_steps(length)
    first = rows.shape[1] - answered - spec.window + 1
    seen = np.stack([rows[:, first + age : first + age + answered] for age in range(spec.window)], axis=2)
    outputs = seen.reshape(batch, answered, -1) @ weights["head.weight"].T + weights["head.bias"]
    return outputs, rows[:, rows.shape[1] - spec.window + 1 :]

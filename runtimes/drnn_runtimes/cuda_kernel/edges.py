"""What is outside of the kernel, on the host in float32: the rows that the first layer reads, and the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights


def put_rows(spec: ModelSpec, weights: Weights, inputs: NDArray[np.generic], rows: NDArray[np.float32]) -> None:
    """Write what the first layer reads.

    Args:
        spec: The network.
        weights: Name -> array.
        inputs: (B, T, C), or tokens (B, T) of the vocabulary.
        rows: (B, T, C) to write to.
    """
    if not isinstance(spec.input, Tokens):
        rows[...] = inputs
    elif spec.input.embedding is not None:
        np.take(weights["embedding.weight"], inputs.astype(np.intp), axis=0, out=rows, mode="clip")
    else:
        rows[...] = 0.0
        np.put_along_axis(rows, inputs.astype(np.intp)[..., None], 1.0, axis=-1)


def read_out(spec: ModelSpec, weights: Weights, top: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Compute the head.

    Args:
        spec: The network.
        weights: Name -> array.
        top: (B, steps + window - 1, H), what the top layer gave, oldest first.
        steps: The last steps that are answered.

    Returns:
        (B, steps, outputs).
    """
    windows = np.lib.stride_tricks.sliding_window_view(top, spec.window, axis=1)  # (B, steps, H, window)
    read = windows.swapaxes(2, 3).reshape(len(top) * steps, -1)
    return (read @ weights["head.weight"].T + weights["head.bias"]).reshape(len(top), steps, -1)


def with_past(past: NDArray[np.float32], top: NDArray[np.float32], needed: int) -> NDArray[np.float32]:
    """Outputs of the top layer with as many from before as the head reads too.

    Args:
        past: (B, window - 1, H), of before.
        top: (B, n, H).
        needed: Rows that are wanted.

    Returns:
        (B, needed, H): `top` with the last of `past` in front.
    """
    missing = needed - top.shape[1]
    return top[:, -needed:] if missing <= 0 else np.concatenate([past[:, past.shape[1] - missing :], top], axis=1)

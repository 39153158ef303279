"""Sequences that a user brings for a network: checked, and made what its graphs read. Needs no torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_models.baseline_specs import NetworkSpec
from drnn_models.spec import Tokens


def check_sequences(spec: NetworkSpec, name: str, inputs: NDArray[Any]) -> None:
    """Check that an array is what a network reads, in any type of numbers.

    Args:
        spec: The network.
        name: What messages call the array.
        inputs: Any array.

    Raises:
        InputError: It is not (N, T, C) of finite numbers or, of a network that reads tokens, (N, T) of whole numbers
            within its vocabulary.
    """
    tokens = isinstance(spec.input, Tokens)
    wanted = "(sequences, steps) of whole numbers" if tokens else f"(sequences, steps, {spec.input.width}) of numbers"
    fits = inputs.ndim == 2 if tokens else inputs.ndim == 3 and inputs.shape[2] == spec.input.width
    if not fits or inputs.dtype.kind not in ("iu" if tokens else "iuf") or 0 in inputs.shape:
        what = f"the network takes {wanted}, and {name!r:.90} is {inputs.dtype!s:.80} of shape {inputs.shape!s:.80}"
        raise InputError(what, _advice(inputs, tokens))
    if isinstance(spec.input, Tokens) and not 0 <= inputs.min() <= inputs.max() < spec.input.vocabulary:
        raise InputError(
            f"{name!r:.90} has tokens outside 0 to {spec.input.vocabulary - 1}",
            "Use the vocabulary that the network was trained with.",
        )
    if not np.isfinite(inputs).all():
        raise InputError(f"{name!r:.90} holds NaN or infinity", "Look where the numbers come from: numpy.isfinite.")


def as_sequences(spec: NetworkSpec, name: str, inputs: object) -> NDArray[np.generic]:
    """Make of an array what the network's graphs read.

    Args:
        spec: The network.
        name: What messages call the array.
        inputs: (N, T, C) or tokens (N, T), of any type of numbers: an array, a tensor on the CPU or nested lists.

    Returns:
        (N, T, C) float32 or (N, T) int64, contiguous.

    Raises:
        InputError: `check_sequences` refuses it, or a number is beyond float32.
    """
    try:
        array: NDArray[Any] = np.asarray(inputs)
    except Exception as error:  # of NumPy on ragged lists, of torch on what needs gradients or is on a GPU
        what = f"{name!r:.90} cannot be made an array: {error!s:.200}"
        raise InputError(what, "Give a NumPy array; of a tensor x.detach().cpu().numpy().") from error
    check_sequences(spec, name, array)
    if isinstance(spec.input, Tokens):
        return np.ascontiguousarray(array, np.int64)
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused below
        narrow = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(narrow).all():
        raise InputError(f"{name!r:.90} holds numbers beyond float32", "Scale the inputs as in training.")
    return narrow


def _advice(inputs: NDArray[Any], tokens: bool) -> str:
    """How to make it what it should be, where its shape shows what is meant."""
    if inputs.ndim == (1 if tokens else 2) and inputs.size:
        return "For one sequence: x[None]." if tokens else "For one sequence: x[None]; for one feature: x[:, :, None]."
    return "The axes are sequences, then steps, then features (tokens have none)."

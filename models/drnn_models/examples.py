"""What real data may stand beside a network: the same on the way into a file and out of it. Needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Examples
from drnn_models.baseline_specs import NetworkSpec
from drnn_models.spec import Tokens

_LONGEST_SOURCE = 1000  # characters


def check_examples(spec: NetworkSpec, examples: Examples) -> Examples:
    """Check that examples fit a network.

    Args:
        spec: The network.
        examples: Inputs with their true answers.

    Returns:
        The examples, contiguous and writable, as torch takes them.

    Raises:
        InputError: A type or shape is wrong, a value is not finite, a token is outside the vocabulary, or there are not
            as many answers as inputs.
    """
    inputs, targets, source = examples.inputs, examples.targets, examples.source
    if not isinstance(inputs, np.ndarray) or not isinstance(targets, np.ndarray):
        raise InputError("'examples' must hold arrays", "Make them with np.asarray.")
    tokens = spec.input.kind == "tokens"
    dtype: type[np.generic] = np.int64 if tokens else np.float32
    fits = inputs.ndim == 2 if tokens else inputs.ndim == 3 and inputs.shape[2] == spec.input.width
    if not fits or inputs.dtype != dtype or 0 in inputs.shape:
        width = "(N, T)" if tokens else f"(N, T, {spec.input.width})"
        raise InputError(
            f"'examples' has inputs {inputs.dtype} {inputs.shape}, which the spec's input does not take",
            f"It takes {dtype.__name__} {width}.",
        )
    if isinstance(spec.input, Tokens) and not 0 <= inputs.min() <= inputs.max() < spec.input.vocabulary:
        raise InputError(f"'examples' has tokens outside 0 to {spec.input.vocabulary - 1}, the spec's vocabulary")
    if targets.dtype not in (np.int64, np.float32) or targets.shape[:1] != inputs.shape[:1]:
        raise InputError(
            f"'examples' has targets {targets.dtype} {targets.shape} for {len(inputs)} inputs",
            "Classes are int64, values of a regression float32; the first axis is that of the inputs.",
        )
    for name, values in (("inputs", inputs), ("targets", targets)):
        if not np.isfinite(values).all():
            raise InputError(f"'examples' has {name} that are NaN or infinite")
    if not isinstance(source, str) or len(source) > _LONGEST_SOURCE:
        raise InputError(f"'examples' must say its source in at most {_LONGEST_SOURCE:,} characters")
    return Examples(_owned(inputs), _owned(targets), source)


def _owned(values: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.require(values, requirements=["C_CONTIGUOUS", "WRITEABLE"])

"""What fits into the numbers of a graph's precision: its weights, and how large its inputs may be.

1. A matrix is rounded to the narrow type wherever a product reads it, and an operator's biases are, too. What is larger
   than the type's largest number would become infinite; a matrix all of whose numbers vanish would be zeros.
2. Two biases of a gate are added before or inside the graph: their sum must fit as well.
3. Every sum inside the first layer's product must fit into float32, in which products add up: beyond that, terms of
   both signs make infinity minus infinity.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, Precision
from drnn_export.emitter.request import GraphRequest
from drnn_models.cells import CELLS
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights

_HALF = 0.5  # of float32's range, for samples and the first layer's product; the rest is for what is added to it
_OTHER = "Ask for another precision (fp32 and bf16 reach further), or scale the network's weights."


def check_range(spec: ModelSpec, weights: Weights, request: GraphRequest) -> None:
    """Check that a network's weights are numbers of a graph's precision (rules 1 and 2).

    Args:
        spec: The network.
        weights: Its weights, finite float32.
        request: The graph.

    Raises:
        InputError: A weight does not fit. The message names it.
    """
    info = PRECISIONS[request.precision]
    for name, value in weights.items():
        if value.ndim == 2:
            _check_matrix(name, value, request)
    for layer, runs in enumerate(request.runs(spec)):
        operator = any(request.fuses(spec, cells) for cells, _ in runs)
        largest = info.largest if operator else PRECISIONS["fp32"].largest
        for name, biases in _biases(spec, weights, layer):
            _check_size(name, biases, largest, request)


def largest_input(spec: ModelSpec, weights: Weights, precision: Precision) -> float | None:
    """The largest |sample| that a graph takes (rule 3); None for tokens.

    Args:
        spec: The network.
        weights: Its weights.
        precision: The graph's.

    Returns:
        A number of the graph's precision.
    """
    if isinstance(spec.input, Tokens):
        return None
    row = np.abs(weights["layers.0.weight_ih_l0"].astype(np.float64)).sum(axis=1).max()
    most = min(PRECISIONS[precision].largest, _HALF * PRECISIONS["fp32"].largest / max(row, 1.0))
    info = PRECISIONS[precision]
    kind = np.float32 if info.weights_only else info.numpy.type
    return float(kind(most) if float(kind(most)) <= most else kind(most * (1 - info.spacing)))


def _check_matrix(name: str, value: NDArray[np.float32], request: GraphRequest) -> None:
    info = PRECISIONS[request.precision]
    _check_size(name, value, info.largest, request)
    if value.any() and not info.weights_only and not value.astype(info.numpy).any():
        what = (
            f"every number of {name} is rounded to 0 in {request.precision}: the largest is {np.abs(value).max():.3g}"
        )
        raise InputError(what, _OTHER)


def _check_size(name: str, value: NDArray[np.floating[Any]], largest: float, request: GraphRequest) -> None:
    size = np.abs(value)
    if size.max() > largest:
        worst = value.flat[size.argmax()]
        raise InputError(f"{name} holds {worst:.8g}, and {request.name} takes weights up to {largest:.8g}", _OTHER)


def _biases(spec: ModelSpec, weights: Weights, layer: int) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The biases of a layer and, of gates that add them, their sums."""
    names = [f"layers.{layer}.{part}_l0" for part in ("bias_ih", "bias_hh")]
    both = [weights[name].astype(np.float64) for name in names]
    yield from zip(names, both, strict=True)
    gates = CELLS[spec.cell].torch
    apart = "n" if spec.cell == "gru" and spec.reset == "after" else ""
    added = np.repeat([gate not in apart for gate in gates], spec.hidden[layer])
    yield f"the sum of {' and '.join(names)}", np.where(added, both[0] + both[1], 0.0)

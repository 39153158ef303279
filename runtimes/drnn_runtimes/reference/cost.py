"""How long known answers take, from sizes alone. Measured on one core, and right within twofold."""

from __future__ import annotations

from drnn_models.cells import CELLS
from drnn_models.spec import ModelSpec

_LOOPS = 2  # in float64, and with the roundings of a precision
_CALL = 15e-6  # seconds of a layer's step, and as much for each of its gates
_ROWS = 7  # of both loops together, for each sequence
_NUMBER, _PRODUCT = 6e-9, 3e-11  # seconds for each gate of a unit, and for each weight, in every row


def answer_seconds(spec: ModelSpec, sequences: int, steps: int, precisions: int = 1) -> float:
    """Estimate how long `drnn_runtimes.reference.noise.answers` takes.

    Args:
        spec: The network.
        sequences: Sequences of all cases together.
        steps: Time steps of each.
        precisions: Precisions of graphs whose noise is asked for.

    Returns:
        Seconds.
    """
    gates = len(CELLS[spec.cell].torch)
    per_step = 0.0
    for width, hidden in zip(spec.layer_inputs(), spec.hidden, strict=True):
        row = gates * hidden * (_NUMBER + (width + hidden) * _PRODUCT)
        per_step += _LOOPS * _CALL * (1 + gates) + _ROWS * sequences * row
    return max(1, precisions) * steps * per_step

"""What known answers take, from sizes alone: seconds, measured on one core and right within twofold, and memory."""

from __future__ import annotations

from collections.abc import Iterator

from drnn_core.memory import Need
from drnn_models import memory
from drnn_models.cells import CELLS
from drnn_models.spec import ModelSpec
from drnn_runtimes.reference.noise import FACTORS, FEWER, widest

_LOOPS = 2  # in float64, and with the roundings of a precision
_CALL = 15e-6  # seconds of a layer's step, and as much for each of its gates
_ROWS = 7  # of both loops together, for each sequence
_NUMBER, _PRODUCT = 6e-9, 3e-11  # seconds for each gate of a unit, and for each weight, in every row
_FACTOR = 20e-9  # seconds to draw a random rounding
_STATE_COPIES = 3  # as the delay lines begin, themselves, and as they end
_OUTPUT_COPIES = 12  # of every output in float64: right, and each of the runs that its noise is measured with


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
    return max(1, precisions) * (steps * per_step + _FACTOR * _drawn(spec, sequences))


def answer_needs(spec: ModelSpec, sequences: int, steps: int, advice: str) -> Iterator[Need]:
    """The memory that `drnn_runtimes.reference.noise.answers` takes for many sequences.

    Args:
        spec: The network.
        sequences: Sequences of a case.
        steps: Time steps of each.
        advice: What to change to need less.
    """
    yield Need("random roundings", 4 * _drawn(spec, sequences), advice)
    yield Need("inputs", memory.input_bytes(spec, (1 + FEWER) * sequences, steps), advice)
    yield Need("delay lines", _STATE_COPIES * memory.state_bytes(spec, FEWER * sequences), advice)
    outputs = 8 * sequences * steps * spec.head.outputs
    yield Need("the outputs at every step in float64", _OUTPUT_COPIES * outputs, advice)


def _drawn(spec: ModelSpec, sequences: int) -> int:
    """Random roundings of many sequences: of every sample of each, and every number of the widest row."""
    return FACTORS * FEWER * sequences * widest(spec)

"""What an export takes, from the request alone: refused beforehand where it is too long or this machine too small."""

from __future__ import annotations

from collections.abc import Iterator

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_core.memory import Need, require_memory
from drnn_core.types import SMALLER, Form
from drnn_models import memory
from drnn_models.spec import ModelSpec

_SEQUENCES = 4  # of a golden case
_STREAMS, _STREAM_STEPS = 2, 4096  # of the golden stream, whose steps may be fewer
_CASES = 6  # in memory together until they are written
_LEAST_OUTPUTS = 64  # that are computed in a check, however short the sequence
_WEIGHT_COPIES = 8  # of four bytes: float32 and float64 for each of two references, the graph, its file
_EDGE_COPIES = 4  # of a graph's inputs, outputs and states: two sets of buffers, and the runtime's own
_MOST_READ = 1 << 24  # vectors that the head reads of one sequence: the reference takes a few seconds for them


def check_size(spec: ModelSpec, form: Form, steps: int, batch: int) -> None:
    """Refuse a graph that takes too long to check, or more memory than there is.

    Args:
        spec: The network.
        form: The form of the graph.
        steps: Time steps of one run.
        batch: The largest batch that it is checked with.

    Raises:
        InputError: The float64 reference has too many steps or vectors to read; or it takes more memory than is free,
            or makes a file that is not read. The message says how much, and what the most is for.
    """
    _check_steps(spec, form, steps)
    _check_memory(spec, form, steps, batch)


def _check_steps(spec: ModelSpec, form: Form, steps: int) -> None:
    """Refuse what the float64 reference, a plain loop, takes too long for."""
    lines = sum(spec.dilations)
    if (total := steps + lines) > bounds.STEPS:
        raise InputError(
            f"length and spec.dilations sum to {total:,}; the float64 reference takes at most {bounds.STEPS:,} steps",
            f"Use {SMALLER[form]}." if lines < bounds.STEPS else "Train a network with smaller dilations.",
        )
    shorter = f"{SMALLER[form]}, or " if _LEAST_OUTPUTS * spec.window <= _MOST_READ else ""
    outputs = max(spec.head.output_steps(steps), _LEAST_OUTPUTS)
    if (read := outputs * spec.window) > _MOST_READ:
        raise InputError(
            f"the head reads {spec.window:,} steps for each output (spec.fusion), {read:,} vectors in a check; the "
            f"float64 reference takes at most {_MOST_READ:,}",
            f"Use {shorter}a network with a smaller first dilation.",
        )


def _check_memory(spec: ModelSpec, form: Form, steps: int, batch: int) -> None:
    """Refuse a graph that cannot be emitted and checked in this machine's memory."""
    if (golden := _golden_bytes(spec, form, steps)) > bounds.UNPACKED - 4 * bounds.TEXT:
        raise InputError(
            f"the golden data of form {form} with {steps:,} steps would take about {bounds.shown_bytes(golden)}, and "
            f"at most {bounds.shown_bytes(bounds.UNPACKED)} are read",
            f"Use {SMALLER[form]}, or a network with fewer features or outputs.",
        )
    require_memory(f"the export of form {form} with {steps:,} steps", _needs(spec, form, steps, batch))


def _golden_bytes(spec: ModelSpec, form: str, steps: int) -> int:
    """The golden data's inputs and float64 outputs; of a stream, what the head makes of each step."""
    if form == "sequence":
        count, length, answered = _CASES * _SEQUENCES, steps, spec.head.output_steps(steps)
    else:
        count, length = _STREAMS, max(2 * steps, min(2 * max(spec.dilations) + steps, _STREAM_STEPS))
        answered = length
    return memory.input_bytes(spec, count, length) + 8 * count * answered * spec.head.outputs


def _needs(spec: ModelSpec, form: Form, steps: int, batch: int) -> Iterator[Need]:
    shorter = f"Use {SMALLER[form]}"
    yield Need("weights", _WEIGHT_COPIES * memory.weight_bytes(spec), "Train a network with fewer units.")
    outputs = 8 * spec.head.output_steps(steps) * spec.head.outputs
    yield Need("golden data", _golden_bytes(spec, form, steps), f"{shorter}, or a network with fewer features.")
    checked = max(batch, 2 * _SEQUENCES)  # the reference in float64, or a graph at its batch in float32
    smaller = f"{shorter} or --batch." if batch > 2 * _SEQUENCES else f"{shorter}."
    edges = memory.input_bytes(spec, checked, steps) + checked * outputs
    yield Need(f"inputs and outputs of {checked:,} sequences", _EDGE_COPIES * edges, smaller)
    yield Need(f"layers over {checked:,} sequences", memory.layer_bytes(spec, checked, steps), smaller)
    one_hot = memory.one_hot_bytes(spec, checked, steps)
    yield Need(f"one-hot vectors of {spec.input.width:,} symbols", 2 * one_hot, f"{shorter}, or train an embedding.")
    window = memory.window_bytes(spec, checked, steps)
    yield Need(f"windows of {spec.window:,} steps that the head reads", 2 * window, f"{shorter}, or other dilations.")
    states = _EDGE_COPIES * memory.state_bytes(spec, checked)
    yield Need(f"delay lines of {checked:,} sequences", states, "Use a smaller --batch, or smaller dilations.")

"""What one run has to do, whatever does it: the arithmetic and bytes that are left after pruning, and what must wait.

arithmetic  two operations for each multiply-add of a matrix product; one-hot vectors are looked up
bytes       weights, inputs, outputs, and the states of a stream, each read or written once
chain       cells that cannot begin before the one before them has ended, along the longest path to an output
"""

from __future__ import annotations

import dataclasses

from drnn_core.types import Form
from drnn_models import memory
from drnn_models.cone import plan_cone
from drnn_models.spec import ModelSpec, Tokens

_FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class Work:
    """What one run has to do.

    Attributes:
        operations: Additions and multiplications of matrix products.
        bytes: Bytes that are read or written at least once.
        cells: Cell evaluations of each sequence.
        chain: Cell evaluations that have to wait for each other, on the longest path.
        layer_chain: The same where each layer waits for the whole layer below.
    """

    operations: int
    bytes: int
    cells: int
    chain: int
    layer_chain: int


def work_of(spec: ModelSpec, form: Form, steps: int, batch: int) -> Work:
    """Count what a run has to do.

    Args:
        spec: The network.
        form: Whole sequences from the zero state, or a piece of a stream.
        steps: Time steps of the run.
        batch: Sequences of the run.
    """
    if form == "sequence":
        layers = plan_cone(spec, steps).layers
        evaluations, in_a_row = [layer.steps for layer in layers], [layer.cells for layer in layers]
    else:
        evaluations = [steps] * spec.layers
        in_a_row = [-(-steps // dilation) for dilation in spec.dilations]
    products = sum(
        cells * spec.gates * hidden * (features + hidden)
        for cells, features, hidden in zip(evaluations, _multiplied(spec), spec.hidden, strict=True)
    )
    answers = spec.head.output_steps(steps)
    products += answers * spec.window * spec.hidden[-1] * spec.head.outputs
    return Work(
        operations=2 * batch * products,
        bytes=_bytes(spec, form, steps, batch),
        cells=sum(evaluations),
        chain=(steps - 1) // min(spec.dilations) + spec.layers,
        layer_chain=sum(in_a_row),
    )


def _multiplied(spec: ModelSpec) -> tuple[int, ...]:
    """Features of each layer's input that are multiplied."""
    first, *others = spec.layer_inputs()
    one_hot = isinstance(spec.input, Tokens) and spec.input.embedding is None
    return (0 if one_hot else first, *others)


def _bytes(spec: ModelSpec, form: Form, steps: int, batch: int) -> int:
    outputs = _FLOAT * batch * spec.head.output_steps(steps) * spec.head.outputs
    moved = memory.weight_bytes(spec) + memory.input_bytes(spec, batch, steps) + outputs
    if form == "sequence":
        return moved
    rows = sum(min(steps, dilation) * hidden for dilation, hidden in zip(spec.dilations, spec.hidden, strict=True))
    return moved + 2 * _FLOAT * batch * rows * len(spec.cell_states)

"""How the kernel computes a network: which variant, which steps, and where everything lies.

This is the one place of the layout: `constants.py` writes a plan as C++ constants, `weights.py` packs weights as
it says, a launcher takes its sizes.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Literal

from drnn_core.errors import InputError
from drnn_models.spec import ModelSpec

Variant = Literal["resident", "streamed"]
Activations = Literal["accurate", "approximate"]
WeightType = Literal["fp32", "fp16"]

WARP = 32
_QUAD = 4  # values that are read together
_BLOCKS_OF_STEPS = (
    (8, 4),
    (8, 2),
    (4, 2),
    (2, 1),
)  # steps between barriers, and steps whose inputs are projected together
_STREAMED_STEPS = (16, 8, 4, 2, 1)
_REGISTERS = 65536  # of a block
_REGISTERS_OF_A_THREAD = 255
_REGISTERS_BESIDE_WEIGHTS = 64  # addresses, a row of h, sums
_MOST_THREADS = 1024
_NAMED_BARRIERS = 15  # beside the one of the block
_MOVED_AT_ONCE = 192  # values of input that a warp brings in while a block of steps is computed
_TILE = 4  # rows that share a weight which the streamed variant reads
_STREAMED_THREADS = 512

# Compute capability -> bytes of shared memory that a block may ask for (CUDA C++ Programming Guide, "Technical
# Specifications per Compute Capability").
SHARED_MEMORY: dict[str, int] = {
    "75": 64 << 10,
    "80": 163 << 10,
    "86": 99 << 10,
    "87": 163 << 10,
    "89": 99 << 10,
    "90": 227 << 10,
    "100": 227 << 10,
    "103": 227 << 10,
    "110": 227 << 10,
    "120": 99 << 10,
    "121": 99 << 10,
}


@dataclasses.dataclass(frozen=True)
class KernelOptions:
    """What of a kernel is chosen, and not given by the network.

    Attributes:
        answers: How many of the last steps are wanted of a whole sequence from the zero state, and what cannot reach
            them is left out; None computes all steps, which is what states in and out need.
        rows: Sequences that a block computes together.
        weights: The type of the matrices; sums, states and biases are float32.
        activations: Whether sigmoid and tanh are accurate to float32, or `tanh.approx`, which is faster.
        variant: None for resident where that fits.
        shared_memory: Bytes that a block may take, see `SHARED_MEMORY`.
    """

    answers: int | None = None
    rows: int = 1
    weights: WeightType = "fp32"
    activations: Activations = "accurate"
    variant: Variant | None = None
    shared_memory: int = SHARED_MEMORY["86"]

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise InputError(f"a block computes at least one sequence, got rows={self.rows}")
        if self.answers is not None and self.answers < 1:
            raise InputError(f"a network answers at least one step, got answers={self.answers}")


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """A layer, as `struct Layer` of drnn.cu has it.

    Attributes:
        inputs: Values of a row that it reads.
        hidden: Its units.
        far: Whether its past is in the workspace in place of shared memory.
        begin: Its first thread (resident).
        end: The thread after its last one (resident).
        dilation: Steps between h and the h that it is computed from.
        fold: The residues modulo the dilation that it computes.
        weights: Where its matrices begin, in bytes.
        biases: Where its biases begin, in bytes.
        h_state: Where its h is in the states, in floats for each sequence of the batch.
        c_state: The same of c.
        places: Where the rest begins, in floats: in shared memory, the last one in the workspace.
    """

    inputs: int
    hidden: int
    far: bool
    begin: int
    end: int
    dilation: int
    fold: int
    weights: int
    biases: int
    h_state: int
    c_state: int
    places: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class KernelPlan:
    """The kernel for a network.

    Attributes:
        spec: The network.
        options: What was chosen.
        variant: Where the weights are during a step.
        layers: Its layers.
        block: Steps that a layer computes between two barriers of the block.
        ahead: Steps whose inputs a resident layer multiplies together.
        movers: The first thread that moves inputs and outputs (resident).
        threads: Of a block.
        input_at: Where a block's inputs are in shared memory, in floats.
        output_at: The same of the top layer's outputs.
        past_at: The same of rows of the past, and of `reset * h` (streamed).
        shared: Floats of shared memory.
        workspace: Floats of the workspace that a block has.
        weight_bytes: Of the packed weights.
    """

    spec: ModelSpec
    options: KernelOptions
    variant: Variant
    layers: tuple[LayerPlan, ...]
    block: int
    ahead: int
    movers: int
    threads: int
    input_at: int
    output_at: int
    past_at: tuple[int, int]
    shared: int
    workspace: int
    weight_bytes: int

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory of a launch."""
        return 4 * self.shared

    @property
    def tile(self) -> int:
        """Rows that share a weight (streamed)."""
        return _TILE

    @property
    def keeps_state(self) -> bool:
        """Whether states may go in and come out: whether all steps of all layers are computed."""
        return all(layer.fold == layer.dilation for layer in self.layers)

    def check_launch(self, steps: int, answers: int, *, states: bool = False) -> None:
        """Refuse what the kernel would compute wrongly; a launcher calls it first.

        Args:
            steps: Of the sequences.
            answers: The last steps that are wanted.
            states: Whether a state goes in or comes out.

        Raises:
            ValueError: The kernel does not compute that.
        """
        most = min(steps, self.options.answers or steps)
        if not 1 <= answers <= most:
            raise ValueError(f"the kernel answers 1 to {most} of {steps} steps, not {answers}")
        if states and not self.keeps_state:
            raise ValueError("the kernel leaves out steps that states need")

    def grid(self, batch: int) -> int:
        """Blocks of a launch.

        Args:
            batch: The number of sequences.
        """
        return -(-batch // self.options.rows)

    def workspace_bytes(self, batch: int) -> int:
        """Device memory that a launch needs beside its arrays; its content does not matter.

        Args:
            batch: The number of sequences.
        """
        return 4 * self.workspace * self.grid(batch)

    def state_floats(self, batch: int) -> int:
        """Values of the states: the arrays of `ModelSpec.state_shapes` without the fusion's, one after the other.

        Args:
            batch: The number of sequences.
        """
        return (
            batch
            * sum(d * h for d, h in zip(self.spec.dilations, self.spec.hidden, strict=True))
            * len(self.spec.cell_states)
        )


def plan_kernel(spec: ModelSpec, options: KernelOptions | None = None) -> KernelPlan:
    """Choose how the kernel computes a network.

    The resident variant is taken where weights fit into registers and shared memory, with the pasts of the longest
    dilations in the workspace where need be.

    Args:
        spec: The network.
        options: What to compute and where; by default all steps, of one sequence a block, in float32.

    Raises:
        InputError: No variant fits, or not the one that was asked for. The message says why.
    """
    options = options or KernelOptions()
    reasons = []
    if options.variant in (None, "resident"):
        reason = _not_resident(spec, options)
        if not reason:
            for (block, ahead), far in itertools.product(_BLOCKS_OF_STEPS, _farther(spec, options)):
                plan = _resident(spec, options, block, ahead, far)
                if plan.shared_bytes <= options.shared_memory and all(
                    layer.fold >= block for layer in plan.layers if layer.far
                ):
                    return plan
            reason = f"it needs more than {options.shared_memory:,} bytes of shared memory"
        reasons.append(f"resident: {reason}")
    if options.variant in (None, "streamed"):
        if max(spec.hidden) <= _MOST_THREADS:
            for block in _STREAMED_STEPS:
                plan = _streamed(spec, options, block)
                if plan.shared_bytes <= options.shared_memory:
                    return plan
            reasons.append(f"streamed: it needs more than {options.shared_memory:,} bytes of shared memory")
        else:
            reasons.append(f"streamed: a layer has {max(spec.hidden)} units, and a block {_MOST_THREADS} threads")
    raise InputError(f"the kernel cannot compute {spec.short_name}. {'; '.join(reasons)}", "Use another runtime.")


def folds(spec: ModelSpec, answers: int | None) -> tuple[int, ...]:
    """How many consecutive residues modulo its dilation each layer computes, the first layer first.

    They begin at the first step that is wanted. Where the residues that a layer needs are not consecutive, all are
    computed.

    Args:
        spec: The network.
        answers: Wanted steps at the end; None for all.
    """
    if answers is None:
        return spec.dilations
    needed, spacing, result = answers, 0, []
    for dilation in reversed(spec.dilations):
        # needed are the steps that lie up to `needed` behind a multiple of `spacing`, seen from the first wanted step
        common = math.gcd(dilation, spacing)
        fold = min(needed, dilation) if common == dilation or needed >= dilation else dilation
        result.append(fold)
        needed, spacing = fold, dilation
    return tuple(reversed(result))


def padded(values: int) -> int:
    """The floats of a row of shared memory."""
    return -(-values // _QUAD) * _QUAD


def _warps(units: int) -> int:
    return WARP * -(-units // WARP)


def _not_resident(spec: ModelSpec, options: KernelOptions) -> str:
    """Why registers and threads do not hold a network, or ""."""
    threads = sum(map(_warps, spec.hidden)) + WARP * _mover_warps(spec, options, 8)
    if threads > _MOST_THREADS:
        return f"it needs {threads} threads, and a block has {_MOST_THREADS}"
    if spec.layers > _NAMED_BARRIERS and max(spec.hidden) > WARP:
        return f"more than {_NAMED_BARRIERS} layers with more than {WARP} units have no barriers of their own"
    warps = 4 * -(-threads // (4 * WARP))  # each quarter of a multiprocessor has a quarter of them
    registers = min(_REGISTERS_OF_A_THREAD, _REGISTERS // (warps * WARP) // 8 * 8)
    needed = spec.gates * max(spec.hidden) + _REGISTERS_BESIDE_WEIGHTS
    if needed > registers:
        return f"a thread needs about {needed} registers, and has {registers}"
    return ""


def _mover_warps(spec: ModelSpec, options: KernelOptions, block: int) -> int:
    moved = block * options.rows * (spec.input.width + spec.hidden[-1])
    return min(4, -(-moved // (2 * _MOVED_AT_ONCE)))


def _farther(spec: ModelSpec, options: KernelOptions) -> list[int]:
    """The least fold whose past leaves shared memory, in the order of trying: none, then the longest pasts first."""
    return [1 << 30, *sorted(set(folds(spec, options.answers)), reverse=True)]


class _Places:
    """Hands out memory: floats, whose places are multiples of 16 bytes."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, floats: int) -> int:
        place, self.size = self.size, self.size + padded(floats)
        return place


def _weight_places(spec: ModelSpec, options: KernelOptions) -> Iterator[tuple[int, int]]:
    """Of each layer where its matrices and its biases begin, and at last the end, in bytes."""
    place = 0
    for inputs, hidden in zip(spec.layer_inputs(), spec.hidden, strict=True):
        size = (padded(inputs) + padded(hidden)) * spec.gates * hidden * (2 if options.weights == "fp16" else 4)
        biases = place + -(-size // 16) * 16
        yield place, biases
        place = biases + 16 * -(-((spec.gates + 1) * hidden * 4) // 16)
    yield place, place


def _state_places(spec: ModelSpec) -> Iterator[tuple[int, int]]:
    place = 0
    for dilation, hidden in zip(spec.dilations, spec.hidden, strict=True):
        yield place, place + dilation * hidden
        place += dilation * hidden * len(spec.cell_states)


def _resident(spec: ModelSpec, options: KernelOptions, block: int, ahead: int, far_from: int) -> KernelPlan:
    rows, parts = options.rows, len(spec.cell_states)
    shared, workspace, thread = _Places(), _Places(), 0
    inputs_at = between = shared.take(2 * block * rows * padded(spec.input.width))
    *weight_places, (weight_bytes, _) = _weight_places(spec, options)
    layers = []
    for inputs, hidden, dilation, fold, weights, state in zip(
        spec.layer_inputs(),
        spec.hidden,
        spec.dilations,
        folds(spec, options.answers),
        weight_places,
        _state_places(spec),
        strict=True,
    ):
        row, far = rows * padded(hidden), fold >= far_from
        read, between = between, shared.take(2 * block * row)
        near = 0 if far else (fold + 1) * row
        matrix = padded(inputs) * spec.gates * hidden
        places = (
            read,
            between,
            shared.take(near * parts),
            shared.take(matrix if options.weights == "fp32" else -(-matrix // 2)),
            shared.take(block * row * parts if far else 0),
            shared.take(row if _resets_before(spec) else 0),
            workspace.take(fold * row * parts if far else 0),
        )
        end = thread + _warps(hidden)
        layers.append(LayerPlan(inputs, hidden, far, thread, end, dilation, fold, *weights, *state, places))
        thread = end
    threads = thread + WARP * _mover_warps(spec, options, block)
    sizes = inputs_at, between, (0, 0), shared.size, workspace.size, weight_bytes
    return KernelPlan(spec, options, "resident", tuple(layers), block, ahead, thread, threads, *sizes)


def _streamed(spec: ModelSpec, options: KernelOptions, block: int) -> KernelPlan:
    rows, parts = options.rows, len(spec.cell_states)
    shared, workspace = _Places(), _Places()
    widest = max(map(padded, (spec.input.width, *spec.hidden)))
    buffers = [shared.take(block * rows * widest) for _ in range(2)]
    *weight_places, (weight_bytes, _) = _weight_places(spec, options)
    layers = []
    for index, (inputs, hidden, dilation, fold, weights, state) in enumerate(
        zip(
            spec.layer_inputs(),
            spec.hidden,
            spec.dilations,
            folds(spec, options.answers),
            weight_places,
            _state_places(spec),
            strict=True,
        )
    ):
        ring = workspace.take(fold * rows * hidden * parts)
        places = (buffers[index % 2], buffers[(index + 1) % 2], 0, 0, 0, 0, ring)
        layers.append(LayerPlan(inputs, hidden, True, 0, 0, dilation, fold, *weights, *state, places))
    past = block * rows * max(map(padded, spec.hidden))
    past_at = shared.take(past), shared.take(past if _resets_before(spec) else 0)
    threads = max(_STREAMED_THREADS, _warps(max(spec.hidden)))
    sizes = buffers[0], buffers[spec.layers % 2], past_at, shared.size, workspace.size, weight_bytes
    return KernelPlan(spec, options, "streamed", tuple(layers), block, 1, 0, threads, *sizes)


def _resets_before(spec: ModelSpec) -> bool:
    return spec.cell == "gru" and spec.reset == "before"

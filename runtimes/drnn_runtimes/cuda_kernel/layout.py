"""Where everything of a network lies: weights in bytes, the rest in floats of shared memory, workspace and states."""

from __future__ import annotations

from drnn_models.spec import ModelSpec
from drnn_runtimes.cuda_kernel.plan import KernelOptions, KernelPlan, LayerPlan

WARP = 32
MOST_THREADS = 1024
_QUAD = 4  # values that are read together
_MOVED_BY_A_WARP = 384  # values of a block of steps
_MOST_MOVING_WARPS = 4
_TILE = 4  # rows that share a weight which the streamed variant reads
_STREAMED_THREADS = 512


def padded(values: int) -> int:
    """The floats of a row of shared memory.

    Args:
        values: That it holds.
    """
    return -(-values // _QUAD) * _QUAD


def whole_warps(units: int) -> int:
    """The threads of a layer.

    Args:
        units: Its units.
    """
    return WARP * -(-units // WARP)


def movers_of(spec: ModelSpec, options: KernelOptions, block: int) -> int:
    """The threads that move inputs and outputs.

    Args:
        spec: The network.
        options: What was chosen.
        block: Steps between two barriers.
    """
    moved = block * options.rows * (spec.input.width + spec.hidden[-1])
    return WARP * min(_MOST_MOVING_WARPS, -(-moved // _MOVED_BY_A_WARP))


def resident_plan(
    spec: ModelSpec, options: KernelOptions, folds: tuple[int, ...], block: int, ahead: int, far_from: int
) -> KernelPlan:
    """Lay a network out with its weights in registers and shared memory.

    Args:
        spec: The network.
        options: What was chosen.
        folds: Residues that each layer computes.
        block: Steps between two barriers.
        ahead: Steps whose inputs are multiplied together.
        far_from: The least fold whose past is in the workspace.
    """
    rows, parts = options.rows, len(spec.cell_states)
    shared, workspace, thread = _Places(), _Places(), 0
    inputs_at = between = shared.take(2 * block * rows * padded(spec.input.width))
    weights, weight_bytes = _weight_places(spec, options)
    states = _state_places(spec)
    layers = []
    for index, (inputs, hidden, fold) in enumerate(zip(spec.layer_inputs(), spec.hidden, folds, strict=True)):
        row, far = rows * padded(hidden), fold >= far_from
        read, between = between, shared.take(2 * block * row)
        matrix = padded(inputs) * spec.gates * hidden
        places = (
            read,
            between,
            shared.take(0 if far else (fold + 1) * row * parts),
            shared.take(matrix if options.weights == "fp32" else -(-matrix // 2)),
            shared.take(block * row * parts if far else 0),
            shared.take(row if _resets_before(spec) else 0),
            workspace.take(fold * row * parts if far else 0),
        )
        end = thread + whole_warps(hidden)
        dilation = spec.dilations[index]
        layers.append(
            LayerPlan(inputs, hidden, far, thread, end, dilation, fold, *weights[index], *states[index], places)
        )
        thread = end
    return KernelPlan(
        spec,
        options,
        "resident",
        tuple(layers),
        block=block,
        ahead=ahead,
        tile=1,
        movers=thread,
        threads=thread + movers_of(spec, options, block),
        input_at=inputs_at,
        output_at=between,
        past_at=(0, 0),
        shared=shared.size,
        workspace=workspace.size,
        weight_bytes=weight_bytes,
    )


def streamed_plan(spec: ModelSpec, options: KernelOptions, folds: tuple[int, ...], block: int) -> KernelPlan:
    """Lay a network out with its weights in the L2 cache.

    Args:
        spec: The network.
        options: What was chosen.
        folds: Residues that each layer computes.
        block: Steps that a layer computes before the next one.
    """
    rows, parts = options.rows, len(spec.cell_states)
    shared, workspace = _Places(), _Places()
    buffers = [shared.take(block * rows * max(map(padded, (spec.input.width, *spec.hidden)))) for _ in range(2)]
    past = block * rows * max(map(padded, spec.hidden))
    past_at = shared.take(past), shared.take(past if _resets_before(spec) else 0)
    weights, weight_bytes = _weight_places(spec, options)
    states = _state_places(spec)
    layers = []
    for index, (inputs, hidden, fold) in enumerate(zip(spec.layer_inputs(), spec.hidden, folds, strict=True)):
        ring = workspace.take(fold * rows * hidden * parts)
        places = (buffers[index % 2], buffers[(index + 1) % 2], 0, 0, 0, 0, ring)
        dilation = spec.dilations[index]
        layers.append(LayerPlan(inputs, hidden, True, 0, 0, dilation, fold, *weights[index], *states[index], places))
    return KernelPlan(
        spec,
        options,
        "streamed",
        tuple(layers),
        block=block,
        ahead=1,
        tile=_TILE,
        movers=0,
        threads=max(_STREAMED_THREADS, whole_warps(max(spec.hidden))),
        input_at=buffers[0],
        output_at=buffers[spec.layers % 2],
        past_at=past_at,
        shared=shared.size,
        workspace=workspace.size,
        weight_bytes=weight_bytes,
    )


class _Places:
    """Hands out memory: floats, whose places are multiples of 16 bytes."""

    def __init__(self) -> None:
        self.size = 0

    def take(self, floats: int) -> int:
        place, self.size = self.size, self.size + padded(floats)
        return place


def _weight_places(spec: ModelSpec, options: KernelOptions) -> tuple[list[tuple[int, int]], int]:
    """Of each layer where its matrices and its biases begin, and where all end, in bytes."""
    places, end = [], 0
    for inputs, hidden in zip(spec.layer_inputs(), spec.hidden, strict=True):
        size = (padded(inputs) + padded(hidden)) * spec.gates * hidden * (2 if options.weights == "fp16" else 4)
        biases = end + -(-size // 16) * 16
        places.append((end, biases))
        end = biases + 4 * padded((spec.gates + 1) * hidden)
    return places, end


def _state_places(spec: ModelSpec) -> list[tuple[int, int]]:
    """Of each layer where h and c begin, in floats for each sequence of the batch."""
    places, end = [], 0
    for dilation, hidden in zip(spec.dilations, spec.hidden, strict=True):
        places.append((end, end + dilation * hidden))
        end += dilation * hidden * len(spec.cell_states)
    return places


def _resets_before(spec: ModelSpec) -> bool:
    return spec.cell == "gru" and spec.reset == "before"

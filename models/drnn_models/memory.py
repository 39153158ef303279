"""How much memory a network takes to run and to train, from its spec alone. Needs neither torch nor NumPy."""

from __future__ import annotations

import math

from drnn_core.memory import Need
from drnn_models.baseline_specs import NetworkSpec
from drnn_models.spec import ModelSpec, Tokens

_TRAINED_COPIES = 4  # of the weights: themselves, gradients, and two moments of the optimizer
_COPIES = 3  # of what a layer computes: its gates, before and after the activation, and its outputs in another order
_STATE_COPIES = 4  # before and after a step, of which one is kept, and for the other processes
_OUTPUT_COPIES = 3  # themselves, their logarithms, and gradients
_MASK_COPIES = 3  # the drawn numbers, what they are scaled to, and the product


def weight_bytes(spec: NetworkSpec, size: int = 4) -> int:
    """The size of a network's weights.

    Args:
        spec: The network.
        size: Bytes of a number.
    """
    return size * sum(map(math.prod, spec.weight_shapes().values()))


def input_bytes(spec: NetworkSpec, batch: int, steps: int) -> int:
    """The size of sequences as they come: float32 features, or tokens of 8 bytes.

    Args:
        spec: The network.
        batch: Sequences.
        steps: Time steps of each.
    """
    return batch * steps * (8 if isinstance(spec.input, Tokens) else 4 * spec.input.width)


def one_hot_bytes(spec: NetworkSpec, batch: int, steps: int, size: int = 4) -> int:
    """The size of the vectors that tokens without an embedding become, else 0.

    Args:
        spec: The network.
        batch: Sequences.
        steps: Time steps of each.
        size: Bytes of a number.
    """
    one_hot = isinstance(spec.input, Tokens) and spec.input.embedding is None
    return batch * steps * spec.input.width * size if one_hot else 0


def window_bytes(spec: ModelSpec, batch: int, steps: int, size: int = 4) -> int:
    """The size of what the head reads: for each output the last `window` vectors of the top layer.

    Args:
        spec: The network.
        batch: Sequences.
        steps: Time steps of each.
        size: Bytes of a number.
    """
    return batch * spec.head.output_steps(steps) * spec.window * spec.hidden[-1] * size


def state_bytes(spec: ModelSpec, batch: int, size: int = 4) -> int:
    """The size of all delay lines.

    Args:
        spec: The network.
        batch: Sequences.
        size: Bytes of a number.
    """
    return size * sum(map(math.prod, spec.state_shapes(batch).values()))


def layer_bytes(spec: NetworkSpec, batch: int, steps: int, size: int = 4, *, kept: bool = False) -> int:
    """The size of what layers compute: gates, outputs and copies in another order of axes.

    Args:
        spec: The network.
        batch: Sequences.
        steps: Time steps of each.
        size: Bytes of a number.
        kept: Whether all layers' are kept to the end, as gradients need them, and not those of one layer at a time.
    """
    rows: dict[str, int] = {}
    for name, shape in spec.weight_shapes().items():
        if name.startswith("layers."):
            layer = name.split(".")[1]
            rows[layer] = max(rows.get(layer, 0), shape[0])
    values = sum(rows.values()) if kept else max(rows.values())
    return _COPIES * batch * steps * size * values


def read_out_bytes(spec: NetworkSpec, batch: int, steps: int, size: int = 4) -> int:
    """The size of what the head reads, where that is put together first, and of its outputs.

    Args:
        spec: The network.
        batch: Sequences.
        steps: Time steps of each.
        size: Bytes of a number.
    """
    read = window_bytes(spec, batch, steps, size) if isinstance(spec, ModelSpec) and spec.window > 1 else 0
    return read + batch * spec.head.output_steps(steps) * spec.head.outputs * size


def training_needs(
    spec: NetworkSpec, batch: int, steps: int, *, carried: bool = False, dropout: bool = False
) -> list[Need]:
    """What a training step takes at the same time.

    Args:
        spec: The network.
        batch: Sequences of a step.
        steps: Time steps of each.
        carried: Whether the state is carried from step to step.
        dropout: Whether each layer keeps a mask, and its outputs before and after it.
    """
    state = _STATE_COPIES * state_bytes(spec, batch) if carried and isinstance(spec, ModelSpec) else 0
    masks = _MASK_COPIES * 4 * batch * steps * sum(spec.hidden) if dropout and isinstance(spec, ModelSpec) else 0
    smaller = "Use a smaller batch: --set training.batch=..."
    return [
        Need("weights, gradients and moments", _TRAINED_COPIES * weight_bytes(spec), "Use fewer units."),
        Need(f"{batch:,} sequences", input_bytes(spec, batch, steps), smaller),
        Need(f"one-hot vectors of {batch:,} sequences", one_hot_bytes(spec, batch, steps), smaller),
        Need(f"what layers keep of {batch:,} sequences", layer_bytes(spec, batch, steps, kept=True), smaller),
        Need(f"outputs of {batch:,} sequences", _OUTPUT_COPIES * read_out_bytes(spec, batch, steps), smaller),
        Need(f"carried state of {batch:,} sequences", state, smaller),
        Need(f"dropout of {batch:,} sequences", masks, smaller),
    ]


def evaluation_needs(spec: NetworkSpec, batch: int, steps: int) -> list[Need]:
    """What running a batch takes at the same time.

    Args:
        spec: The network.
        batch: Sequences.
        steps: Time steps of each.
    """
    shorter = "Use shorter sequences, or fewer units."
    return [
        Need("weights", weight_bytes(spec), shorter),
        Need(f"{batch:,} sequences", input_bytes(spec, batch, steps), shorter),
        Need(f"one-hot vectors of {batch:,} sequences", one_hot_bytes(spec, batch, steps), shorter),
        Need(f"layers over {batch:,} sequences", layer_bytes(spec, batch, steps), shorter),
        Need(f"outputs of {batch:,} sequences", read_out_bytes(spec, batch, steps), shorter),
    ]

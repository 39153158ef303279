"""Networks made by other PyTorch code, as a `ModelSpec` and its weights. Works on arrays by name, without torch.

1. The recurrent layers are found by their names (`layouts`); cell, widths and depth follow from the shapes. A
   layer without biases gets zeros.
2. The head is the only linear map that fits the top layer, or the one named. Without one it is the identity, so that
   the outputs are the top layer's.
3. What is left must be ignored by name: a weight that is dropped in silence would be a network that computes other
   numbers.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_models.cells import CELLS, Activation, Cell
from drnn_models.interop.layouts import PARTS, SHOWN, Layout, find_layers, shown, typed
from drnn_models.spec import Continuous, Head, HeadKind, ModelSpec, Tokens
from drnn_models.weights import Weights, as_float32

Arrays = Mapping[str, NDArray[np.generic]]
Origins = dict[str, str | None]

_CELLS: dict[int, Cell] = {len(info.torch): name for name, info in CELLS.items() if info.module}
_NEURALFORECAST_REST = ("context_adapter", "mlp_decoder")


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the weights do not say.

    Attributes:
        dilations: One per layer; None for the layout's own (zalando 1, 2, 4, ...; torch 1, 1, ...).
        activation: The nonlinearity of an RNN.
        head: Which steps have an output.
        steps: How many of the last steps have one, with head `last_k`.
        head_weight: The head's name in the file.
        embedding: The embedding's name in the file.
        ignore: Shell patterns of names to leave out on purpose.
    """

    dilations: tuple[int, ...] | None = None
    activation: Activation = "tanh"
    head: HeadKind = "sequence"
    steps: int | None = None
    head_weight: str | None = None
    embedding: str | None = None
    ignore: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Imported:
    """A network that was imported.

    Attributes:
        spec: What the network is.
        weights: Name -> float32 array.
        origins: Name of each weight -> its name in the file; None for zeros, and for an identity as head.
        ignored: Names in the file that were left out.
        notes: Sentences on what was assumed.
    """

    spec: ModelSpec
    weights: Weights
    origins: Origins
    ignored: list[str]
    notes: list[str]


def import_weights(state: Arrays, layout: Layout, choices: Choices | None = None) -> Imported:
    """Build the network that computes what the module with this state dict computes, from a zero state.

    Args:
        state: Name -> array in torch's shapes and gate orders, of any floating type.
        layout: How the names are written.
        choices: What the weights do not say.

    Returns:
        The network, with weights in float32.

    Raises:
        InputError: This is no such network, it contradicts itself, or weights are left over. The message gives their
            names in the file.
    """
    choices = choices or Choices()
    ignored = _ignored(state, choices.ignore)
    kept = {name: value for name, value in state.items() if name not in ignored}
    layers = find_layers(kept, layout)
    cell, hidden, features = _sizes(kept, layers)
    origins = _layer_origins(layers)
    rest = _without(kept, origins)
    source: Continuous | Tokens = Continuous(features)
    if choices.embedding is not None:
        table = _named(rest, choices.embedding, "--embedding", features, "the first layer reads")
        source, origins["embedding.weight"] = Tokens(len(rest[table]), features), table
        rest = _without(rest, origins)
    head_weight = _head_weight(rest, layout, choices.head_weight, hidden[-1], features)
    origins["head.weight"] = head_weight
    origins["head.bias"] = _bias_of(head_weight) if head_weight and _bias_of(head_weight) in rest else None
    _refuse_rest(_without(rest, origins), layout, features)
    spec = ModelSpec(
        cell=cell,
        hidden=hidden,
        dilations=_dilations(layout, choices.dilations, len(hidden)),
        input=source,
        head=_head(choices, outputs=len(rest[head_weight]) if head_weight else hidden[-1]),
        activation=choices.activation,
        fusion=False,  # none of the originals has one
    )
    return Imported(
        spec, _weights(spec, origins, kept), origins, sorted(ignored), _notes(spec, choices, layout, head_weight)
    )


def _without(state: Arrays, used: Origins) -> Arrays:
    return {name: value for name, value in state.items() if name not in used.values()}


def _weights(spec: ModelSpec, origins: Origins, state: Arrays) -> Weights:
    """The spec's weights: those of the file, checked under their names there, and stand-ins."""
    weights: Weights = {}
    for target, shape in spec.weight_shapes().items():
        name = origins[target]
        if name is None:
            weights[target] = (
                np.eye(*shape, dtype=np.float32) if target == "head.weight" else np.zeros(shape, np.float32)
            )
        elif state[name].shape == shape:
            weights[target] = as_float32(name, state[name])
        else:
            raise InputError(f"weight {name!r} has shape {state[name].shape}, the others call for {shape}")
    return weights


def _ignored(state: Arrays, patterns: tuple[str, ...]) -> set[str]:
    ignored: set[str] = set()
    for pattern in patterns:
        if not (matching := [name for name in state if fnmatch.fnmatchcase(name, pattern)]):
            raise InputError(f"--ignore {pattern!r} fits no weight of {shown(state)}", "Correct it or leave it out.")
        ignored.update(matching)
    return ignored


def _sizes(state: Arrays, layers: list[dict[str, str]]) -> tuple[Cell, tuple[int, ...], int]:
    """The cell, the width of every layer, and the features that the first one reads."""
    sizes = [_cell_and_width(names["weight_hh"], state[names["weight_hh"]].shape) for names in layers]
    cells = [cell for cell, _ in sizes]
    if len(set(cells)) > 1:
        raise InputError(
            f"the layers are of several kinds: {', '.join(cells)}", "A dilated RNN has the same cell in every layer."
        )
    first = layers[0]["weight_ih"]
    return cells[0], tuple(width for _, width in sizes), _columns(first, state[first].shape)


def _cell_and_width(name: str, shape: tuple[int, ...]) -> tuple[Cell, int]:
    """The recurrent weight has G * H rows and H columns: RNN 1, GRU 3, LSTM 4 gates."""
    width = _columns(name, shape)
    gates, remainder = divmod(shape[0], width)
    if remainder or gates not in _CELLS:
        raise InputError(
            f"weight {name!r} has shape {shape}: {shape[0]} rows for {width} columns, and not 1 (RNN), 3 (GRU) or 4 "
            "(LSTM) times as many",
            "Check that these are weights of nn.RNN, nn.GRU or nn.LSTM.",
        )
    return _CELLS[gates], width


def _columns(name: str, shape: tuple[int, ...]) -> int:
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"weight {name!r} has shape {shape}, expected a matrix", "Save the state dict again.")
    return shape[1]


def _layer_origins(layers: list[dict[str, str]]) -> Origins:
    return {f"layers.{index}.{part}_l0": names.get(part) for index, names in enumerate(layers) for part in PARTS}


def _dilations(layout: Layout, chosen: tuple[int, ...] | None, layers: int) -> tuple[int, ...]:
    if chosen is None:
        if layout == "neuralforecast":
            raise InputError(
                f"the weights do not say the dilations of their {layers} layers",
                "Type those that the model was made with, for example: --dilations 1,2,4",
            )
        return (1,) * layers if layout == "torch" else tuple(2**layer for layer in range(layers))
    if len(chosen) != layers:
        raise InputError(
            f"there are {len(chosen)} dilations for {layers} layers", "Give --dilations one number per layer."
        )
    return chosen


def _head(choices: Choices, outputs: int) -> Head:
    if choices.head == "last_k" and choices.steps is None:
        raise InputError("head last_k needs to know how many of the last steps have an output", "Add --steps K.")
    return Head(choices.head, outputs, choices.steps or 1)


def _head_weight(rest: Arrays, layout: Layout, chosen: str | None, width: int, features: int) -> str | None:
    """Name of the head's matrix: the one that was chosen, or the only one that fits, or None."""
    if chosen is not None:
        return _named(rest, chosen, "--head-weight", width, "the top layer gives")
    if layout == "neuralforecast":
        return None  # its decoder mixes time steps first, though the widths may fit
    fitting = [name for name in rest if name.endswith("weight") and _is_matrix(rest[name], width)]
    if len(fitting) > 1:
        raise InputError(
            f"{len(fitting)} weights could be the head: {shown(fitting)}",
            "Choose one, and leave the others out on purpose, for example: "
            f"--head-weight {typed(fitting[0])} --ignore {typed(fitting[1])}",
        )
    if fitting and features == width and _bias_of(fitting[0]) not in rest:
        raise InputError(
            f"{fitting[0]!r} could be the head or the embedding",
            f"Type --head-weight {typed(fitting[0])} or --embedding {typed(fitting[0])}.",
        )
    return fitting[0] if fitting else None


def _named(rest: Arrays, given: str, option: str, columns: int, reader: str) -> str:
    """The weight that an option names, with or without ".weight"."""
    name = given if given in rest else f"{given}.weight"
    if name not in rest:
        raise InputError(f"{option} {given!r}: there is no such weight; there are {shown(rest)}", "Correct the name.")
    if not _is_matrix(rest[name], columns):
        raise InputError(
            f"{option} {name!r} has shape {rest[name].shape}, but {reader} {columns} values",
            f"Name a weight with {columns} columns.",
        )
    return name


def _is_matrix(value: NDArray[np.generic], columns: int) -> bool:
    return value.ndim == 2 and value.shape[1] == columns and value.size > 0


def _bias_of(weight: str) -> str:
    return weight.removesuffix("weight") + "bias"


def _refuse_rest(rest: Arrays, layout: Layout, features: int) -> None:
    if not rest:
        return
    reason = ""
    if layout == "neuralforecast" and any(part in name for name in rest for part in _NEURALFORECAST_REST):
        reason = (
            "The decoder of neuralforecast mixes time steps and is no linear head: only its encoder can be imported. "
        )
    elif any(name.endswith("running_mean") for name in rest):
        reason = (
            "Batch normalisation has no place in a dilated RNN: fold it into the weights beside it, and save again. "
        )
    elif tables := [name for name in rest if _is_matrix(rest[name], features) and _bias_of(name) not in rest]:
        reason = f"If {tables[0]!r} is the embedding of the input, type --embedding {typed(tables[0])}. "
    patterns = sorted({f"{name.rpartition('.')[0]}.*" if "." in name else name for name in rest})[:SHOWN]
    words = " ".join(f"--ignore {typed(pattern)}" for pattern in patterns)
    raise InputError(
        f"{len(rest)} weights are left over: {shown(rest)}", f"{reason}To leave them out on purpose, type: {words}"
    )


def _notes(spec: ModelSpec, choices: Choices, layout: Layout, head_weight: str | None) -> list[str]:
    """What was assumed because nothing said otherwise."""
    notes = []
    if choices.dilations is None:
        notes.append(f"dilations are those of layout {layout}; others: --dilations")
    if len(CELLS[spec.cell].activations) > 1:
        notes.append(f"the activation is {spec.activation}, which the weights do not say; other: --activation")
    if head_weight is None:
        notes.append("there is no linear head: the outputs are the top layer's own")
    if spec.head.kind == "sequence":
        notes.append("every step has an output; where only the last one is used, --head last computes less")
    if isinstance(spec.input, Tokens):
        notes.append(f"the input is tokens 0 to {spec.input.vocabulary - 1}")
    return notes

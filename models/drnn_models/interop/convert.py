"""Networks made by other PyTorch code, as a `ModelSpec` and its weights. Works on arrays by name.

1. The recurrent layers are found by their names (`layouts`); cell, widths and depth follow from the shapes. A
   layer without biases gets zeros.
2. Embedding and head are what the user names, or what only one reading of the shapes allows (`roles`). Without a head
   it is the identity, so that the outputs are the top layer's.
3. What is left over is refused: without it the network would compute other numbers. Where the user leaves weights out,
   or the layout's dilations are not certain, the network comes with doubts, which a comparison must settle.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_models.cells import CELLS, Cell
from drnn_models.interop.choices import Choices, modules, settle
from drnn_models.interop.layouts import PARTS, PROVE, Layout, find_layers, own_prefix, shown
from drnn_models.interop.roles import Roles, Stack, explain, find_roles, is_decoder
from drnn_models.spec import Continuous, ModelSpec, Tokens
from drnn_models.tensors import to_arrays
from drnn_models.weights import Weights, as_float32

Arrays = Mapping[str, NDArray[Any]]
Origins = dict[str, str | None]

UNSEEN = (
    "not compared with the original: what has no weights is not in the file (softmax, ReLU and other activations, "
    "pooling, residual connections, scaling, reversed time, which state is read), so the original may compute more "
    "than this network"
)

_CELLS: dict[int, Cell] = {len(info.torch): name for name, info in CELLS.items() if info.module}


@dataclasses.dataclass(frozen=True)
class Imported:
    """A network that was imported.

    Attributes:
        spec: What the network is.
        weights: Name -> float32 array.
        origins: Name of each weight -> its name in the file; None for zeros, and for an identity as head.
        ignored: Names in the file that were left out.
        notes: Sentences on what was assumed, and on what a state dict cannot show.
        doubts: Why the network may be another than the original, as errors that only a comparison settles.
        alternatives: What else the network may be with the same weights, which a comparison tells apart.
    """

    spec: ModelSpec
    weights: Weights
    origins: Origins
    ignored: list[str]
    notes: list[str]
    doubts: list[InputError]
    alternatives: list[ModelSpec]


@checked_arguments
def import_weights(state: Mapping[str, object], layout: Layout, choices: Choices | None = None) -> Imported:
    """Build the network that the weights of a module make. What the module does without weights is not in them.

    Args:
        state: Name -> array or tensor in torch's shapes and gate orders, of any floating type.
        layout: How the names are written.
        choices: What the weights do not say.

    Returns:
        The network, with weights in float32. It computes from a zero state.

    Raises:
        InputError: This is no such network, it contradicts itself, a weight has several possible roles, or weights
            are left over. The message gives their names in the file.
    """
    choices, state = choices or Choices(), to_arrays(state)
    ignored = _ignored(state, choices.ignore)
    kept = {name: value for name, value in state.items() if name not in ignored}
    layers = find_layers(kept, layout, choices.layers)
    cell, stack = _stack(kept, layers)
    settled = settle(choices, layout, cell, layers)
    if layout == "drnn":
        choices = _own_names(choices, kept)
    origins = _layer_origins(layers)
    rest = {name: value for name, value in kept.items() if name not in origins.values()}
    window = _window(rest, layout, settled, choices.head_weight, stack.hidden[-1])
    roles = find_roles(rest, stack, layout, choices, window * stack.hidden[-1])
    spec = ModelSpec(
        cell=cell,
        hidden=stack.hidden,
        dilations=settled.dilations or (),
        input=_input(rest, roles, stack, choices),
        head=settled.head_of(len(rest[roles.head]) if roles.head else stack.hidden[-1]),
        activation=settled.activation or "tanh",
        fusion=window > 1,  # none of the others has one
        reset=choices.reset or "after",
    )
    if roles.embedding:
        origins["embedding.weight"] = roles.embedding
    origins |= {"head.weight": roles.head, "head.bias": roles.head_bias}
    weights = _weights(spec, origins, kept)
    notes, doubts = _notes(spec, choices, layout, roles), _doubts(state, ignored, layers, layout, choices, stack)
    alternatives = _other_resets(spec) if layout == "drnn" and choices.reset is None else []
    if alternatives:
        doubts.append(
            InputError(
                "the weights do not say where their GRU resets, and its spec is not in the file",
                "Type what network.spec says: --reset after (the recurrent product, as torch's GRU does) or --reset "
                f"before. The outputs of the original decide it, too: {PROVE}",
            )
        )
    return Imported(spec, weights, origins, sorted(ignored), notes, doubts, alternatives)


def _other_resets(spec: ModelSpec) -> list[ModelSpec]:
    return [dataclasses.replace(spec, reset=reset) for reset in CELLS[spec.cell].resets if reset != spec.reset]


def _ignored(state: Arrays, patterns: tuple[str, ...]) -> set[str]:
    ignored: set[str] = set()
    for pattern in patterns:
        if not (matching := [name for name in state if fnmatch.fnmatchcase(name, pattern)]):
            raise InputError(f"--ignore {pattern!r} fits no weight of {shown(state)}", "Correct it or leave it out.")
        ignored.update(matching)
    return ignored


def _stack(state: Arrays, layers: list[dict[str, str]]) -> tuple[Cell, Stack]:
    """The cell, the width of every layer, and the features that the first one reads."""
    sizes = [_cell_and_width(names["weight_hh"], state[names["weight_hh"]].shape) for names in layers]
    cells = [cell for cell, _ in sizes]
    if len(set(cells)) > 1:
        raise InputError(
            f"the layers are of several kinds: {', '.join(cells)}", "A dilated RNN has the same cell in every layer."
        )
    first = layers[0]["weight_ih"]
    features, hidden = _columns(first, state[first].shape), tuple(width for _, width in sizes)
    return cells[0], Stack(layers, features, hidden, separate=len(modules(layers)) > 1)


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


def _own_names(choices: Choices, state: Arrays) -> Choices:
    """The names of a `DilatedRNN`'s own embedding and head, which need not be said."""
    prefix = own_prefix(state)
    embedding = f"{prefix}embedding.weight"
    return dataclasses.replace(
        choices,
        embedding=choices.embedding or (embedding if embedding in state else None),
        head_weight=choices.head_weight or f"{prefix}head.weight",
    )


def _window(rest: Arrays, layout: Layout, settled: Choices, head: str | None, width: int) -> int:
    """The outputs of the top layer that the head reads at once: the first dilation, of a `DilatedRNN` with fusion."""
    first = (settled.dilations or (1,))[0]
    if layout != "drnn" or head is None or head not in rest:
        return 1
    return first if rest[head].shape[1:] == (first * width,) else 1


def _input(rest: Arrays, roles: Roles, stack: Stack, choices: Choices) -> Continuous | Tokens:
    if roles.embedding is not None:
        if choices.one_hot:
            raise InputError("tokens are one-hot or looked up in an embedding, not both", "Leave --one-hot out.")
        return Tokens(len(rest[roles.embedding]), stack.features)
    return Tokens(stack.features) if choices.one_hot else Continuous(stack.features)


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


def _doubts(
    state: Arrays, ignored: set[str], layers: list[dict[str, str]], layout: Layout, choices: Choices, stack: Stack
) -> list[InputError]:
    """Why the network may be another than the original although every weight that was kept has its place."""
    of_layers = {name for names in layers for name in names.values()}
    others = {name: value for name, value in state.items() if name not in of_layers}
    doubts = []
    if out := [name for name in ignored if not (layout == "neuralforecast" and is_decoder(name))]:
        advice = explain(others, others, stack)
        doubts.append(
            InputError(
                f"--ignore leaves out {shown(out)}: without them it may be another network",
                f"{advice}\nWhere the outputs do not depend on them, prove it: {PROVE}",
            )
        )
    module = layers[0]["weight_ih"].rpartition("cells.")[0]
    if layout == "zalando" and choices.dilations is None and (beside := [n for n in others if n.startswith(module)]):
        own, doubled = "1," * (len(layers) - 1) + "1", ",".join(str(2**layer) for layer in range(len(layers)))
        doubts.append(
            InputError(
                f"the dilations are not certain: zalando's class DRNN holds cells alone, and here {shown(beside[:1])} "
                "stands beside them",
                f"If every layer runs over every step, type: --dilations {own} {PROVE}\n"
                f"If they double from layer to layer as in DRNN, type: --dilations {doubled} {PROVE}",
            )
        )
    return doubts


def _notes(spec: ModelSpec, choices: Choices, layout: Layout, roles: Roles) -> list[str]:
    """What was assumed because nothing said otherwise."""
    notes = [UNSEEN]
    if choices.dilations is None:
        notes.append(f"dilations are those of layout {layout}; others: --dilations")
    if len(CELLS[spec.cell].activations) > 1 and choices.activation is None:
        notes.append(f"the activation is {spec.activation}, which the weights do not say; other: --activation")
    if layout == "drnn" and not isinstance(spec.input, Tokens):
        notes.append("the input is real-valued; where it is tokens, read as one-hot vectors: --one-hot")
    if layout == "neuralforecast":
        notes.append("it is the encoder alone, rnn_stack[0], which is the original to compare with")
    if roles.head is None:
        notes.append("there is no linear head: the outputs are the top layer's own")
    if spec.head.kind == "sequence":
        notes.append("every step has an output; where only the last one is used, --head last computes less")
    if isinstance(spec.input, Tokens):
        notes.append(f"the input is tokens 0 to {spec.input.vocabulary - 1}")
    return notes

"""The names that other code gives to the weights of its recurrent layers. Needs neither torch nor NumPy.

zalando         cells.0.weight_ih_l0, cells.1.weight_ih_l0, ...      class DRNN of zalandoresearch/pytorch-dilated-rnn
neuralforecast  rnn_stack.0.cells.0.weight_ih_l0, ...                encoder of Nixtla's neuralforecast DilatedRNN
torch           weight_ih_l0, weight_ih_l1, ...                      one nn.RNN, nn.GRU or nn.LSTM with num_layers

All three hold torch's own layers, so parts and gate orders are torch's, and this project's. Anything may stand before
these names ("module.", "drnn."). Sources: drnn.py of the first at commit 0a33cce (class QRNN: c31bcce),
models/dilated_rnn.py of neuralforecast 3.3.0, torch.nn.RNNBase.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Collection, Iterable
from typing import Literal

from drnn_core.errors import InputError

Layout = Literal["zalando", "neuralforecast", "torch"]
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
SHOWN = 8  # names in a message
_LONGEST = 80  # characters of a name in a message

_INDEX = "(?:0|[1-9][0-9]{0,3})"
_TORCH_PART = "(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l"
_PART = rf"(?P<part>{_TORCH_PART}0(?:_reverse)?|(?:cell|attn_layer|layers)\.[^\n]+)"
_PATTERNS: dict[Layout, re.Pattern[str]] = {
    "neuralforecast": re.compile(
        rf"(?P<module>(?:.*\.)?)rnn_stack\.(?P<group>{_INDEX})\.cells\.(?P<layer>{_INDEX})\.{_PART}"
    ),
    "zalando": re.compile(rf"(?P<module>(?:.*\.)?)cells\.(?P<layer>{_INDEX})\.{_PART}"),
    "torch": re.compile(rf"(?P<module>(?:.*\.)?)(?P<part>{_TORCH_PART}(?P<layer>{_INDEX})(?:_reverse)?)"),
}

_REFUSED = {  # start or end of a part -> what it is a sign of; the more telling signs first
    "_reverse": "a bidirectional layer: its backward half starts at the end of the sequence",
    "weight_hr": "a projection (proj_size), which makes the state narrower than the cell",
    "attn_layer.": "AttentiveLSTM, which feeds each step an average over all steps, later ones included",
    "cell.weight_ic": "ResLSTM, whose gates also see the cell state and whose output adds the layer's input",
    "layers.": "QRNN, which has convolutions and no recurrent weights",
    "cell.": "a cell that is not one of torch's",
}


@dataclasses.dataclass(frozen=True)
class _Place:
    module: str
    group: int
    layer: int
    part: str


def find_layers(names: Collection[str], layout: Layout) -> list[dict[str, str]]:
    """Find the recurrent layers among the weights.

    Args:
        names: Of all weights in the file.
        layout: How they are written.

    Returns:
        For each layer, bottom first, part (of `PARTS`) -> name in the file. A layer has both weights, and both or no
        biases.

    Raises:
        InputError: There is no such stack or more than one, a layer or a part is missing, the names are in another
            layout, or a layer is not a plain recurrent one.
    """
    looks = _layout_of(names)
    if looks is None:
        raise InputError(
            f"there are no recurrent layers in it; its weights are {shown(names)}",
            "An import needs the state dict of a network with nn.RNN, nn.GRU or nn.LSTM layers.",
        )
    if looks != layout:
        raise InputError(f"its names are not those of layout {layout} but of {looks}", f"Type: --layout {looks}")
    places = {name: place for name in names if (place := _place(name, layout))}
    _refuse_other_kinds(places)
    _refuse_several_stacks(set(places.values()), layout)
    layers: dict[int, dict[str, str]] = {}
    for name, place in places.items():
        part = next(part for part in PARTS if place.part.startswith(part))
        layers.setdefault(place.layer, {})[part] = name
    return [_checked(index, layers) for index in range(max(layers) + 1)]


def shown(names: Iterable[str]) -> str:
    """The first few of the names for a message, each cut to a readable length."""
    listed = sorted(names)
    text = ", ".join(repr(name[:_LONGEST]) for name in listed[:SHOWN])
    return f"{text} and {len(listed) - SHOWN} more" if len(listed) > SHOWN else text or "none"


def typed(name: str) -> str:
    """A name from a file as a word to type in a shell. What cannot be printed is ?, which as a pattern fits it."""
    return shlex.quote("".join(letter if letter.isprintable() else "?" for letter in name[:_LONGEST]))


def _layout_of(names: Collection[str]) -> Layout | None:
    """The layout that a file's names are written in. The first that fits is right: each pattern contains the next."""
    layouts: tuple[Layout, ...] = ("neuralforecast", "zalando", "torch")
    return next((layout for layout in layouts if any(_place(name, layout) for name in names)), None)


def _place(name: str, layout: Layout) -> _Place | None:
    match = _PATTERNS[layout].fullmatch(name)
    if match is None:
        return None
    groups = match.groupdict()
    return _Place(groups["module"], int(groups.get("group") or 0), int(groups["layer"]), groups["part"])


def _refuse_other_kinds(places: dict[str, _Place]) -> None:
    for sign, kind in _REFUSED.items():
        for name, place in sorted(places.items()):
            if place.part.startswith(sign) or place.part.endswith(sign):
                raise InputError(
                    f"{name!r} belongs to {kind}", "Only plain layers of nn.RNN, nn.GRU and nn.LSTM can be imported."
                )


def _refuse_several_stacks(places: set[_Place], layout: Layout) -> None:
    if len(modules := sorted({place.module for place in places})) > 1:
        one = "is one module with num_layers" if layout == "torch" else "is one stack"
        raise InputError(
            f"it holds {len(modules)} modules with recurrent layers, {shown(modules)}: layout {layout} {one}",
            f"Leave out what is not wanted, for example: --ignore {typed(modules[-1] + '*')}. Where they are the "
            "layers of one stack, rename them in the file to cells.0., cells.1., ..., and type: --layout zalando",
        )
    if groups := sorted({place.group for place in places} - {0}):
        raise InputError(
            f"it holds the group of layers rnn_stack.{groups[-1]}: neuralforecast adds the input of every group but "
            "the first to its output, and a dilated RNN has no such edge",
            "Train one with a single group, such as dilations=[[1, 2, 4, 8]].",
        )


def _checked(index: int, layers: dict[int, dict[str, str]]) -> dict[str, str]:
    """Layer `index` with its parts in order."""
    if index not in layers:
        raise InputError(
            f"layer {index} is missing: there are {len(layers)} layers, numbered up to {max(layers)}",
            "Save the whole state dict.",
        )
    parts = layers[index]
    one = next(iter(parts.values()))
    for part in PARTS[: 2 if not any(name in parts for name in PARTS[2:]) else 4]:
        if part not in parts:
            raise InputError(f"layer {index} has {one!r} but no {part}", "Save the whole state dict.")
    return {part: parts[part] for part in PARTS if part in parts}

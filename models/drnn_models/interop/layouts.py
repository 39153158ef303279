"""The names that other code gives to the weights of its recurrent layers. Needs neither torch nor NumPy.

drnn            layers.0.weight_ih_l0, ..., head.weight              this project's own `DilatedRNN`, nothing beside it
zalando         cells.0.weight_ih_l0, cells.1.weight_ih_l0, ...      class DRNN of zalandoresearch/pytorch-dilated-rnn
neuralforecast  rnn_stack.0.cells.0.weight_ih_l0, ...                encoder of Nixtla's neuralforecast DilatedRNN
torch           weight_ih_l0, weight_ih_l1, ...                      nn.RNN, nn.GRU or nn.LSTM, or several of them

All hold torch's own layers, so parts and gate orders are torch's, and this project's. Anything may stand before
these names ("module.", "drnn."). Sources: drnn.py of the second at commit 0a33cce (class QRNN: c31bcce),
models/dilated_rnn.py of neuralforecast 3.3.0, torch.nn.RNNBase.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Collection, Iterable
from typing import Literal

from drnn_core.errors import InputError

Layout = Literal["drnn", "zalando", "neuralforecast", "torch"]
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
SHOWN = 8  # names in a message
PROVE = "--compare original.npz"  # in every advice that rests on what the file does not say
_LONGEST = 80  # characters of a name in a message

_INDEX = "(?:0|[1-9][0-9]{0,3})"
_TORCH_PART = "(?:weight_(?:ih|hh|hr)|bias_(?:ih|hh))_l"
_PART = rf"(?P<part>{_TORCH_PART}0(?:_reverse)?|(?:cell|attn_layer|layers)\.[^\n]+)"
_PATTERNS: dict[Layout, re.Pattern[str]] = {
    "drnn": re.compile(rf"(?P<module>(?:.*\.)?)layers\.(?P<layer>{_INDEX})\.(?P<part>(?:weight|bias)_(?:ih|hh)_l0)"),
    "neuralforecast": re.compile(
        rf"(?P<module>(?:.*\.)?)rnn_stack\.(?P<group>{_INDEX})\.cells\.(?P<layer>{_INDEX})\.{_PART}"
    ),
    "zalando": re.compile(rf"(?P<module>(?:.*\.)?)cells\.(?P<layer>{_INDEX})\.{_PART}"),
    "torch": re.compile(rf"(?P<module>(?:.*\.)?)(?P<part>{_TORCH_PART}(?P<layer>{_INDEX})(?:_reverse)?)"),
}
_NUMBERED = re.compile(rf"(?P<list>(?:.*\.)?)(?P<number>{_INDEX})\.")

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


def recognise(names: Collection[str]) -> Layout | None:
    """The layout that a file's names are written in, None where there are no recurrent layers.

    The first that fits is right: the patterns of the later ones fit the names of the earlier ones too.
    """
    if _own_prefix(names) is not None:
        return "drnn"
    layouts: tuple[Layout, ...] = ("neuralforecast", "zalando", "torch")
    return next((layout for layout in layouts if any(_place(name, layout) for name in names)), None)


def choose_layout(names: Collection[str]) -> Layout:
    """The layout of a file whose layout nobody said.

    Raises:
        InputError: There are no recurrent layers, or the names fit both zalando's code and a list of torch's layers.
    """
    looks = recognise(names)
    if looks is None:
        raise _no_layers(names)
    if looks == "zalando":
        raise InputError("its names are zalando's, or those of a list called cells: say which", either(names))
    return looks


def find_layers(names: Collection[str], layout: Layout, modules: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Find the recurrent layers among the weights.

    Args:
        names: Of all weights in the file.
        layout: How they are written.
        modules: With layout torch, the names of the modules that are the stack, bottom first. Without it, a list of
            modules (rnns.0, rnns.1) is taken in the order of its numbers.

    Returns:
        For each layer, bottom first, part (of `PARTS`) -> name in the file. A layer has both weights, and both or no
        biases.

    Raises:
        InputError: There is no such stack or more than one, a layer or a part is missing, the names are in another
            layout, or a layer is not a plain recurrent one.
    """
    _refuse_other_layouts(names, layout)
    if modules and layout != "torch":
        raise InputError(f"--layer is for layout torch, not {layout}", "Leave --layer out.")
    places = {name: place for name in names if (place := _place(name, layout))}
    _refuse_other_kinds(places)
    if layout == "torch":
        stack = _order(sorted({place.module for place in places.values()}), modules)
    else:
        _refuse_several_stacks(set(places.values()))
        stack = [next(iter(places.values())).module]
    return [layer for module in stack for layer in _layers_of(module, places)]


def either(names: Collection[str]) -> str:
    """What to type where modules are called cells, as who wrote the class decides on the dilations; "" elsewhere."""
    if recognise(names) != "zalando":
        return ""
    count = len({place.layer for name in names if (place := _place(name, "zalando"))})
    return (
        "If zalandoresearch's class DRNN made them, with dilations 1, 2, 4, ..., type: "
        f"--layout zalando {PROVE}\nIf they are a list of your own, run one after the other over every step, type: "
        f"--layout torch --dilations {','.join('1' * count)} {PROVE}"
    )


def placeholders(layers: int) -> str:
    """A dilation per layer for people to fill in: nothing that would pass for numbers where it is typed as it is."""
    return ",".join(f"D{layer}" for layer in range(layers)) if layers <= SHOWN else "D0,D1,..."


def own_prefix(names: Collection[str]) -> str:
    """What stands before the names of this project's own module, such as "module."."""
    return _own_prefix(names) or ""


def shown(names: Iterable[str]) -> str:
    """The first few of the names for a message, each cut to a readable length."""
    listed = sorted(names)
    text = ", ".join(repr(name[:_LONGEST]) for name in listed[:SHOWN])
    return f"{text} and {len(listed) - SHOWN} more" if len(listed) > SHOWN else text or "none"


def typed(name: str) -> str:
    """A name from a file as a word to type in a shell. What cannot be printed is ?, which as a pattern fits it."""
    return shlex.quote("".join(letter if letter.isprintable() else "?" for letter in name[:_LONGEST]))


def _own_prefix(names: Collection[str]) -> str | None:
    """The prefix with which the names are exactly those of a `DilatedRNN`'s state dict, or None."""
    places = [place for name in names if (place := _place(name, "drnn"))]
    if not places:
        return None
    prefix = places[0].module
    layers = range(1 + max(place.layer for place in places))
    own = {f"{prefix}layers.{layer}.{part}_l0" for layer in layers for part in PARTS}
    own |= {f"{prefix}head.weight", f"{prefix}head.bias"}
    return prefix if own == set(names) - {f"{prefix}embedding.weight"} else None


def _place(name: str, layout: Layout) -> _Place | None:
    match = _PATTERNS[layout].fullmatch(name)
    if match is None:
        return None
    groups = match.groupdict()
    return _Place(groups["module"], int(groups.get("group") or 0), int(groups["layer"]), groups["part"])


def _no_layers(names: Collection[str]) -> InputError:
    return InputError(
        f"there are no recurrent layers in it; its weights are {shown(names)}",
        "An import needs the state dict of a network with nn.RNN, nn.GRU or nn.LSTM layers.",
    )


def _refuse_other_layouts(names: Collection[str], layout: Layout) -> None:
    looks = recognise(names)
    if looks is None:
        raise _no_layers(names)
    a_list = looks == "zalando" and layout == "torch" and any(_place(name, "torch") for name in names)
    if looks == layout or a_list:  # a list of torch's layers may be called cells
        return
    advice = either(names) or f"Type: --layout {looks}"
    if looks == "drnn":
        count = sum(name.endswith(".weight_hh_l0") for name in names)
        advice = "With the dilations of its spec (network.spec.dilations) in their places, type: --layout drnn"
        advice += f" --dilations {placeholders(count)}"
    whose = "drnn, this project's DilatedRNN" if looks == "drnn" else looks
    raise InputError(f"its names are not those of layout {layout} but of {whose}", advice)


def _refuse_other_kinds(places: dict[str, _Place]) -> None:
    for sign, kind in _REFUSED.items():
        for name, place in sorted(places.items()):
            if place.part.startswith(sign) or place.part.endswith(sign):
                raise InputError(
                    f"{name!r} belongs to {kind}", "Only plain layers of nn.RNN, nn.GRU and nn.LSTM can be imported."
                )


def _order(modules: list[str], chosen: tuple[str, ...]) -> list[str]:
    """The modules of a stack, bottom first: as chosen, or in the order of their numbers in one list."""
    if chosen:
        named = [f"{name}." if name else "" for name in chosen]
        if unknown := [name for name, module in zip(chosen, named, strict=True) if module not in modules]:
            raise InputError(
                f"--layer {unknown[0][:_LONGEST]!r}: there is no such recurrent module; there are "
                f"{shown(module.removesuffix('.') for module in modules)}",
                "Correct the name.",
            )
        if len(set(named)) < len(named):
            raise InputError("--layer names a module twice", "Name each module once, bottom first.")
        return named
    numbers = [_NUMBERED.fullmatch(module) for module in modules]
    lists = {match["list"] if match else None for match in numbers}
    if len(modules) > 1 and (len(lists) > 1 or None in lists):
        raise InputError(
            f"it holds {len(modules)} recurrent modules, {shown(module.removesuffix('.') for module in modules)}, and "
            "does not say how they are connected",
            "If they run one after the other, each over every step of the one before, name them bottom first, and a "
            f"dilation for each layer: --layer BOTTOM ... --layer TOP --dilations 1,...,1 {PROVE}\n"
            "To import one of them alone, save its own state dict: torch.save(model.NAME.state_dict(), 'weights.pt')",
        )
    return sorted(modules, key=lambda module: int(match["number"]) if (match := _NUMBERED.fullmatch(module)) else 0)


def _refuse_several_stacks(places: set[_Place]) -> None:
    if len(modules := sorted({place.module for place in places})) > 1:
        raise InputError(
            f"it holds {len(modules)} modules with recurrent layers, {shown(modules)}, and a dilated RNN is one stack",
            "To import one of them alone, save its own state dict: torch.save(model.NAME.state_dict(), 'weights.pt')",
        )
    if groups := sorted({place.group for place in places} - {0}):
        raise InputError(
            f"it holds the group of layers rnn_stack.{groups[-1]}: neuralforecast adds the input of every group but "
            "the first to its output, and a dilated RNN has no such edge",
            "Train one with a single group, such as dilations=[[1, 2, 4, 8]].",
        )


def _layers_of(module: str, places: dict[str, _Place]) -> list[dict[str, str]]:
    layers: dict[int, dict[str, str]] = {}
    for name, place in places.items():
        if place.module == module:
            part = next(part for part in PARTS if place.part.startswith(part))
            layers.setdefault(place.layer, {})[part] = name
    return [_checked(index, layers) for index in range(max(layers) + 1)]


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

"""What the weights beside the recurrent layers are: the embedding, the head, or what a dilated RNN has no place for.

A state dict does not say in which order its modules run. So a weight has a role where its shape leaves only one, or
where the user names it; all else is refused, with what to type for each role that its shape allows.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_models.interop.choices import Choices
from drnn_models.interop.layouts import PROVE, Layout, shown, typed

Arrays = Mapping[str, NDArray[np.generic]]

_DECODER = re.compile(r"(?:.*\.)?(?:context_adapter|mlp_decoder)\..*")  # of neuralforecast, behind the encoder
_DECODER_ADVICE = (
    "The decoder of neuralforecast mixes time steps and is no linear head. What can be imported is the encoder, whose "
    "outputs the decoder reads: drnn-deploy import --help says how."
)
_NORMALISATION = "Batch normalisation has no place in a dilated RNN: fold it into the linear layer beside it."
_NO_PLACE = (
    "A dilated RNN is an embedding or none, recurrent layers, and one linear layer or none. What else there is has no "
    "place in it, and without it the network would be another one."
)


_SEVERAL = (
    "A head of several layers, or a second linear layer anywhere else, has no place in a dilated RNN, and without it "
    "the network would be another one."
)


@dataclasses.dataclass(frozen=True)
class Stack:
    """What the recurrent layers read and give.

    Attributes:
        layers: For each layer, bottom first, part -> name in the file.
        features: The values that the first layer reads at a step.
        hidden: The width of every layer.
        separate: Whether the layers are several modules, between which another may stand.
    """

    layers: list[dict[str, str]]
    features: int
    hidden: tuple[int, ...]
    separate: bool


@dataclasses.dataclass(frozen=True)
class Roles:
    """The names in the file of the weights that have a place beside the recurrent layers.

    Attributes:
        embedding: The table; None where there is none.
        head: The head's matrix; None where there is none.
        head_bias: The head's bias; None where there is none.
    """

    embedding: str | None
    head: str | None
    head_bias: str | None

    @property
    def names(self) -> set[str]:
        """Those that there are."""
        return {name for name in (self.embedding, self.head, self.head_bias) if name is not None}


def find_roles(rest: Arrays, stack: Stack, layout: Layout, choices: Choices, head_columns: int) -> Roles:
    """Find the embedding and the head.

    Args:
        rest: All weights but those of the recurrent layers.
        stack: The recurrent layers.
        layout: How the names are written.
        choices: The weights that the user named.
        head_columns: The values that the head reads at a step.

    Returns:
        The roles, which use up `rest`.

    Raises:
        InputError: A weight that was named does not fit, or one has several possible roles, or none.
    """
    embedding = _named(rest, choices.embedding, "--embedding", stack.features, "the first layer reads")
    if embedding is not None and _bias(rest, embedding) is not None:
        raise InputError(
            f"--embedding {embedding!r} has a bias, {_bias(rest, embedding)!r}, and a table has none",
            f"It is a linear layer. {fold_advice(rest, stack, embedding)}",
        )
    rest = {name: value for name, value in rest.items() if name != embedding}
    head = _named(rest, choices.head_weight, "--head-weight", head_columns, "the top layer gives")
    if head is None and layout != "neuralforecast":  # its decoder mixes time steps first, though the widths may fit
        head = _only_head(rest, stack, tokens=embedding is not None)
    roles = Roles(embedding, head, _bias(rest, head) if head else None)
    if left := {name: value for name, value in rest.items() if name not in roles.names}:
        count = f"{len(left)} weights are left over: {shown(left)}"
        raise InputError(count, explain(left, rest, stack, tokens=embedding is not None))
    return roles


def is_decoder(name: str) -> bool:
    """Whether a weight is of neuralforecast's decoder, which no encoder depends on."""
    return _DECODER.fullmatch(name) is not None


def explain(left: Iterable[str], rest: Arrays, stack: Stack, *, tokens: bool = False) -> str:
    """What to do about weights without a certain role.

    Args:
        left: Their names.
        rest: All weights but those of the recurrent layers and the embedding.
        stack: The recurrent layers.
        tokens: Whether the network has an embedding already.

    Returns:
        Advice that, where its condition holds, builds the right network.
    """
    left = list(left)
    if any(is_decoder(name) for name in left):
        return _DECODER_ADVICE
    if any(name.endswith("running_mean") for name in left):
        return _NORMALISATION
    linear = _linear(rest)
    lines = _pair_advice(rest, stack, linear) if len(linear) == 2 and not tokens else []
    if len(linear) > 1 and not lines:
        lines.append(_SEVERAL)
    if len(linear) == 1 and _table(rest, stack, linear[0]) and not tokens:
        lines.append(_embedding_advice(linear[0]))
    if set(rest) <= {*linear, *(_bias(rest, name) for name in linear)}:  # nothing is between that could be seen
        lines += [fold_advice(rest, stack, name) for name in linear if _front(rest, stack, name) and name in left]
    return "\n".join(lines or [_NO_PLACE])


def fold_advice(rest: Arrays, stack: Stack, name: str) -> str:
    """How a linear layer before the recurrent ones becomes part of the first of them.

    Args:
        rest: All weights but those of the recurrent layers.
        stack: The recurrent layers.
        name: The layer's matrix.

    Returns:
        A sentence with the products to compute.
    """
    first, bias = stack.layers[0], _bias(rest, name)
    bottom = repr(first["weight_ih"])
    words = f"{bottom} becomes {bottom} @ {name!r}"
    if bias is not None and "bias_ih" in first:
        words = f"{first['bias_ih']!r} becomes {first['bias_ih']!r} + {bottom} @ {bias!r}, then {words}"
    elif bias is not None:
        return (
            f"If {name!r} stands before the recurrent layers, it has no place: they have no bias that could take its."
        )
    return (
        f"If {name!r} stands before the recurrent layers with nothing between, multiply it into the first and save "
        f"without it: {words}. Then prove it: {PROVE}"
    )


def _only_head(rest: Arrays, stack: Stack, *, tokens: bool) -> str | None:
    """The only linear map, if there is one and it can be nothing but the head."""
    linear = _linear(rest)
    if len(linear) != 1 or rest[linear[0]].shape[1] != stack.hidden[-1]:
        return None
    name = linear[0]
    others = {
        "a layer before the recurrent ones": _front(rest, stack, name) and fold_advice(rest, stack, name),
        "the embedding": not tokens and _table(rest, stack, name) and _embedding_advice(name),
        "a layer between the recurrent ones": _between(rest, stack, name) and "Between them it has no place.",
    }
    if possible := {role: advice for role, advice in others.items() if advice}:
        raise InputError(
            f"{name!r} could be the head or {' or '.join(possible)}: {_shape(rest[name])} fits all of them",
            "\n".join([f"If it is the head, type: --head-weight {typed(name)} {PROVE}", *possible.values()]),
        )
    return name


def _pair_advice(rest: Arrays, stack: Stack, linear: list[str]) -> list[str]:
    """What to type where one of two matrices may be the embedding and the other the head."""
    pairs = [
        (table, head)
        for table, head in (linear, linear[::-1])
        if _table(rest, stack, table) and rest[head].shape[1] == stack.hidden[-1]
    ]
    if len(pairs) == 2 and np.array_equal(rest[linear[0]], rest[linear[1]]):
        table, head = pairs[0]
        return [f"They are one table, read at both ends. Type: {_both(table, head)}"]
    return [f"If {table!r} is the table that tokens are looked up in, type: {_both(table, head)} {PROVE}"
            for table, head in pairs]  # fmt: skip


def _both(table: str, head: str) -> str:
    return f"--embedding {typed(table)} --head-weight {typed(head)}"


def _embedding_advice(name: str) -> str:
    return f"If {name!r} is the table that tokens are looked up in, type: --embedding {typed(name)} {PROVE}"


def _named(rest: Arrays, given: str | None, option: str, columns: int, reader: str) -> str | None:
    """The weight that an option names, with or without ".weight"."""
    if given is None:
        return None
    name = given if given in rest else f"{given}.weight"
    if name not in rest:
        raise InputError(f"{option} {given!r}: there is no such weight; there are {shown(rest)}", "Correct the name.")
    if not _is_matrix(rest[name]) or rest[name].shape[1] != columns:
        raise InputError(
            f"{option} {name!r} has shape {rest[name].shape}, but {reader} {columns} values",
            f"Name a weight with {columns} columns.",
        )
    return name


def _linear(rest: Arrays) -> list[str]:
    return [name for name, value in rest.items() if name.endswith("weight") and _is_matrix(value)]


def _is_matrix(value: NDArray[np.generic]) -> bool:
    return value.ndim == 2 and value.size > 0


def _bias(rest: Arrays, weight: str) -> str | None:
    name = weight.removesuffix("weight") + "bias"
    return name if name in rest else None


def _table(rest: Arrays, stack: Stack, name: str) -> bool:
    return bool(rest[name].shape[1] == stack.features) and _bias(rest, name) is None


def _front(rest: Arrays, stack: Stack, name: str) -> bool:
    return bool(rest[name].shape[0] == stack.features)


def _between(rest: Arrays, stack: Stack, name: str) -> bool:
    rows, columns = rest[name].shape
    return stack.separate and rows == columns and rows in stack.hidden[:-1]


def _shape(value: NDArray[np.generic]) -> str:
    return f"its shape {value.shape}"

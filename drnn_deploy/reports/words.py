"""A network, what goes in and comes out, and its task, in words: what a person reads in place of Python's own text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from drnn_models.spec import ModelSpec, Tokens

_HEADS = {"last": "an output at the last step", "sequence": "an output at every step"}


def network_words(spec: ModelSpec) -> str:
    """The layers: "9 layers of GRU, 20 units each, dilations 1, 2, 4, ...".

    Args:
        spec: Of the network.
    """
    layers = f"{spec.layers} {'layer' if spec.layers == 1 else 'layers'} of {spec.cell.upper()}"
    sizes = f"{spec.hidden[0]} units each" if len(set(spec.hidden)) == 1 else f"units {listed(spec.hidden)}"
    return f"{layers}, {sizes}, dilations {listed(spec.dilations)}"


def edge_words(spec: ModelSpec) -> str:
    """What goes in and what comes out.

    Args:
        spec: Of the network.
    """
    if isinstance(spec.input, Tokens):
        embedded = "" if spec.input.embedding is None else f", embedded in {spec.input.embedding} values"
        taken = f"tokens of a vocabulary of {spec.input.vocabulary:,}{embedded}"
    else:
        taken = f"{spec.input.features} {'number' if spec.input.features == 1 else 'numbers'} a step"
    head = _HEADS.get(spec.head.kind, f"an output at the last {spec.head.steps} steps")
    return f"takes {taken}; {head}, of {spec.head.outputs:,} values"


def plain_words(value: object) -> str:
    """Plain JSON types without brackets and quotes: "name pixel-mnist, length 784, options (permuted no)".

    Args:
        value: What a file says.
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inner(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return listed(map(_inner, value))
    return {True: "yes", False: "no", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)


def _inner(value: object) -> str:
    return f"({plain_words(value)})" if isinstance(value, Mapping) else plain_words(value)


def listed(values: Iterable[object]) -> str:
    """Values with commas between them.

    Args:
        values: Any that can be gone through.
    """
    return ", ".join(map(str, values))

"""What a file says of its nodes in other places: versions of operators, functions, and any further field.

1. Versions of operators, of the model and of each function, belong to the nodes of that domain.
2. Functions of the same name: what they read and give, and the attributes that they take. They belong to their calls.
3. Fields that the other rules do not compare belong to no stage. Where nothing else was found, fields that they do
   compare are looked at, too: what stands there in another way is a difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import onnx

from drnn_export.named_graph import Difference, NamedGraph

LONGEST = 300  # characters of what a file says
_COMPARED = ("input", "output", "node", "initializer", "opset_import", "functions")  # by rules of their own
_FORMAL = ("input", "output", "attribute")  # of a function
_Lists = tuple[str, Iterable[str], Iterable[str]]


def same_model(actual: onnx.ModelProto, right: onnx.ModelProto) -> bool:
    """Whether two models are the same, whatever versions of the package made them.

    Args:
        actual: The graph in question.
        right: What the emitter makes of the weights.
    """
    return _bytes(actual) == _bytes(right)


def first_other(lists: Iterable[_Lists]) -> str:
    """The first name that two sides do not have in common.

    Args:
        lists: What the names are, with {index} for the number, and those of the file and of the weights' graph.

    Returns:
        The rest of a sentence, or "".
    """
    for what, *sides in lists:
        got_names, names = (list(side) for side in sides)
        for index in range(max(len(got_names), len(names))):
            got, should = (side[index] if index < len(side) else "" for side in (got_names, names))
            if got != should:
                return f"{what.format(index=index)} {got or 'left out':.{LONGEST}}, should be {should or 'left out'}"
    return ""


def declared_differences(actual: NamedGraph, right: NamedGraph) -> Iterator[Difference]:
    """Compare versions of operators, and functions (rules 1 and 2).

    Args:
        actual: The graph in question.
        right: What the emitter makes of the weights.
    """
    yield from _versions(actual, "", actual.model, right.model, None)
    have, want = ({(f.domain, f.name, f.overload): f for f in side.model.functions} for side in (actual, right))
    for key in {**want, **have}:
        side = actual if key in have else right
        calls = [place for place, node in enumerate(side.order) if (node.domain, node.op_type, node.overload) == key]
        where, stages = f"function {key[1]:.{LONGEST}}", side.stages_of(calls)
        place = min(calls, default=len(actual.order)) if key in have else len(actual.order)
        if key not in have or key not in want:
            yield Difference(stages, where, "should not be there" if key in have else "is missing", place)
            continue
        lists = [(f"has the {side} {{index}}", getattr(have[key], side), getattr(want[key], side)) for side in _FORMAL]
        if what := first_other(lists):
            yield Difference(stages, where, what, place)
        yield from _versions(actual, f" of {where}", have[key], want[key], calls)


def _versions(actual: NamedGraph, of: str, have: Any, want: Any, calls: list[int] | None) -> Iterator[Difference]:
    """Versions of operators; they belong to the calls of a function, or to the nodes of their domain."""
    got, should = ({entry.domain or "ai.onnx": entry.version for entry in side.opset_import} for side in (have, want))
    for domain in {**should, **got}:
        if got.get(domain) == should.get(domain):
            continue
        if domain in got and domain in should:
            what = f"is {got[domain]}, should be {should[domain]}"
        else:
            what = "should not be there" if domain in got else "is missing"
        places = _of_domain(actual, domain) if calls is None else calls
        where = f"opset {domain:.{LONGEST}}{of}"
        yield Difference(actual.stages_of(places), where, what, min(places, default=len(actual.order)))


def _of_domain(graph: NamedGraph, domain: str) -> list[int]:
    return [place for place, node in enumerate(graph.order) if (node.domain or "ai.onnx") == domain]


def field_differences(actual: NamedGraph, right: NamedGraph, *, every: bool) -> Iterator[Difference]:
    """Compare all else (rule 3).

    Args:
        actual: The graph in question.
        right: What the emitter makes of the weights.
        every: Whether nothing else was found: then fields that other rules compare count, too.
    """
    found, end = False, len(actual.order)
    models, graphs = (actual.model, right.model), (actual.model.graph, right.model.graph)
    for (have, want), what in ((models, "the model"), (graphs, "the graph")):
        for field in have.DESCRIPTOR.fields:
            name = field.name
            if name in ("graph", "producer_version") or (name in _COMPARED and not every):
                continue
            if _only(have, name) != _only(want, name):
                found = True
                yield Difference((), f"field {name} of {what}", "differs from what the weights make", end)
    if every and not found:
        yield Difference((), "the file", "holds what the weights do not make", end)


def _only(message: Any, field: str) -> bytes:
    """One field of a message, as bytes."""
    bare, value = type(message)(), getattr(message, field)
    if hasattr(value, "extend"):
        getattr(bare, field).extend(value)
    elif hasattr(value, "CopyFrom"):
        getattr(bare, field).CopyFrom(value)
    else:
        setattr(bare, field, value)
    data: bytes = bare.SerializeToString(deterministic=True)
    return data


def _bytes(model: onnx.ModelProto) -> bytes:
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    bare.ClearField("producer_version")
    data: bytes = bare.SerializeToString(deterministic=True)
    return data

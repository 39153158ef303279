"""Which graphs of a bundle a check runs on a runtime, what tables call them, and by whose noise they are judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

from drnn_core.errors import InputError
from drnn_core.types import FLOAT64, NamedGraph, style_of
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime

_OPTIONS = {"form": "--form", "emission": "--style", "precision": "--precision"}
Graph = TypeVar("Graph", bound=NamedGraph)


def named_graphs(where: object, graphs: Sequence[Graph], **named: Sequence[str]) -> list[Graph]:
    """The graphs that somebody named, of which every word must name one: what is not there would pass unseen.

    Args:
        where: What they are of, for messages.
        graphs: All of them.
        **named: "form", "emission" or "precision" -> the only ones that count; empty for all.

    Raises:
        InputError: A word names none. The message says it as it is typed.
    """

    def typed(named: Mapping[str, Sequence[str]]) -> list[str]:
        return [f"{_OPTIONS[key]} {style_of(word)}" for key, words in named.items() for word in words]

    found = [g for g in graphs if all(not words or getattr(g, key) in words for key, words in named.items())]
    for among in (graphs, found):
        for key, words in named.items():
            if odd := [word for word in words if word not in {getattr(graph, key) for graph in among}]:
                others = {other: named[other] for other in named if other != key and among is found}
                known = (tuple(getattr(graph, part) for part in _OPTIONS) for graph in graphs)
                shown = ", ".join("/".join(style_of(word) for word in graph) for graph in known)
                what = f"{where} has no graph of {', '.join(typed({key: odd, **others}))}"
                raise InputError(what, f"It has, as form/style/precision: {shown}.")
    return found


def graphs_for(runtime: Runtime, bundle: Bundle) -> list[GraphInfo]:
    """The graphs of a bundle that differ for a runtime.

    A runtime that runs the weights gets one graph of each form. The reference computes the same whatever the precision,
    pruning and batch: it gets graphs that take any batch, and so goes through its steps once for many sequences, of no
    narrower precision.

    Args:
        runtime: Whose properties count.
        bundle: An open bundle.
    """
    if runtime.reads_graph:
        return list(bundle.graphs)
    if runtime.is_reference:
        distinct = {(g.kind, g.steps, g.delay): _with_any_batch(g) for g in reversed(bundle.graphs)}
        return list(distinct.values())[::-1]
    graphs = {(g.kind, g.steps, g.batch, g.pruned, g.precision, g.delay): g for g in reversed(bundle.graphs)}
    return list(graphs.values())[::-1]


def _with_any_batch(graph: GraphInfo) -> GraphInfo:
    inputs, outputs = (
        tuple(dataclasses.replace(tensor, shape=(-1, *tensor.shape[1:])) for tensor in side)
        for side in (graph.inputs, graph.outputs)
    )
    return dataclasses.replace(graph, precision="fp32", batch=None, profile=None, inputs=inputs, outputs=outputs)


def shown_name(runtime: Runtime, graph: GraphInfo) -> str:
    """What tables call a runtime's graph: kind/emission, or the kind alone where the runtime runs the weights.

    Args:
        runtime: Whether it reads the graph's file counts.
        graph: One of a bundle's graphs.
    """
    return graph.name if runtime.reads_graph or graph.delay else graph.kind


def arithmetic(runtime: Runtime, graph: GraphInfo) -> str:
    """The precision by whose noise a runtime's outputs are judged: float64's own for the reference.

    A stream keeps its states in float32, whatever computes them.

    Args:
        runtime: The runtime.
        graph: The graph that it runs.
    """
    return FLOAT64 if runtime.is_reference and not graph.states else graph.precision

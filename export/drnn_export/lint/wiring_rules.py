"""The lint rules for names: each made once, and read only where something makes it; and no node waits for itself.

A branch that is never taken is left out: the parser does not look at it. Nodes may be in any order: it sorts them.
"""

from __future__ import annotations

import collections
import graphlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from drnn_export.lint.graph_view import Site, bodies
from drnn_export.lint.tables import Finding
from drnn_runtimes.bundle.bodies import inner_graphs

if TYPE_CHECKING:
    import onnx

_FIX = "Export the graph again"
_SHOWN = 4  # nodes of a circle


def wiring_findings(graph: onnx.GraphProto, sites: Sequence[Site]) -> Iterator[Finding]:
    """Check the names of a graph and of its bodies.

    Args:
        graph: The graph of a model.
        sites: Its nodes, with those of its bodies.

    Yields:
        The findings.
    """
    for site in sites:
        for name in site.node.input:
            if name and not site.scope.sees(name):
                yield site.error("wiring", f"nothing makes its input {name!r}", _FIX)
    yield from map(_about_file, _problems(graph))
    made = _made(graph)
    yield from (_about_file(f"nothing makes the output {v.name!r}") for v in graph.output if v.name not in made)
    for site, body in bodies(sites):
        made = _made(body)
        unmade = [value.name for value in body.output if value.name not in made]
        missing = [f"nothing makes the output {name!r} of its body" for name in unmade if not site.scope.sees(name)]
        for what in (*missing, *_problems(body)):
            yield site.error("wiring", what, _FIX)


def _about_file(what: str) -> Finding:
    return Finding("error", "wiring", "", "", what, _FIX)


def _made(graph: onnx.GraphProto) -> collections.Counter[str]:
    """The names that a graph makes, with how often. An input that is a constant as well is its default value."""
    constants = collections.Counter(tensor.name for tensor in graph.initializer)
    made = collections.Counter(name for node in graph.node for name in node.output if name)
    made.update(value.name for value in graph.input if value.name not in constants)
    made.update(constants)
    return made


def _problems(graph: onnx.GraphProto) -> Iterator[str]:
    """What is wrong with the names of a graph, whatever is around it."""
    for name, times in _made(graph).items():
        if times > 1:
            yield f"{times} nodes, inputs or weights make {name!r}"
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    needs = {place: {makers[n] for n in _reads(node) if n in makers} for place, node in enumerate(graph.node)}
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        circle = [graph.node[place].name or f"#{place}" for place in error.args[1][1:]]
        more = ", ..." if len(circle) > _SHOWN else ""
        yield f"nodes wait for themselves, in a circle: {', '.join(circle[:_SHOWN])}{more}"


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """What a node reads of the graph that it stands in; its bodies may have names of their own for the same."""
    yield from node.input
    for body in inner_graphs(node):
        own = _made(body)
        inside = (name for inner in body.node for name in _reads(inner))
        yield from (name for name in (*inside, *(value.name for value in body.output)) if name not in own)

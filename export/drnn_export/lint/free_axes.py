"""The lint rule for axes that the network's inputs leave free, and its nodes do not: 3 rows made of a free batch.

ONNX's inference says nothing of free sizes. So the graph is looked at again with every free axis at a size: a node that
then contradicts itself, whatever the size, works for one size of the free axis at most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

from drnn_export.lint.graph_view import Site, sites, with_inferred_types
from drnn_export.lint.node_rules import node_findings
from drnn_export.lint.tables import Finding, Table

if TYPE_CHECKING:
    import onnx

DIVISIBLE = 2**10 * 3**2 * 5 * 7**2  # by what shapes are divided by, and no size that anybody writes into a graph
_OTHERS = (24, 120, 720, 5040)  # for graphs that work up to some size
_RULES = frozenset({"contract", "size", "input", "frozen"})
SitesAt = Callable[[int], Collection[Site]]


def has_free_axes(graph: onnx.GraphProto) -> bool:
    """Whether an input of the network has an axis without a size."""
    return any(not axis.HasField("dim_value") for value in graph.input for axis in value.type.tensor_type.shape.dim)


def sites_at(model: onnx.ModelProto, size: int) -> tuple[Site, ...]:
    """The nodes of a model, with what is known of their tensors where every free axis of its inputs has a size.

    Args:
        model: A model without functions.
        size: The size.
    """
    import onnx

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    graph = fixed.graph
    free = [axis for v in graph.input for axis in v.type.tensor_type.shape.dim if not axis.HasField("dim_value")]
    symbols = {axis.dim_param for axis in free} - {""}
    of_others = [axis for v in (*graph.value_info, *graph.output) for axis in v.type.tensor_type.shape.dim]
    for axis in (*free, *(axis for axis in of_others if axis.dim_param in symbols)):
        axis.dim_value = size
    return tuple(sites(with_inferred_types(fixed)))


def frozen_findings(at: SitesAt, known: Collection[str], table: Table) -> Iterator[Finding]:
    """Nodes that work for one size of the free axes at most.

    Args:
        at: Size -> what `sites_at` gives.
        known: The names of nodes of which the same, or an error, is known.
        table: What the target takes.
    """
    wrong = _wrong(at(DIVISIBLE), known, table)
    if not wrong:
        return
    others = [_wrong(at(size), known, table) for size in _OTHERS]
    for name, finding in wrong.items():
        if sum(name not in errors for errors in others) <= 1:
            size, shown = next(
                (size, errors[name]) for size, errors in zip(_OTHERS, others, strict=True) if name in errors
            )
            what = f"works for one size of the free axes at most; where all are {size}, {shown.what}"
            fix = "Fix the size of the network's input too, or leave this one free"
            yield dataclasses.replace(finding, rule="frozen", what=what, fix=fix)


def _wrong(nodes: Collection[Site], known: Collection[str], table: Table) -> dict[str, Finding]:
    """Name of a node -> the first error of its sizes."""
    errors: dict[str, Finding] = {}
    for site in nodes:
        if site.name not in known:
            for finding in node_findings(site, table):
                if finding.severity == "error" and finding.rule in _RULES:
                    errors.setdefault(site.name, finding)
    return errors

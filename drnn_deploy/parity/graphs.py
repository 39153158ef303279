"""Which graphs of a bundle a check runs on a runtime, what tables call them, and by whose noise they are judged."""

from __future__ import annotations

import dataclasses

from drnn_core.types import FLOAT64
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime


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

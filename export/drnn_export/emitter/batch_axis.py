"""Where the batch is: first at a graph's edges, second between layers."""

from __future__ import annotations

from drnn_export.emitter.builder import GraphBuilder
from drnn_export.emitter.request import GraphRequest


def time_major(g: GraphBuilder, request: GraphRequest, value: str, rows: int, row: tuple[int, ...], name: str) -> str:
    """Add a transposition.

    Args:
        g: The graph.
        request: What the graph is.
        value: (B, rows, ...).
        rows: Time steps.
        row: What follows them in the shape.
        name: The node's name.

    Returns:
        The name of (rows, B, ...).
    """
    if 1 in (rows, request.batch):
        return g.reshape(value, (rows, request.rows, *row), name)
    return g.node("Transpose", [value], name, perm=[1, 0, *range(2, 2 + len(row))])


def batch_first(g: GraphBuilder, request: GraphRequest, value: str, rows: int, width: int, output: str) -> str:
    """Add a transposition.

    Args:
        g: The graph.
        request: What the graph is.
        value: (rows, B, width).
        rows: Its rows.
        width: Of a row.
        output: The name of what it becomes.

    Returns:
        `output`, (B, rows, width).
    """
    if 1 in (rows, request.batch):
        return g.reshape(value, (request.rows, rows, width), output, keep=True)
    return g.node("Transpose", [value], output, perm=[1, 0, 2])

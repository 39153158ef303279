"""What a model's local functions amount to, found before anything that would follow their calls without end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from drnn_core.plain_data import MAX_DEPTH
from drnn_runtimes.bundle.bodies import inner_graphs

if TYPE_CHECKING:
    import onnx


class _TooDeepError(Exception):
    """A function calls itself, or calls and subgraphs are nested deeper than `MAX_DEPTH`."""


def function_size(model: onnx.ModelProto, limit: int) -> int | None:
    """Count the nodes of a model once its local functions are written out.

    Args:
        model: A model that may call functions of its own.
        limit: Where to stop counting.

    Returns:
        The nodes, at most `limit` + 1; None where a function calls itself, or calls and subgraphs are nested deeper
        than `MAX_DEPTH`.
    """
    bodies = {(f.domain, f.name, f.overload): f.node for f in model.functions}
    measured: dict[tuple[str, str, str], tuple[int, int]] = {}
    open_calls: set[tuple[str, str, str]] = set()

    def measure(nodes: Sequence[onnx.NodeProto], depth: int) -> tuple[int, int]:
        """The nodes, and the levels of calls and subgraphs below `depth`."""
        if depth > MAX_DEPTH:
            raise _TooDeepError
        total, levels = 0, 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            inside = [measure(graph.node, depth + 1) for graph in inner_graphs(node)]
            if key in bodies:
                inside.append(call(key, depth + 1))
            total += sum(size for size, _ in inside) + (key not in bodies)
            levels = max([levels, *(below + 1 for _, below in inside)])
        return min(total, limit + 1), levels

    def call(key: tuple[str, str, str], depth: int) -> tuple[int, int]:
        if key in open_calls:
            raise _TooDeepError
        if key not in measured:
            open_calls.add(key)
            measured[key] = measure(bodies[key], depth)
            open_calls.remove(key)
        if depth + measured[key][1] > MAX_DEPTH:
            raise _TooDeepError
        return measured[key]

    try:
        return measure(model.graph.node, 0)[0]
    except _TooDeepError:
        return None

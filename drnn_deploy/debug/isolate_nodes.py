"""The first node of a stage that a runtime computes wrong, by onnx's reference evaluator on the same right inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from drnn_core.errors import DeployError
from drnn_core.types import PRECISIONS, TensorInfo
from drnn_deploy.debug.taps import session_of
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_export.named_graph import stage_of
from drnn_export.onnx_surgery import opened
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.session import Arrays


def first_wrong_node(
    runtime: Runtime,
    bundle: Bundle,
    graph: GraphInfo,
    model: onnx.ModelProto,
    known: Mapping[str, TensorInfo],
    feeds: Sequence[Arrays],
    stage: str,
    noise: float,
) -> str:
    """Find the first node of a stage, in the graph's order, that a runtime computes wrong.

    Args:
        runtime: The runtime, which takes any graph.
        bundle: The open bundle that holds the graph.
        graph: One of the bundle's graphs.
        model: Its model, cut (`drnn_export.onnx_surgery.cut`), so that `feeds` gives right inputs to every stage.
        known: The tensors of the model, by name.
        feeds: The inputs of each run.
        stage: The name of the stage.
        noise: The noise of the stage's tensor. A node's own is at least a rounding of its largest value.

    Returns:
        "node NAME (OPERATOR)"; "" where none is off or none can be told.
    """
    nodes = [node for node in model.graph.node if stage in (stage_of(name) for name in (*node.output, node.name))]
    tensors = [known[name] for node in nodes for name in node.output if name in known]
    wide = opened(model, [tensor for tensor in tensors if tensor.dtype.startswith("float")])
    names = [name for name in (value.name for value in wide.graph.output) if name in known]
    try:
        with session_of(runtime, bundle, graph, wide) as session:
            observed = [session.run(feed) for feed in feeds]
        right = _by_onnx(wide, names, feeds)
    except DeployError:
        return ""
    floor = NOISE_MULTIPLE * noise
    for node in nodes:
        for name in filter(None, node.output):
            if any(
                _off(run.get(name), other.get(name), floor, graph) for run, other in zip(observed, right, strict=False)
            ):
                return f"node {node.name or name} ({node.op_type})"
    return ""


def _by_onnx(model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Arrays]) -> list[Arrays]:
    """What onnx's evaluator makes of the feeds; nothing where it lacks an operator, as an RNN of Relu or bfloat16."""
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(model)
        with np.errstate(all="ignore"):  # it computes exp(-x) for every x
            outputs: list[Any] = [evaluator.run(list(names), dict(feed)) for feed in feeds]
            return [dict(zip(names, values, strict=True)) for values in outputs]
    except Exception:  # each of its operators raises its own
        return []


def _off(value: NDArray[np.generic] | None, right: NDArray[np.generic] | None, floor: float, graph: GraphInfo) -> bool:
    if value is None or right is None:
        return False
    if value.shape != right.shape:
        return True
    wide = right.astype(np.float64)
    largest = max(1.0, float(np.abs(wide).max(initial=0.0)))
    limit = max(floor, NOISE_MULTIPLE * PRECISIONS[graph.precision].spacing * largest)
    return not bool((np.abs(value.astype(np.float64) - wide) <= limit).all())

"""What to emit, and what it will cost: known from the spec alone, before a node is made."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np

from drnn_export.cells import CELL_NODES, PROJECTIONS
from drnn_models.cone import ConePlan, LayerPlan, plan_cone
from drnn_models.description import Emission
from drnn_models.errors import InputError
from drnn_models.spec import ModelSpec, Tokens

NODE_BUDGET = 20_000  # of an unrolled graph; compilers and ONNX Runtime's optimiser grow slower than linear beyond it
_PROTOBUF_LIMIT = 2**31 - 1
_BYTES_PER_NODE = 125  # a node with its names and its outputs' shapes, measured on emitted graphs


@dataclasses.dataclass(frozen=True)
class GraphRequest:
    """One graph of form `sequence`.

    `steps`: T, static. `batch`: B, or None for a dynamic batch axis (emission `fused` only). `emission`: one ONNX
    operator per layer, or per-step nodes with static shapes. `prune`: compute only what reaches the output.
    """

    steps: int
    batch: int | None = 1
    emission: Emission = "fused"
    prune: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.batch is not None and self.batch < 1):
            raise InputError(f"steps and batch must be at least 1, got {self.steps} and {self.batch}")
        if self.emission not in get_args(Emission):
            raise InputError(f"emission must be fused or unrolled, got {self.emission!r}")
        if self.batch is None and self.emission == "unrolled":
            raise InputError(
                "an unrolled graph has static shapes and cannot take a dynamic batch",
                "Ask for emission fused, or for one fixed batch.",
            )

    def plan(self, spec: ModelSpec) -> ConePlan:
        """The steps that each layer computes."""
        return plan_cone(spec, self.steps, prune=self.prune)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Size of a graph. `cells`: sequential cell evaluations. `nodes` is exact, `file_bytes` within about a quarter."""

    cells: int
    nodes: int
    weight_bytes: int
    file_bytes: int


def estimate(spec: ModelSpec, request: GraphRequest) -> Estimate:
    """What `emit` will make of this request."""
    plan = request.plan(spec)
    nodes, length = input_nodes(spec), request.steps
    for layer in plan.layers:
        length = length if layer.select is None else layer.steps
        nodes += _layer_nodes(spec, layer, request.emission, length)
        length = layer.cells * layer.fold
    nodes += head_nodes(spec, plan, length)
    weight_bytes = 4 * sum(int(np.prod(shape)) for shape in spec.weight_shapes().values())
    cells = sum(layer.cells for layer in plan.layers)
    return Estimate(cells, nodes, weight_bytes, weight_bytes + _BYTES_PER_NODE * nodes)


def check_budget(spec: ModelSpec, request: GraphRequest, node_budget: int = NODE_BUDGET) -> Estimate:
    """The estimate; raises `InputError` where it is over the node budget or what one ONNX file can hold."""
    size = estimate(spec, request)
    if size.file_bytes > _PROTOBUF_LIMIT:
        raise InputError(
            f"the graph would take about {size.file_bytes / 1e9:.1f} GB; an ONNX file holds at most 2 GB",
            "Use smaller layers or a smaller vocabulary.",
        )
    if request.emission == "unrolled" and size.nodes > node_budget:
        raise InputError(
            f"unrolling {request.steps} steps takes {size.nodes:,} nodes ({size.cells:,} cells), "
            f"over the budget of {node_budget:,}",
            f"Use --emission fused, a smaller --length, or --node-budget {size.nodes}.",
        )
    return size


def input_nodes(spec: ModelSpec) -> int:
    """Transpose to time-major, and the lookup of tokens."""
    return 2 if isinstance(spec.input, Tokens) else 1


def head_nodes(spec: ModelSpec, plan: ConePlan, length: int) -> int:
    """Nodes from the top layer's outputs to the graph's output; see `drnn_export.emit`."""
    steps = spec.head.output_steps(plan.length)
    padded = plan.head_steps < steps + spec.window - 1
    selected = spec.window > 1 or plan.head_steps < length or plan.layers[-1].steps < length
    last = spec.head.kind == "last"
    return padded + selected + (spec.window > 1) + (2 if last else 3)


def _layer_nodes(spec: ModelSpec, layer: LayerPlan, emission: str, length: int) -> int:
    prepared = (layer.select is not None) + (length != layer.cells * layer.fold)
    if emission == "fused":
        return prepared + (layer.fold > 1) + 2
    several = layer.cells > 1
    projections = PROJECTIONS[spec.cell]
    return prepared + 1 + projections + several * (projections + 1) + CELL_NODES[spec.cell] * layer.cells + 1

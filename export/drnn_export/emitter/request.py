"""What to emit."""

from __future__ import annotations

import dataclasses
from typing import get_args

from drnn_core.arguments import checked_fields
from drnn_core.errors import InputError
from drnn_core.types import Emission, Form, NamedGraph, Precision
from drnn_export.emitter.cells import cell_nodes
from drnn_models.cone import ConePlan, plan_cone
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.bundle.graph_kind import check_kind, delay_of, state_shapes

BLOCK = 16  # steps of a block where nobody says how many
WRITTEN_OUT: tuple[Emission, ...] = ("unrolled", "blocked")  # emissions with nodes for every step of a run or a block
MIXED_NODES = 24  # up to here the nodes of a layer's steps cost ONNX Runtime less than one operator with its folding


@checked_fields
@dataclasses.dataclass(frozen=True)
class GraphRequest(NamedGraph):
    """One graph to emit.

    Attributes:
        steps: Time steps of one run, static.
        batch: B, or None for a dynamic batch axis (emissions `fused`, `skewed` and `plugin`).
        emission: `fused`, one ONNX operator for each layer; `unrolled`, nodes for each step; `mixed`, whichever suits
            the layer; `skewed` (form `step`), see `drnn_export.emitter.skew`; `blocked` (form `sequence`), a loop over
            blocks of unrolled steps for each layer of more steps than a block; `plugin`, all layers as one node, see
            `drnn_export.emitter.stack_function`.
        prune: Whether to compute only what reaches the output (form `sequence`).
        form: `sequence` starts from zero; `chunk` takes states and gives the next ones; `step` is a chunk of one step.
        ring: Whether only the rows that change of a delay line go in and out where the line is longer than the chunk;
            the session keeps the other rows.
        precision: Of matrix products, see `drnn_export.emitter.precision`.
        block: The most steps of a block (emission `blocked`, and no other); None for `BLOCK` of them.

    Raises:
        InputError: The values contradict each other, or there is no such graph.
    """

    steps: int
    batch: int | None = 1
    emission: Emission = "fused"
    prune: bool = True
    form: Form = "sequence"
    ring: bool = False
    precision: Precision = "fp32"
    block: int | None = None

    def __post_init__(self) -> None:
        choices = (
            ("emission", self.emission, Emission),
            ("form", self.form, Form),
            ("precision", self.precision, Precision),
        )
        for name, value, allowed in choices:
            if value not in get_args(allowed):
                raise InputError(f"{name} must be one of {', '.join(get_args(allowed))}, got {value!r}")
        if self.block is None and self.emission == "blocked":
            object.__setattr__(self, "block", BLOCK)
        check_kind(self)
        if self.form != "sequence" and self.prune:
            object.__setattr__(self, "prune", False)  # every step of every layer reaches a later output

    @classmethod
    def of(cls, graph: GraphInfo) -> GraphRequest:
        """The request that a bundle's graph was emitted for."""
        return cls(
            graph.steps,
            graph.batch,
            graph.emission,
            graph.pruned,
            graph.form,
            graph.ring,
            precision=graph.precision,
            block=graph.block,
        )

    @property
    def rows(self) -> int:
        """The batch as an axis of a reshape: -1 where it is dynamic."""
        return -1 if self.batch is None else self.batch

    def fuses(self, spec: ModelSpec, cells: int) -> bool:
        """Whether a layer's run of `cells` steps, one after the other, becomes one operator.

        Args:
            spec: The network, whose cell counts.
            cells: Steps one after the other.
        """
        if self.emission == "mixed":
            return cells * cell_nodes(spec) > MIXED_NODES
        return self.emission in ("fused", "plugin")

    def blocks(self, cells: int) -> tuple[int, int]:
        """The blocks of a layer's run of `cells` steps, one after the other.

        Args:
            cells: Steps one after the other.

        Returns:
            The blocks that a loop takes, and the steps of each; what is left over comes before them, unrolled. A block
            has more than half of `block` steps, as leaves the fewest over. One block is no loop: all steps are in it.
        """
        if self.block is None or cells <= self.block:
            return 1, cells
        length = min(range(self.block, self.block // 2, -1), key=lambda steps: cells % steps)
        return (cells // length, length) if cells >= 2 * length else (1, cells)

    def written_cells(self, spec: ModelSpec) -> int:
        """The steps that emissions of `WRITTEN_OUT` write out as nodes; 0 of the others, which have few nodes.

        Args:
            spec: The network.
        """
        if self.emission not in WRITTEN_OUT:
            return 0
        every = [(cells, *self.blocks(cells)) for layer in self.runs(spec) for cells, _ in layer]
        return sum(cells - (trips - 1) * length for cells, trips, length in every)

    def delay(self, spec: ModelSpec) -> int:
        """Steps between an input and its output."""
        return delay_of(spec, self)

    def plan(self, spec: ModelSpec) -> ConePlan:
        """The steps that each layer computes."""
        return plan_cone(spec, self.steps, prune=self.prune)

    def runs(self, spec: ModelSpec) -> list[list[tuple[int, int]]]:
        """The runs of each layer.

        Returns:
            For each layer, (cells, fold) of its runs: steps one after the other, and rows of a step for each sequence.
            The steps of a chunk that fill no folded step make a run of their own.
        """
        if self.form == "sequence":
            return [[(layer.cells, layer.fold)] for layer in self.plan(spec).layers]
        divided = [(divmod(self.steps, dilation), dilation) for dilation in spec.dilations]
        return [[(full, d)] * (full > 0) + [(1, rest)] * (rest > 0) for (full, rest), d in divided]

    def state_shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """The states that go in and out.

        Args:
            spec: The network.

        Returns:
            Name -> (B, rows, H), with -1 for a dynamic B. With `ring`, a delay line longer than the chunk has its
            oldest `steps` rows only. Emission `skewed` packs all delay lines into one state.
        """
        return state_shapes(spec, self)

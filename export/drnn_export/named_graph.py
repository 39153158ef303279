"""A graph by names, which say to which part of the network a difference belongs (`drnn_export.emitter.emit`).

What has no such name, as constants that several nodes share, belongs to the nodes that read it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

import onnx

from drnn_runtimes.bundle.bodies import inner_graphs, nodes_of
from drnn_runtimes.bundle.functions import INLINED, constants_of

EVERY_LAYER = "layers"  # of what emission skewed computes for all layers at once
_STAGES = (
    (re.compile(r"(?:next_)?(?:state_)?l(\d+)[/_]"), "layer {}"),
    (re.compile(r"head/|output$|output/"), "head"),
    (re.compile(r"(?:next_)?(?:state_)?fusion"), "fusion"),
    (re.compile(r"stack$|stack/top|skew/|(?:next_)?state_(?:lines|started)"), EVERY_LAYER),
    (re.compile(r"time_major|embedding|one_hot|input$|input/"), "input"),
)


@dataclasses.dataclass(frozen=True)
class Difference:
    """One difference between two graphs; `str` gives its sentence.

    Attributes:
        stages: Stages of the network that it is in.
        where: The node, constant, edge or field.
        what: The rest of the sentence.
        position: Of the first node that it touches, in the file's order; -1 for an edge, and past the last
            node for what none of them touches.
    """

    stages: tuple[str, ...]
    where: str
    what: str
    position: int

    def __str__(self) -> str:
        return f"{self.where} {self.what}"


def stage_of(name: str) -> str:
    """The stage of the network that an emitted name belongs to, for example `layer 3`, or "" for a shared constant."""
    for pattern, stage in _STAGES:
        if match := pattern.match(name) or pattern.match(name.removeprefix(INLINED)):
            return stage.format(*match.groups())
    return ""


class NamedGraph:
    """A graph by names."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        bodies = [body for node in nodes_of(model) for body in inner_graphs(node)]
        tensors = [tensor for graph in (model.graph, *bodies) for tensor in graph.initializer]
        self.constants = {tensor.name: tensor for tensor in (*tensors, *constants_of(model.functions))}
        self.sparse = {tensor.values.name for tensor in model.graph.sparse_initializer}
        self.order = [node for node in nodes_of(model) if not (model.functions and node.op_type == "Constant")]
        self.nodes = {key_of(node): (place, node) for place, node in enumerate(self.order)}
        self.readers: dict[str, list[int]] = {}
        for place, node in enumerate(self.order):
            for name in node.input:
                self.readers.setdefault(name, []).append(place)

    def stages_of(self, places: Iterable[int]) -> tuple[str, ...]:
        """The stages of some nodes, each once."""
        return tuple(dict.fromkeys(stage for place in places for stage in self.stages(place)))

    def stages(self, place: int) -> tuple[str, ...]:
        """The stages of a node: its own, else those of the nodes that read it, nearest first."""
        seen, waiting = set(), [place]
        for current in waiting:  # which grows
            node = self.order[current]
            if stage := next(filter(None, map(stage_of, (*node.output, node.name))), ""):
                return (stage,)
            for name in node.output:
                waiting += [reader for reader in self.readers.get(name, []) if reader not in seen]
                seen.update(self.readers.get(name, []))
        return ()


def key_of(node: onnx.NodeProto) -> str:
    """What a node is found by: its first output, else its name."""
    return next(filter(None, node.output), node.name)

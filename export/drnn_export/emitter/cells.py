"""The arithmetic of every cell as ONNX nodes, one class each. It follows the ONNX operators' definitions.

Most cells take W x + R h + b of all gates out of one product and define `update` only; a GRU multiplies twice.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from drnn_export.emitter.builder import GraphBuilder
from drnn_export.emitter.weights import LayerWeights, stack
from drnn_models.cells import Cell
from drnn_models.spec import ModelSpec

Project = Callable[..., list[str]]  # see `LayerEmitter._projection`
Recall = Callable[[str, str, str], str]  # (r * h, W x + b, name) -> a value called `name`: R (r * h) + W x + b


class CellEmitter(abc.ABC):
    """The nodes of one kind of cell.

    Attributes:
        gates: Gate letters in the order of the columns of a product of all gates.
        g: The graph.
        spec: The network.
    """

    gates: ClassVar[str]

    def __init__(self, g: GraphBuilder, spec: ModelSpec) -> None:
        self.g, self.spec = g, spec

    @staticmethod
    @abc.abstractmethod
    def step_nodes(spec: ModelSpec) -> int:
        """Nodes of one unrolled step."""

    @staticmethod
    def parts_new_gate(spec: ModelSpec) -> bool:
        """Whether a product keeps W x + b and R h + b of gate n apart, in columns of their own."""
        return False

    def attributes(self) -> dict[str, Any]:
        """Attributes of the ONNX operator beside its hidden size."""
        return {}

    @abc.abstractmethod
    def steps(
        self, layer: LayerWeights, project: Project, initial: Sequence[str], ticks: Sequence[str]
    ) -> tuple[list[str], str]:
        """Add all steps of a layer.

        Args:
            layer: The layer's weights.
            project: Gives W x + b of the gates that it is asked for: a value (rows, G * H) for each step.
            initial: The states before the first step, (rows, H) each.
            ticks: Prefix of the nodes' names, for each step.

        Returns:
            h of every step (rows, H), and the last c (rows, H), or "" for a cell without c.
        """

    @abc.abstractmethod
    def all_layers(self, gates: str, before: Mapping[str, str], size: int, recall: Recall) -> dict[str, str]:
        """Add one step of all layers at once; values are (B, layers, H) each.

        Args:
            gates: W x + R h + b of all gates side by side, (B, layers, G * H) with G of `product_blocks`.
            before: State letter -> its value before the step.
            size: Hidden units of the widest layer, H.
            recall: Adds one more product, for a cell that multiplies after a gate.

        Returns:
            State letter -> its value after the step.
        """


class OneProductCell(CellEmitter):
    """A cell that needs nothing but W x + R h + b of its gates."""

    @abc.abstractmethod
    def update(self, gates: str, before: Mapping[str, str], size: int, tick: str, axis: int) -> dict[str, str]:
        """Add one step.

        Args:
            gates: W x + R h + b of all gates side by side along `axis`, `size` columns each.
            before: State letter -> its value before the step.
            size: Hidden units.
            tick: Prefix of the nodes' names.
            axis: The axis of the hidden units.

        Returns:
            State letter -> its value after the step.
        """

    def steps(
        self, layer: LayerWeights, project: Project, initial: Sequence[str], ticks: Sequence[str]
    ) -> tuple[list[str], str]:
        """See `CellEmitter`."""
        recurrent = self.g.constant(f"{layer.name}/R", stack(layer.r, self.gates))
        states, outputs = dict(zip(self.spec.cell_states, initial, strict=True)), []
        for tick, fed in zip(ticks, project(self.gates, with_recurrent_bias=True, label="input"), strict=True):
            gates = self.g.node("Gemm", [states["h"], recurrent, fed], f"{tick}/gates", transB=1)
            states = self.update(gates, states, layer.hidden, tick, axis=1)
            outputs.append(states["h"])
        return outputs, states.get("c", "")

    def all_layers(self, gates: str, before: Mapping[str, str], size: int, recall: Recall) -> dict[str, str]:
        """See `CellEmitter`."""
        return self.update(gates, before, size, "skew", axis=2)


class RnnCell(OneProductCell):
    """h = act(gates)."""

    gates = "h"

    @staticmethod
    def step_nodes(spec: ModelSpec) -> int:
        """See `CellEmitter`."""
        return 2

    def attributes(self) -> dict[str, Any]:
        """The activation, unless it is the operator's own."""
        return {"activations": ["Relu"]} if self.spec.activation == "relu" else {}

    def update(self, gates: str, before: Mapping[str, str], size: int, tick: str, axis: int) -> dict[str, str]:
        """See `CellEmitter`."""
        return {"h": self.g.node("Relu" if self.spec.activation == "relu" else "Tanh", [gates], f"{tick}/h")}


class LstmCell(OneProductCell):
    """c = f * c + i * g; h = o * tanh(c)."""

    gates = "ifog"

    @staticmethod
    def step_nodes(spec: ModelSpec) -> int:
        """See `CellEmitter`."""
        return 10

    def update(self, gates: str, before: Mapping[str, str], size: int, tick: str, axis: int) -> dict[str, str]:
        """See `CellEmitter`."""
        g = self.g
        sigmoids, candidate = g.split(gates, [3 * size, size], f"{tick}/parts", ["ifo", "g"], axis=axis)
        opened = g.node("Sigmoid", [sigmoids], f"{tick}/opened")
        keep_in, forget, out = g.split(opened, [size] * 3, f"{tick}/gate", "ifo", axis=axis)
        candidate = g.node("Tanh", [candidate], f"{tick}/candidate")
        kept = g.node("Mul", [forget, before["c"]], f"{tick}/kept")
        cell = g.node("Add", [kept, g.node("Mul", [keep_in, candidate], f"{tick}/added")], f"{tick}/c")
        return {"h": g.node("Mul", [out, g.node("Tanh", [cell], f"{tick}/squashed")], f"{tick}/h"), "c": cell}


class GruCell(CellEmitter):
    """z, r = sigmoid(gates); n = tanh(W x + b + r * (R h + b)); h = n + z * (h - n).

    This cell resets after the recurrent product, as torch does (linear_before_reset = 1). Where the spec resets before
    the product, n = tanh(W x + b + R (r * h) + b).
    """

    gates = "zrn"

    @staticmethod
    def step_nodes(spec: ModelSpec) -> int:
        """See `CellEmitter`."""
        return 10 if spec.reset == "after" else 9

    @staticmethod
    def parts_new_gate(spec: ModelSpec) -> bool:
        """See `CellEmitter`: r scales R h + b alone where the reset comes after the product."""
        return spec.reset == "after"

    def attributes(self) -> dict[str, Any]:
        """Whether the reset comes after the product."""
        return {"linear_before_reset": int(self.spec.reset == "after")}

    def steps(
        self, layer: LayerWeights, project: Project, initial: Sequence[str], ticks: Sequence[str]
    ) -> tuple[list[str], str]:
        """See `CellEmitter`."""
        g, name, h, after = self.g, layer.name, initial[0], self.spec.reset == "after"
        recurrent = g.constant(f"{name}/Rzr", stack(layer.r, "zr"))
        recurrent_new = g.constant(f"{name}/Rn", layer.r["n"])
        fed = project("zr", with_recurrent_bias=True, label="input_zr")
        fed_new = project("n", with_recurrent_bias=not after, label="input_n")

        def recall(kept: str, fed: str, total: str) -> str:
            return g.node("Gemm", [kept, recurrent_new, fed], total, transB=1)

        outputs = []
        for tick, for_gates, for_new in zip(ticks, fed, fed_new, strict=True):
            gates, recalled = g.node("Gemm", [h, recurrent, for_gates], f"{tick}/gates", transB=1), ""
            if after:
                bias_new = g.constant(f"{name}/Bn", layer.br["n"])
                recalled = g.node("Gemm", [h, recurrent_new, bias_new], f"{tick}/recalled", transB=1)
            h = self.combine(h, gates, for_new, recalled, recall, layer.hidden, tick, axis=1)
            outputs.append(h)
        return outputs, ""

    def all_layers(self, gates: str, before: Mapping[str, str], size: int, recall: Recall) -> dict[str, str]:
        """See `CellEmitter`."""
        sizes, labels = [2 * size, size], ["zr", "fed"]
        if self.spec.reset == "after":
            sizes, labels = [*sizes, size], [*labels, "recalled"]
        zr, fed, *recalled = self.g.split(gates, sizes, "skew/parts", labels, axis=2)
        return {"h": self.combine(before["h"], zr, fed, "".join(recalled), recall, size, "skew", axis=2)}

    def combine(
        self, h: str, gates: str, fed_new: str, recalled: str, recall: Recall, size: int, tick: str, *, axis: int
    ) -> str:
        """Add the nodes from the gates to the new h.

        Args:
            h: The state before the step.
            gates: z and r before the sigmoid, `size` columns each.
            fed_new: W x + b of gate n.
            recalled: R h + b of gate n where the reset comes after the product, else "".
            recall: Adds the product R (r * h) + W x + b where the reset comes before it.
            size: Hidden units.
            tick: Prefix of the nodes' names.
            axis: The axis of the hidden units.

        Returns:
            The new h.
        """
        g, after = self.g, self.spec.reset == "after"
        update, reset = g.split(g.node("Sigmoid", [gates], f"{tick}/zr"), [size] * 2, f"{tick}/gate", "zr", axis=axis)
        kept, total = g.node("Mul", [reset, recalled if after else h], f"{tick}/kept"), f"{tick}/total"
        total = g.node("Add", [fed_new, kept], total) if after else recall(kept, fed_new, total)
        new = g.node("Tanh", [total], f"{tick}/n")
        change = g.node("Mul", [update, g.node("Sub", [h, new], f"{tick}/difference")], f"{tick}/change")
        return g.node("Add", [new, change], f"{tick}/h")


CELL_EMITTERS: dict[Cell, type[CellEmitter]] = {"rnn": RnnCell, "gru": GruCell, "lstm": LstmCell}


def cell_nodes(spec: ModelSpec) -> int:
    """Nodes of one unrolled step."""
    return CELL_EMITTERS[spec.cell].step_nodes(spec)


def product_blocks(spec: ModelSpec) -> int:
    """Blocks of H columns in a product of all gates with [x, h]."""
    return spec.gates + int(CELL_EMITTERS[spec.cell].parts_new_gate(spec))

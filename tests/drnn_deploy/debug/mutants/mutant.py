"""Graphs that are wrong on purpose: each is one mistake of an exporter, a tool or a person, made in a right graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.weights import Weights
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.bundle.bodies import every_node

Change = Callable[[onnx.ModelProto], None]
HERE = "onnxruntime-cpu"
BOTH = (HERE, "tensorrt-network")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A mistake in a base's graph. part: of the network, that it is in. words: which the verdict must have.

    change: None where `weights` or `spec` say what is emitted in place of the right graph.
    """

    name: str
    base: str
    part: str
    words: str
    change: Change | None = None
    emitted: Callable[[Bundle], onnx.ModelProto] | None = None
    runtimes: tuple[str, ...] = (HERE,)


# How graphs are changed


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(found for found in every_node(model.graph.node) if found.name == name)


def weights(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Change:
    """Change a constant."""

    def apply(model: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        value = change(numpy_helper.to_array(tensor).copy())
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))

    return apply


def flipped(value: NDArray[Any]) -> NDArray[Any]:
    """The sign of one weight in the middle."""
    value.flat[value.size // 2] *= -1
    return value


def gates(order: Sequence[int], *, twice: bool = False) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The gate blocks of an operator's W or R, or B, which has them twice, in another order."""

    def change(value: NDArray[Any]) -> NDArray[Any]:
        halves = np.split(value, 2, axis=1) if twice else [value]
        moved = [[np.split(half, len(order), axis=1)[gate] for gate in order] for half in halves]
        return np.concatenate([block for half in moved for block in half], axis=1)

    return change


def swapped_gates(layer: int, order: Sequence[int]) -> Change:
    def apply(model: onnx.ModelProto) -> None:
        for part in "WRB":
            weights(f"l{layer}/operator/{part}", gates(order, twice=part == "B"))(model)

    return apply


def half_zero(half: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Of B: the input's biases (0) or the recurrent ones (1)."""

    def change(value: NDArray[Any]) -> NDArray[Any]:
        np.split(value, 2, axis=1)[half][...] = 0
        return value

    return change


def attribute(name: str, **values: Any) -> Change:
    """Set attributes of a node."""

    def apply(model: onnx.ModelProto) -> None:
        found = node(model, name)
        kept = [old for old in found.attribute if old.name not in values]
        del found.attribute[:]
        found.attribute.extend([*kept, *(helper.make_attribute(*pair) for pair in values.items())])

    return apply


def read(name: str, index: int, value: str) -> Change:
    """Another input of a node; "" leaves it out."""

    def apply(model: onnx.ModelProto) -> None:
        node(model, name).input[index] = value

    return apply


def operator(name: str, kind: str) -> Change:
    def apply(model: onnx.ModelProto) -> None:
        node(model, name).op_type = kind

    return apply


def replaced(name: str, *nodes: onnx.NodeProto) -> Change:
    """A node by others, that give the same output."""

    def apply(model: onnx.ModelProto) -> None:
        every = list(model.graph.node)
        place = next(index for index, found in enumerate(every) if found.name == name)
        del model.graph.node[:]
        model.graph.node.extend([*every[:place], *nodes, *every[place + 1 :]])

    return apply


def before(name: str, index: int, make: Callable[[str, str], list[onnx.NodeProto]], **constants: Any) -> Change:
    """Nodes between a node and its input: make(what it read, what it reads now)."""

    def apply(model: onnx.ModelProto) -> None:
        reader = node(model, name)
        old, new = reader.input[index], f"{reader.input[index]}/mutated"
        place = list(model.graph.node).index(reader)
        reader.input[index] = new
        every = list(model.graph.node)
        del model.graph.node[:]
        model.graph.node.extend([*every[:place], *make(old, new), *every[place:]])
        for label, value in constants.items():
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), label))

    return apply


def behind(output: str, *nodes: onnx.NodeProto) -> Change:
    """Nodes between what gave an output, which they read as `raw`, and the output."""

    def apply(model: onnx.ModelProto) -> None:
        edges = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in model.graph.output]
        outputs_renamed(output, "raw")(model)
        for node in model.graph.node:
            node.input[:] = ["raw" if name == output else name for name in node.input]
        model.graph.node.extend(nodes)
        del model.graph.output[:]
        model.graph.output.extend(edges)

    return apply


def constant(name: str, value: Any) -> Change:
    def apply(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))

    return apply


def both(*changes: Change) -> Change:
    def apply(model: onnx.ModelProto) -> None:
        for change in changes:
            change(model)

    return apply


def through(kind: int) -> Callable[[str, str], list[onnx.NodeProto]]:
    """To a narrow type and back."""

    def make(old: str, new: str) -> list[onnx.NodeProto]:
        narrow = f"{new}/narrow"
        return [
            helper.make_node("Cast", [old], [narrow], narrow, to=kind),
            helper.make_node("Cast", [narrow], [new], new, to=TensorProto.FLOAT),
        ]

    return make


def ten_bits(old: str, new: str) -> list[onnx.NodeProto]:
    """A product's input as TF32 reads it: rounded to a mantissa of 10 bits (Dekker's split by 2**13 + 1)."""
    return [
        helper.make_node("Mul", [old, "split_at"], [f"{new}/scaled"], f"{new}/scaled"),
        helper.make_node("Sub", [f"{new}/scaled", old], [f"{new}/low"], f"{new}/low"),
        helper.make_node("Sub", [f"{new}/scaled", f"{new}/low"], [new], new),
    ]


def body(loop: str, change: Callable[[onnx.GraphProto], None]) -> Change:
    """Change the body of a loop."""
    return lambda model: change(node(model, loop).attribute[0].g)


def outputs_renamed(old: str, new: str) -> Change:
    def apply(model: onnx.ModelProto) -> None:
        for found in model.graph.node:
            found.output[:] = [new if name == old else name for name in found.output]
        next(value for value in model.graph.output if value.name == old).name = new

    return apply


def outputs_swapped(one: str, other: str) -> Change:
    """Each gives what the other should."""
    return both(*(_renamed(*pair) for pair in ((one, "aside"), (other, one), ("aside", other))))


def _renamed(old: str, new: str) -> Change:
    def apply(model: onnx.ModelProto) -> None:
        for found in model.graph.node:
            found.output[:] = [new if name == old else name for name in found.output]

    return apply


def last_two_outputs_in_another_order(model: onnx.ModelProto) -> None:
    *others, one, other = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend([*others, other, one])


def output_in_half(model: onnx.ModelProto) -> None:
    _renamed("output", "whole")(model)
    model.graph.node.append(helper.make_node("Cast", ["whole"], ["output"], "head/half", to=TensorProto.FLOAT16))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def reset_before_the_product(model: onnx.ModelProto) -> None:
    """Of layer 1, unrolled: the reset scales h and no longer what R makes of it."""
    for total in [found.name for found in model.graph.node if found.name.startswith("l1/") and "/total" in found.name]:
        tick = total.removesuffix("/total")
        recalled, kept = node(model, f"{tick}/recalled"), node(model, f"{tick}/kept")
        made = onnx.NodeProto()
        made.CopyFrom(recalled)
        kept.input[1], made.input[0] = recalled.input[0], kept.output[0]
        node(model, total).input[1] = made.output[0]
        model.graph.node.remove(recalled)
        model.graph.node.insert(list(model.graph.node).index(kept) + 1, made)


def emitted_with(**changes: Any) -> Callable[[Bundle], onnx.ModelProto]:
    """The graph of a network with another spec and the same weights."""

    def make(bundle: Bundle) -> onnx.ModelProto:
        spec = dataclasses.replace(bundle.spec, **changes)
        return emit(spec, bundle.weights, GraphRequest.of(bundle.graphs[0]))

    return make


def emitted_in(precision: Any) -> Callable[[Bundle], onnx.ModelProto]:
    def make(bundle: Bundle) -> onnx.ModelProto:
        request = dataclasses.replace(GraphRequest.of(bundle.graphs[0]), precision=precision)
        return emit(bundle.spec, bundle.weights, request)

    return make


def emitted_from(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Bundle], onnx.ModelProto]:
    """The graph of other weights."""

    def make(bundle: Bundle) -> onnx.ModelProto:
        changed: Weights = {**bundle.weights, name: change(bundle.weights[name].copy())}
        return emit(bundle.spec, changed, GraphRequest.of(bundle.graphs[0]))

    return make

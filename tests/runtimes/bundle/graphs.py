"""Graphs of random networks with what a manifest says of them, and edits that make them hostile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from hypothesis import assume
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, Precision
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.bundle.bodies import count_nodes
from drnn_runtimes.bundle.graph_kind import delay_of, edges, state_pairs

Edit = Callable[[onnx.ModelProto], Any]


ALL_EMISSIONS = ("fused", "unrolled", "mixed", "skewed", "blocked", "blocked", "plugin")


@st.composite
def requests(
    draw: st.DrawFn,
    steps: int = 60,
    batches: Sequence[int | None] = (None, 1, 2, 3),
    emissions: Sequence[str] = ALL_EMISSIONS,
    blocks: Sequence[int | None] = (None, *range(2, 10)),
    precisions: Sequence[Precision] = tuple(PRECISIONS),
) -> GraphRequest:
    """Of every form and precision, of up to so many steps."""
    form, emission = draw(st.sampled_from(["sequence", "chunk", "step"])), draw(st.sampled_from(emissions))
    try:
        return GraphRequest(
            1 if form == "step" else draw(st.integers(1, steps)),
            draw(st.sampled_from(batches)),
            emission,  # type: ignore[arg-type]
            draw(st.booleans()),
            form,  # type: ignore[arg-type]
            form != "sequence" and draw(st.booleans()),
            draw(st.sampled_from(precisions)),
            draw(st.sampled_from(blocks)) if emission == "blocked" else None,
        )
    except InputError:
        assume(False)
        raise


def info_of(spec: ModelSpec, request: GraphRequest, model: onnx.ModelProto) -> GraphInfo:
    """What an export writes into a manifest."""
    inputs, outputs = edges(spec, request)
    return GraphInfo(
        "model.onnx",
        request.form,
        request.emission,
        request.prune,
        request.steps,
        request.batch,
        request.precision,
        model.opset_import[0].version,
        count_nodes(model),
        inputs,
        outputs,
        state_pairs(spec, request),
        request.ring,
        delay_of(spec, request),
        (1, 2, 5) if request.batch is None else None,
        block=request.block,
    )


def constant(model: onnx.ModelProto, name: str, value: Any) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def behind(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    """Put nodes behind `output`: they read "raw", and one of them makes "output"."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["raw" if name == "output" else name for name in names]
    model.graph.node.extend(nodes)


def value_info(name: str, kind: int = TensorProto.FLOAT, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _added(model: onnx.ModelProto, name: str) -> None:
    """`output` = raw + the sum of tensor `name`."""
    behind(
        model,
        helper.make_node("Cast", [name], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["floats"], ["sum"], keepdims=0),
        helper.make_node("Add", ["raw", "sum"], ["output"]),
    )


def loop(rounds: int, operator: str = "Identity") -> Edit:
    def edit(model: onnx.ModelProto) -> None:
        body = helper.make_graph(
            [helper.make_node("Identity", ["go_on"], ["goes_on"]), helper.make_node(operator, ["value"], ["next"])],
            "body",
            [
                value_info("round", TensorProto.INT64, []),
                value_info("go_on", TensorProto.BOOL, []),
                value_info("value"),
            ],
            [value_info("goes_on", TensorProto.BOOL, []), value_info("next")],
        )
        ends = [constant(model, "rounds", np.int64(rounds)), constant(model, "true", np.array(True))]
        behind(model, helper.make_node("Loop", [*ends, "raw"], ["output"], body=body))

    return edit


def large(operator: str, inputs: list[Any], **attributes: Any) -> Edit:
    """A node that makes a large tensor of a few constants, which is added to the output."""

    def edit(model: onnx.ModelProto) -> None:
        names = [constant(model, f"of_large_{index}", value) for index, value in enumerate(inputs)]
        model.graph.node.append(helper.make_node(operator, names, ["large"], **attributes))
        _added(model, "large")

    return edit


def doubled(operator: str, times: int, start: Any, **attributes: Any) -> Edit:
    """A constant, doubled so many times by a node that reads it twice."""

    def edit(model: onnx.ModelProto) -> None:
        constant(model, "x0", start)
        for index in range(times):
            node = helper.make_node(operator, [f"x{index}"] * 2, [f"x{index + 1}"], **attributes)
            model.graph.node.append(node)
        _added(model, f"x{times}")

    return edit


def function(depth: int) -> Edit:
    """Functions that call each other, or with depth 0 one that calls itself."""

    def edit(model: onnx.ModelProto) -> None:
        domain = helper.make_opsetid("custom", 1)
        for level in range(max(1, depth)):
            inner = "F0" if depth == 0 else f"F{level + 1}"
            nodes = [helper.make_node(inner, ["x"], ["y"], domain="custom")]
            if depth and level == depth - 1:
                nodes = [helper.make_node("Identity", ["x"], ["y"])]
            standard = helper.make_opsetid("", 13)
            model.functions.append(helper.make_function("custom", f"F{level}", ["x"], ["y"], nodes, [domain, standard]))
        model.opset_import.append(domain)
        behind(model, helper.make_node("F0", ["raw"], ["output"], domain="custom"))

    return edit


def nested(depth: int) -> Edit:
    """An If within an If within ..."""

    def edit(model: onnx.ModelProto) -> None:
        constant(model, "true", np.array(True))
        end = helper.make_graph([helper.make_node("Identity", ["raw"], ["end"])], "b", [], [value_info("end")])
        body = end
        for level in range(depth):
            node = helper.make_node("If", ["true"], [f"o{level}"], then_branch=body, else_branch=end)
            body = helper.make_graph([node], "b", [], [value_info(f"o{level}")])
        behind(model, helper.make_node("If", ["true"], ["output"], then_branch=body, else_branch=end))

    return edit


def stored_at(location: str, offset: int = 0, length: int = 64) -> Edit:
    """A constant in another file."""

    def edit(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer.add(name="elsewhere", data_type=TensorProto.FLOAT, dims=[16])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        _added(model, "elsewhere")

    return edit


def first_constant(change: Callable[[onnx.TensorProto], Any]) -> Edit:
    return lambda model: change(model.graph.initializer[0])


def dims(*sizes: int) -> Edit:
    def change(tensor: onnx.TensorProto) -> None:
        tensor.dims[:] = sizes

    return first_constant(change)


EMPTY, SCALES = np.zeros(0, np.float32), np.array([1, 1, 2**10, 2**20], np.float32)
BOMBS: dict[str, Edit] = {
    "Loop of 10^9": loop(10**9),
    "Loop without end": loop(2**62),
    "ConstantOfShape of 4 GB": large("ConstantOfShape", [np.array([10**9])]),
    "ConstantOfShape beyond 64 bits": large("ConstantOfShape", [np.array([2**40, 2**40])]),
    "Range of 2^33": large("Range", [np.int64(0), np.int64(2**33), np.int64(1)]),
    "Expand to 16 GB": large("Expand", [np.float32(1), np.array([2**16, 2**16])]),
    "Tile 2^33 times": large("Tile", [np.ones(1, np.float32), np.array([2**33])]),
    "Tile beyond 64 bits": large("Tile", [np.ones(4, np.float32), np.array([2**62])]),
    "Pad by 2^33": large("Pad", [np.ones(1, np.float32), np.array([0, 2**33])]),
    "Pad beyond 64 bits": large("Pad", [np.ones(10, np.float32), np.array([2**63 - 1, 2**63 - 1])]),
    "OneHot of 2^33": large("OneHot", [np.array([0]), np.int64(2**33), np.array([0, 1], np.float32)]),
    "EyeLike of 2^17": large("EyeLike", [np.ones((1, 1), np.float32)], dtype=TensorProto.FLOAT),
    "Resize by 2^20": large(
        "Resize",
        [np.ones((1, 1, 2, 2), np.float32), np.zeros(0, np.float32), np.array([1, 1, 2**10, 2**20], np.float32)],
    ),
    "Concat, doubled 40 times": doubled("Concat", 40, np.zeros(2, np.int64), axis=0),
    "Gather, doubled 40 times": doubled("Gather", 40, np.zeros((1, 1), np.int64), axis=0),
    "outer products": large("MatMul", [np.ones((1 << 17, 1), np.float32), np.ones((1, 1 << 17), np.float32)]),
    "Add, broadcast": large("Add", [np.ones((1 << 17, 1), np.float32), np.ones((1, 1 << 17), np.float32)]),
    "RandomNormal of 4 GB": large("RandomNormal", [], shape=[10**9]),
    "function that calls itself": function(0),
    "functions 5,000 deep": function(5_000),
    "If, 25 deep": nested(25),
    "constants of /etc/passwd": stored_at("/etc/passwd"),
    "constants above the folder": stored_at("../golden.npz"),
    "constants of a device": stored_at("/dev/zero", length=1 << 40),
    "sizes whose product runs over": dims(2**33, 2**33),
    "sizes below zero": dims(-1, -1),
    "sizes beyond the values": dims(1 << 20, 1 << 12),
    "unknown type": first_constant(lambda tensor: setattr(tensor, "data_type", 99)),
    "sequence as input": lambda model: model.graph.input[0].type.sequence_type.elem_type.tensor_type.Clear(),
    "input of unknown rank": lambda model: model.graph.input[0].type.tensor_type.ClearField("shape"),
    "operator of another domain": lambda model: setattr(model.graph.node[0], "domain", "com.microsoft"),
    "hidden_size 2^40": lambda model: model.graph.node.append(
        helper.make_node("GRU", ["input", "input", "input"], ["large"], hidden_size=2**40)
    ),
    "many nodes": lambda model: model.graph.node.extend([helper.make_node("Identity", ["input"], [""])] * 100_000),
}

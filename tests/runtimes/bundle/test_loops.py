"""Loops in graph files: their bodies fit, their trips are counted, and what is counted is what runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from drnn_core.errors import InputError
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.bundle.fit import check_manifest
from drnn_runtimes.bundle.graph_file import refusal
from tests.networks import random_weights
from tests.runtimes.bundle.damage import SPEC
from tests.runtimes.bundle.graphs import constant, info_of


def looped() -> tuple[onnx.ModelProto, GraphInfo, onnx.NodeProto]:
    """A blocked graph, what its manifest says, and its first loop: four trips of two steps, with one state."""
    request = GraphRequest(8, 1, "blocked", block=3)
    model = emit(SPEC, random_weights(SPEC, 0), request)
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    assert (loop.name, loop.input[0]) == ("l0/block", "trips_4")
    return model, info_of(SPEC, request, model), loop


def grown(loop: onnx.NodeProto) -> None:
    body = loop.attribute[0].g
    body.node.append(helper.make_node("Concat", [body.input[2].name] * 2, ["wider"], axis=0))
    body.output[1].name = "wider"


def loop_inside(loop: onnx.NodeProto) -> None:
    inner = onnx.NodeProto()
    inner.CopyFrom(loop)
    inner.output[:] = ["inner/last", "inner/every"]
    loop.attribute[0].g.node.append(inner)


def constant_inside(loop: onnx.NodeProto) -> None:
    loop.attribute[0].g.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "mine"))


def sparse_constant_inside(loop: onnx.NodeProto) -> None:
    """Runtimes make 4 GB of it."""
    tensor = loop.attribute[0].g.sparse_initializer.add(dims=[1 << 30])
    tensor.values.CopyFrom(onnx.numpy_helper.from_array(np.ones(1, np.float32), "mine"))
    tensor.indices.CopyFrom(onnx.numpy_helper.from_array(np.zeros(1, np.int64), "places"))


LOOPS = {
    "has a body that does not fit its inputs and outputs": [
        constant_inside,
        sparse_constant_inside,
        lambda loop: loop.input.__setitem__(2, ""),
        lambda loop: loop.attribute[0].g.input.pop(),
        lambda loop: loop.attribute[0].g.output.pop(),
        lambda loop: loop.input.pop(),
    ],
    "that changes its size or type": [
        grown,
        lambda loop: setattr(loop.attribute[0].g.output[0], "name", loop.attribute[0].g.input[2].name),
    ],
    "of an operator that no graph of a bundle has": [loop_inside],
    "nothing makes 'elsewhere'": [lambda loop: setattr(loop.attribute[0].g.output[2], "name", "elsewhere")],
    "which nothing makes before it": [lambda loop: loop.attribute[0].g.node[0].input.__setitem__(0, "output")],
    "which is there already": [
        lambda loop: setattr(loop.attribute[0].g.input[0], "name", "input"),
        lambda loop: setattr(loop.attribute[0].g.input[0], "name", loop.attribute[0].g.input[1].name),
    ],
    "holds more than one body": [
        lambda loop: loop.attribute.append(helper.make_attribute("more", 1)),
        lambda loop: loop.attribute.pop(),
    ],
    "number of trips is no constant": [
        lambda loop: loop.input.__setitem__(0, "input"),
        lambda loop: loop.input.__setitem__(0, "true"),
        lambda loop: loop.input.__setitem__(0, ""),
    ],
}


@pytest.mark.parametrize(
    ("words", "change"), [(words, change) for words, changes in LOOPS.items() for change in changes]
)
def test_loops_that_no_graph_of_the_network_has_are_refused(
    words: str, change: Callable[[onnx.NodeProto], None]
) -> None:
    model, info, loop = looped()
    assert refusal(model, SPEC, info) == ""
    change(loop)
    assert words in refusal(model, SPEC, info)


@pytest.mark.parametrize(("trips", "words"), [
    (100, "it runs more nodes than"), (10**9, "its tensors take over"), (2**62, "its tensors take over"),
])  # fmt: skip
def test_trips_are_bounded_by_what_the_network_takes(trips: int, words: str) -> None:
    model, info, _ = looped()
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "trips_4")
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(trips), tensor.name))
    assert words in refusal(model, SPEC, info)


@pytest.mark.parametrize(("trips", "words"), [(4, ""), (2**62, "it runs more nodes than")])
def test_trips_of_a_body_without_nodes_count(trips: int, words: str) -> None:
    """Runtimes take each of them."""
    model, info, loop = looped()
    idle = model.graph.node.add()
    idle.CopyFrom(loop)
    idle.input[0], idle.output[:] = constant(model, "idle_trips", np.array(trips)), ["idle"]
    body = idle.attribute[0].g
    del body.node[:], body.output[2]
    body.output[0].name, body.output[1].name = body.input[1].name, body.input[2].name
    reason = refusal(model, SPEC, info)
    assert words in reason if words else reason == ""


def test_outputs_of_loops_may_be_left_out() -> None:
    model, info, loop = looped()
    for _ in range(2):
        again = model.graph.node.add()
        again.CopyFrom(loop)
        again.output[:] = ["", ""]
        again.attribute[0].g.CopyFrom(loop.attribute[0].g)
    assert refusal(model, SPEC, info) == ""


def trips_of_two_kinds(model: onnx.ModelProto) -> None:
    """Runtimes take the first."""
    node = helper.make_node("Constant", [], ["trips_4"], value_int=10**15)
    node.attribute.append(helper.make_attribute("value", onnx.numpy_helper.from_array(np.int64(4))))
    kept = [tensor for tensor in model.graph.initializer if tensor.name != "trips_4"]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.node.insert(0, node)


def input_as_a_constant(model: onnx.ModelProto) -> None:
    """Its sizes would be counted, those of what is fed run."""
    constant(model, "input", np.ones((1, 1, 2), np.float32))


def any_length(model: onnx.ModelProto) -> None:
    """Eight steps are fed, one would be counted."""
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "steps"


@pytest.mark.parametrize("words, change", [
    ("does not hold one tensor and nothing else", trips_of_two_kinds),
    ("its input 'input' is there already", input_as_a_constant),
    ("its input 'input' is of any size along axis 1", any_length),
])  # fmt: skip
def test_what_is_counted_is_what_runs(words: str, change: Callable[[onnx.ModelProto], None]) -> None:
    model, info, _ = looped()
    change(model)
    assert words in refusal(model, SPEC, info)


def test_loops_are_refused_in_graphs_that_say_they_have_none() -> None:
    model, info, _ = looped()
    other = dataclasses.replace(info, emission="unrolled", block=None)
    assert "of an operator that no graph of a bundle has" in refusal(model, SPEC, other)


@pytest.mark.parametrize("block", [None, 1, -3, 2**40])
def test_a_manifest_says_how_long_blocks_are(block: int | None) -> None:
    _, info, _ = looped()
    check_manifest(SPEC, [info], [])
    if block == 2**40:  # blocks that are never full
        check_manifest(SPEC, [dataclasses.replace(info, block=block)], [])
        return
    with pytest.raises(InputError, match="blocks have 2 steps or more"):
        check_manifest(SPEC, [dataclasses.replace(info, block=block)], [])

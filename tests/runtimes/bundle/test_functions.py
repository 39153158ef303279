"""Functions in graph files: one, the stack that one node calls."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_runtimes.bundle.graph_file import refusal
from tests.networks import random_weights
from tests.runtimes.bundle.damage import SPEC
from tests.runtimes.bundle.graphs import info_of

REQUEST = GraphRequest(8, 1)

PLUGIN = GraphRequest(8, 1, "plugin")


def _other_function(model: onnx.ModelProto) -> None:
    model.functions.append(model.functions[0])


def _called_twice(model: onnx.ModelProto) -> None:
    call = next(node for node in model.graph.node if node.domain)
    model.graph.node.insert(1, call)


def _recursive(model: onnx.ModelProto) -> None:
    model.functions[0].node.append(next(node for node in model.graph.node if node.domain))


def _missing(model: onnx.ModelProto) -> None:
    del model.functions[0].node[-1]


def _less_inputs(model: onnx.ModelProto) -> None:
    del model.functions[0].input[-1]


def _same_inputs(model: onnx.ModelProto) -> None:
    model.functions[0].input[1] = model.functions[0].input[0]


def _attribute_of_the_node(model: onnx.ModelProto) -> None:
    model.functions[0].node[-1].attribute.add(name="allowzero", ref_attr_name="answers", type=2)


def _other_operators(model: onnx.ModelProto) -> None:
    model.functions[0].opset_import[0].version = 17


def _other_domain(model: onnx.ModelProto) -> None:
    model.functions[0].domain = "elsewhere"


def _large(model: onnx.ModelProto) -> None:
    sizes = onnx.numpy_helper.from_array(np.array([1 << 27, 1, 1]), "many")
    shape = helper.make_node("Constant", [], ["many"], "many", value=sizes)
    model.functions[0].node.extend([shape, helper.make_node("Expand", ["rows", "many"], ["much"])])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_other_function, "other functions than one stack"),
        (_called_twice, "other functions than one stack"),
        (_recursive, "calls what is no standard operator"),
        (_missing, "nothing makes"),
        (_less_inputs, "other inputs and outputs than the node"),
        (_same_inputs, "without a name of their own"),
        (_attribute_of_the_node, "attributes that change with the node"),
        (_other_operators, "operators of another version"),
        (_other_domain, "is not drnn::DilatedStack"),
        (_large, "its tensors take over"),
    ],
)
def test_a_function_is_the_stack_that_one_node_calls(edit: Callable[[onnx.ModelProto], None], words: str) -> None:
    model = emit(SPEC, random_weights(SPEC, 0), PLUGIN)
    info = info_of(SPEC, PLUGIN, model)
    assert refusal(model, SPEC, info) == ""
    edit(model)
    assert words in refusal(model, SPEC, info)


def test_graphs_of_other_styles_hold_no_function() -> None:
    model = emit(SPEC, random_weights(SPEC, 0), PLUGIN)
    assert "functions" in refusal(model, SPEC, info_of(SPEC, REQUEST, model))

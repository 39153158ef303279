"""What differs between two graphs, and to which part of the network it belongs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.named_graph import stage_of
from drnn_export.onnx_diff import differences, edge_differences, narrower_types
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle.bodies import every_node
from tests.networks import Case, cases, random_weights

SPEC = ModelSpec("lstm", (3, 4), (1, 3), Continuous(2), Head("sequence", 2))
CHUNK = GraphRequest(4, 2, form="chunk")


def made(seed: int = 0, request: GraphRequest = CHUNK) -> onnx.ModelProto:
    return emit(SPEC, random_weights(SPEC, seed), request)


def shown(found: onnx.ModelProto, right: onnx.ModelProto) -> list[tuple[tuple[str, ...], str]]:
    return [(each.stages, str(each)) for each in (*edge_differences(found, right), *differences(found, right))]


@given(cases(), st.sampled_from(["fused", "unrolled", "mixed", "blocked"]), st.sampled_from(["sequence", "chunk"]))
@settings(max_examples=20)
def test_a_graph_does_not_differ_from_itself(case: Case, emission: Any, form: Any) -> None:
    of_blocks = {"form": "sequence", "block": 3} if emission == "blocked" else {"form": form}
    request = GraphRequest(case.length, 2, emission, **of_blocks)
    one, other = (emit(case.spec, case.weights, request) for _ in range(2))
    assert shown(one, other) == []
    for node in every_node(one.graph.node):  # every node belongs somewhere
        assert stage_of(node.output[0]) or stage_of(node.name), node.name


def test_a_node_of_a_body_and_a_state_of_a_loop_that_differ_are_named() -> None:
    request = GraphRequest(9, 2, "blocked", block=3)
    right, found = made(request=request), made(request=request)
    loop = next(node for node in found.graph.node if node.name == "l0/block")
    inside = next(node for node in loop.attribute[0].g.node if node.name == "l0/block/t001/gates")
    inside.input[0] = "l0/block/h"
    assert shown(found, right) == [
        (("layer 0",), "node l0/block/t001/gates (Gemm) has the input 0 l0/block/h, should be l0/block/t000/h")
    ]
    other = made(request=request)
    loop = next(node for node in other.graph.node if node.name == "l0/block")
    loop.attribute[0].g.output[1].name = "l0/block/t001/h"
    assert shown(other, right) == [
        (("layer 0",), "node l0/block (Loop) has a body that gives l0/block/t001/h, should be l0/block/t002/h")
    ]


@given(cases(), st.data())
@settings(max_examples=20)
def test_one_changed_weight_is_the_only_difference(case: Case, data: st.DataObject) -> None:
    request = GraphRequest(case.length, 2)
    right, found = (emit(case.spec, case.weights, request) for _ in range(2))
    floats = [tensor for tensor in found.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    tensor = data.draw(st.sampled_from([t for t in floats if not t.name.startswith(("zeros", "one_hot"))]))
    value = numpy_helper.to_array(tensor).copy()
    place = data.draw(st.integers(0, value.size - 1))
    value.flat[place] += 1
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    ((stages, text),) = shown(found, right)
    first = [int(index) for index in np.unravel_index(place, value.shape)]
    assert stages == (stage_of(tensor.name),)
    assert text.startswith(f"initializer {tensor.name} differs from the weights in 1 of {value.size} values, ")
    assert f"first at {first}: {value.flat[place]:.6g}, should be " in text


def test_other_weights_differ_in_every_part() -> None:
    stages = [stages for stages, _ in shown(made(1), made(0))]
    assert {stage for each in stages for stage in each} == {"layer 0", "layer 1", "head"}


def kind(index: int) -> Callable[[onnx.ModelProto], None]:
    return lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", index)


def head_bias(value: Any = None, **fields: Any) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = constant(model, "head/B")
        if value is not None:
            tensor.CopyFrom(numpy_helper.from_array(value, "head/B"))
        for name, field in fields.items():
            setattr(tensor, name, field)

    return change


def odd(value: Any) -> Callable[[onnx.ModelProto], None]:
    """An attribute that the first node's operator does not have."""
    return lambda model: model.graph.node[0].attribute.append(helper.make_attribute("odd", value))


def as_sparse(model: onnx.ModelProto) -> None:
    tensor = constant(model, "head/B")
    index = numpy_helper.from_array(np.arange(2), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, index, [2]))
    model.graph.initializer.remove(tensor)


def with_tensor(value: float) -> Callable[[onnx.ModelProto], None]:
    return odd(numpy_helper.from_array(np.array([value]), "t"))


MORE = helper.make_tensor_value_info("more", 1, [1])
CAST = helper.make_node("Cast", ["output"], ["z"], "z", to=TensorProto.FLOAT16)


@pytest.mark.parametrize("change, stage, text", [
    (lambda m: m.graph.node.pop(0), "input", "node time_major (Transpose) is missing"),
    (lambda m: setattr(m.graph.node[0], "op_type", "Relu"), "input", "node time_major (Relu) should be Transpose"),
    (lambda m: m.graph.output.pop(), "layer 1", "output 'next_state_l1_c' is missing"),
    (lambda m: setattr(m.graph.output[0], "name", "y"), "head", "output 'output' is missing; in its place is 'y'"),
    (lambda m: m.graph.output.append(MORE), None, "output 'more' should not be there"),
    (lambda m: m.graph.node.append(CAST), None, "node z (Cast to float16) should not be there"),
    (lambda m: m.graph.input[0].type.tensor_type.shape.dim.pop(), "input", "has the shape [2, 4], should be [2, 4, 2]"),
    (kind(TensorProto.DOUBLE), "input", "input 'input' is float64, should be float32"),
    (kind(99), "input", "input 'input' is no tensor, should be float32"),
    (head_bias(data_type=99), "head", "initializer head/B holds nothing that can be read"),
    (head_bias(raw_data=b"1"), "head", "initializer head/B holds nothing that can be read"),
    (head_bias(np.zeros(5, np.float32)), "head", "initializer head/B has the shape [5], should be [2]"),
    (head_bias(np.zeros(2)), "head", "initializer head/B is float64, should be float32"),
    (odd(helper.make_graph([], "g", [], [])), "input", "has the attribute odd of another kind, should be not there"),
    (lambda m: m.graph.initializer.remove(constant(m, "head/B")), "head", "initializer head/B is missing"),
    (as_sparse, "head", "initializer head/B is sparse, should be dense"),
    (lambda m: m.graph.initializer.add(name="l0_more"), "layer 0", "initializer l0_more should not be there"),
    (lambda m: setattr(m.graph.node[0], "domain", "d"), "input", "node time_major (Transpose) has the domain 'd'"),
    (lambda m: setattr(m.graph.node[0], "overload", "o"), "input", "has the overload 'o', should be ''"),
    (lambda m: m.opset_import.add(domain="d", version=1), None, "opset d should not be there"),
    (lambda m: setattr(m.graph, "name", "g"), None, "field name of the graph differs from what the weights make"),
    (odd("x" * 10_000), "input", f"has the attribute odd {'x' * 300}, should be not there"),
])  # fmt: skip
def test_difference_is_named(change: Callable[[onnx.ModelProto], Any], stage: str | None, text: str) -> None:
    found = made()
    change(found)
    named = [(stages, said) for stages, said in shown(found, made()) if text in said]
    assert [stages for stages, _ in named] == ([(stage,)] if stage else [()]), shown(found, made())


def test_versions_of_operators_belong_to_the_nodes_that_they_say_the_meaning_of() -> None:
    found = made()
    found.opset_import[0].version += 1
    ((stages, text),) = shown(found, made())
    assert set(stages) == {"input", "layer 0", "layer 1", "head"}
    assert text == "opset ai.onnx is 14, should be 13"


def test_a_tensor_in_an_attribute_is_compared() -> None:
    found, right = made(), made()
    with_tensor(1.0)(found)
    with_tensor(1.0)(right)
    assert shown(found, right) == []
    found.graph.node[0].attribute[-1].t.raw_data = bytes(8)
    assert [text for _, text in shown(found, right)] == [
        "node time_major (Transpose) has another value of the attribute odd"
    ]


def swapped(side: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        names = getattr(model.functions[0], side)
        names[0], names[2] = names[2], names[0]

    return change


@pytest.mark.parametrize("change, text", [
    (swapped("input"), "function DilatedStack has the input 0 state_l0_h, should be rows"),
    (swapped("output"), "function DilatedStack has the output 0 "),
    (lambda m: m.functions[0].attribute.append("a"), "function DilatedStack has the attribute "),
    (lambda m: setattr(m.functions[0].opset_import[0], "version", 9), "opset ai.onnx of function DilatedStack is 9, "),
    (lambda m: m.functions.pop(), "function DilatedStack is missing"),
    (lambda m: m.functions.add(domain="d", name="F"), "function F should not be there"),
    (lambda m: setattr(m.functions[0], "doc_string", "d"), "field functions of the model differs"),
])  # fmt: skip
def test_what_a_function_declares_is_compared(change: Callable[[onnx.ModelProto], Any], text: str) -> None:
    request = GraphRequest(4, 2, "plugin", form="chunk")
    found, right = made(request=request), made(request=request)
    change(found)
    named = [stages for stages, said in shown(found, right) if said.startswith(text)]
    assert len(named) == 1, shown(found, right)
    assert ("layers" in named[0]) == (not re.match("function F|field", text)), "a comment blames no stage"


def constant(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def test_shared_constant_belongs_to_the_nodes_that_read_it() -> None:
    found = made()
    readers = {stage_of(node.output[0]) for node in found.graph.node if "index_3" in node.input}
    tensor = constant(found, "index_3")
    tensor.CopyFrom(numpy_helper.from_array(np.array([2]), "index_3"))
    assert shown(found, made()) == [(tuple(sorted(readers)), "initializer index_3 is [2], should be [3]")]


def test_narrow_types_are_found_in_casts_and_constants() -> None:
    request = GraphRequest(4, 2, "unrolled")
    narrow = {name: made(0, GraphRequest(4, 2, "unrolled", precision=name)) for name in ("fp16", "bf16", "int8")}
    found = {name: narrower_types(model, made(0, request)) for name, model in narrow.items()}
    assert found == {"fp16": ["float16"], "bf16": ["bfloat16"], "int8": ["int8"]}
    assert narrower_types(made(0, request), narrow["fp16"]) == []
    assert narrower_types(made(0, request), made(1, request)) == []

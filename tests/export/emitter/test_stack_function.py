"""The layers as one node: the function computes what the layers do, and the node says what a plugin must know."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from drnn_core.errors import InputError
from drnn_export.emitter.emit import boundaries, emit, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_export.onnx_diff import differences
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle.bodies import count_nodes
from drnn_runtimes.bundle.functions import inlined
from drnn_runtimes.cuda_kernel.images import plan_for
from drnn_runtimes.cuda_kernel.weights import pack_weights
from drnn_runtimes.plugin.stack import DOMAIN, VERSION, Stack
from tests.networks import Case, cases, make_case, random_weights

SPEC = ModelSpec("lstm", (4, 5), (1, 2), Continuous(3), Head("last", 3))
FORMS = st.sampled_from([("sequence", 9), ("sequence", 1), ("chunk", 5), ("chunk", 1), ("step", 1)])


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def stack_node(model: onnx.ModelProto) -> onnx.NodeProto:
    (node,) = [node for node in model.graph.node if node.domain]
    return node


@given(cases(), st.booleans(), st.booleans())
def test_the_function_computes_the_equation(case: Case, prune: bool, dynamic: bool) -> None:
    request = GraphRequest(case.length, None if dynamic else len(case.inputs), "plugin", prune)
    model = emit(case.spec, case.weights, request)
    case.assert_within_noise(session(model).run(["output"], {"input": case.inputs})[0])


@given(cases(), FORMS, st.sampled_from(["fp32", "fp16"]), st.booleans(), st.booleans())
def test_it_gives_what_the_layers_give_one_by_one(
    case: Case, form: tuple[str, int], precision: str, prune: bool, dynamic: bool
) -> None:
    batch = 2
    values: dict[str, Any] = {"form": form[0], "precision": precision, "prune": prune}
    one, other = (
        emit(case.spec, case.weights, GraphRequest(form[1], None if dynamic else batch, emission, **values))  # type: ignore[arg-type]
        for emission in ("plugin", "fused")
    )
    rng, feeds = np.random.default_rng(0), {}
    most = case.spec.input.vocabulary if isinstance(case.spec.input, Tokens) else 0
    for tensor in one.graph.input:
        shape = [dim.dim_value or batch for dim in tensor.type.tensor_type.shape.dim]
        tokens = tensor.type.tensor_type.elem_type == onnx.TensorProto.INT64
        feeds[tensor.name] = rng.integers(0, most, shape) if tokens else rng.standard_normal(shape).astype(np.float32)
    outputs, expected, plain = (session(model).run(None, feeds) for model in (one, other, inlined(one)))
    for have, want, same in zip(outputs, expected, plain, strict=True):
        spacing = 1e-5 if precision == "fp32" else 0.02
        np.testing.assert_allclose(have, want, rtol=0, atol=spacing * max(1.0, float(np.abs(want).max())))
        assert np.array_equal(have, same)


@given(cases(), FORMS, st.sampled_from(["fp32", "fp16"]))
def test_the_node_says_what_the_kernel_is(case: Case, form: tuple[str, int], precision: str) -> None:
    request = GraphRequest(form[1], None, "plugin", form=form[0], precision=precision)  # type: ignore[arg-type]
    model = emit(case.spec, case.weights, request)
    node = stack_node(model)
    values = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert (node.domain, values["plugin_namespace"], values["plugin_version"]) == (DOMAIN, b"drnn", VERSION.encode())
    stack = Stack.from_attributes(values)
    assert stack == Stack.of(case.spec, request, pruned=request.prune)
    packed = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == node.input[1])
    plan = plan_for(case.spec, "90", weights=precision)  # type: ignore[arg-type]
    assert packed.tobytes() == pack_weights(plan, case.weights).tobytes()
    answers = stack.answers if request.prune else None
    assert (
        stack.plan("90").shared_bytes
        == plan_for(case.spec, "90", answers=answers, weights=stack.precision).shared_bytes
    )


def test_bytes_are_the_same_names_are_readable_and_the_estimate_is_exact() -> None:
    request, weights = GraphRequest(16, None, "plugin"), random_weights(SPEC, 0)
    model, again = (emit(SPEC, weights, request) for _ in range(2))
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    (function,) = model.functions
    assert [node.name for node in model.graph.node] == ["stack", "head/rows", "head/linear"]
    assert {"l0/lstm", "l1/lstm", "l1/select"} <= {node.name for node in function.node}
    assert list(function.input) == ["rows", "weights"]
    assert list(function.output) == ["top"]
    assert estimate(SPEC, request).nodes == count_nodes(model)


def test_states_are_those_of_the_graph() -> None:
    node = stack_node(emit(SPEC, random_weights(SPEC, 0), GraphRequest(1, 1, "plugin", form="step")))
    lines = ["l0_h", "l0_c", "l1_h", "l1_c"]
    assert list(node.input) == ["input", "stack/weights", *(f"state_{line}" for line in lines)]
    assert list(node.output) == ["stack/top", *(f"next_state_{line}" for line in lines)]


@given(cases(), FORMS)
def test_the_stages_are_in_the_graph_without_the_function(case: Case, form: tuple[str, int]) -> None:
    request = GraphRequest(form[1], 2, "plugin", form=form[0])  # type: ignore[arg-type]
    plain = inlined(emit(case.spec, case.weights, request))
    made = {name for node in plain.graph.node for name in node.output} | {tensor.name for tensor in plain.graph.input}
    assert {*boundaries(case.spec, request)} - {"stack/rows"} <= made


def test_a_changed_weight_of_the_function_is_found_in_its_layer() -> None:
    case = make_case(SPEC, 1, 16)
    model, right = (emit(SPEC, case.weights, GraphRequest(16, 1, "plugin")) for _ in range(2))
    constant = next(node for node in model.functions[0].node if node.output[0] == "l1/operator/R")
    values = numpy_helper.to_array(constant.attribute[0].t).copy()
    values[0, 0, 0] += 1
    constant.attribute[0].t.CopyFrom(numpy_helper.from_array(values, "l1/operator/R"))
    (difference,) = differences(model, right)
    assert difference.stages == ("layer 1",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cell", b"transformer"),
        ("hidden", [0, 4]),
        ("hidden", [4]),
        ("dilations", [1.5, "x"]),
        ("features", [1, 2]),
        ("answers", 0),
        ("precision", b"int8"),
        ("activation", b"\xff\xfe"),
        ("pruned", 1 << 80),
        ("cell", 10**13),
        ("precision", [102, 112, 49, 54]),
    ],
)
def test_attributes_that_are_no_stack_are_refused(name: str, value: object) -> None:
    attributes = Stack.of(SPEC, GraphRequest(16, 1, "plugin"), pruned=True).attributes()
    assert Stack.from_attributes(attributes).spec.hidden == SPEC.hidden
    with pytest.raises(InputError):
        Stack.from_attributes(attributes | {name: value})
    with pytest.raises(InputError, match=name):
        Stack.from_attributes({key: value for key, value in attributes.items() if key != name})


@pytest.mark.parametrize("values", [{"precision": "int8"}, {"precision": "bf16"}, {"form": "step", "ring": True}])
def test_there_is_no_such_graph(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        GraphRequest(1, 1, "plugin", **values)

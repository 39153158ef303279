from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import TensorProto

from drnn_core.errors import InputError
from drnn_core.types import Precision
from drnn_deploy import ExportOptions, export
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_export.emitter.emit import emit, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.reference.low_precision import dequantised, quantised
from drnn_runtimes.registry import find_runtime
from tests.export.emitter.test_stateful import on_onnxruntime
from tests.networks import Case, cases, random_weights
from tests.nightly import combinations

NARROW: dict[Precision, int] = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "int8": TensorProto.INT8}
PRODUCTS = {"MatMul", "Gemm", "RNN", "GRU", "LSTM"}


def request(case: Case, precision: Precision, emission: str) -> GraphRequest:
    return GraphRequest(case.length, len(case.inputs), emission, precision=precision)  # type: ignore[arg-type]


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every value."""
    graph = model.graph
    values = {v.name: v.type.tensor_type.elem_type for v in [*graph.input, *graph.output, *graph.value_info]}
    return values | {constant.name: constant.data_type for constant in graph.initializer}


@given(cases(), st.sampled_from(["fp16", "int8"]), st.sampled_from(["fused", "unrolled", "mixed", "blocked"]))
def test_outputs_are_within_the_noise_of_the_precision(case: Case, precision: Precision, emission: str) -> None:
    model = emit(case.spec, case.weights, request(case, precision, emission))
    found = on_onnxruntime(model)({"input": case.inputs})["output"]
    right = case.answer(precision)
    assert found.dtype == np.float32
    assert np.all(np.abs(found - right.narrow_outputs[precision]) <= NOISE_MULTIPLE * right.noises[precision])


@given(cases(), st.sampled_from(["fp16", "bf16"]))
def test_products_are_narrow_and_all_else_is_float32(case: Case, precision: Precision) -> None:
    model = emit(case.spec, case.weights, request(case, precision, "unrolled"))
    onnx.checker.check_model(model, full_check=True)
    known = types(model)
    kinds = [node.op_type for node in model.graph.node]
    assert "MatMul" in kinds
    assert "Gemm" not in kinds
    for node in model.graph.node:
        narrow = {name for name in [*node.input, *node.output] if known[name] == NARROW[precision]}
        if node.op_type == "MatMul":
            assert narrow == {*node.input, *node.output}
        elif node.op_type == "Cast":
            assert len(narrow) == 1
        else:
            assert not narrow, node.name
    assert {known[value.name] for value in model.graph.output} == {TensorProto.FLOAT}


@given(cases(), st.sampled_from(["fused", "unrolled"]))
def test_int8_weights_are_one_byte_each_and_used_through_their_scales(case: Case, emission: str) -> None:
    model = emit(case.spec, case.weights, request(case, "int8", emission))
    constants = {constant.name: constant for constant in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            for name in node.input[1:3] if node.op_type not in ("MatMul", "Gemm") else node.input[1:2]:
                maker = makers[name]
                assert maker.op_type == "DequantizeLinear"
                assert constants[maker.input[0]].data_type == TensorProto.INT8
    assert not {name for name in constants if name.endswith(("/W", "/R", "/Rn", "/Rzr")) and "operator" in name}


@given(cases(), st.sampled_from(["fp16", "int8", "bf16"]))
def test_estimate_counts_the_nodes_that_are_emitted(case: Case, precision: Precision) -> None:
    wanted = request(case, precision, "unrolled")
    assert estimate(case.spec, wanted).nodes == len(emit(case.spec, case.weights, wanted).graph.node)


@given(
    arrays.arrays(np.float32, (4, 6), elements=st.floats(-1e3, 1e3, width=32)),
    st.integers(0, 1),
)
def test_quantised_values_are_within_half_a_scale(matrix: NDArray[np.float32], axis: int) -> None:
    values, scale = quantised(matrix, axis)
    wide = values.astype(np.float64) * np.expand_dims(scale.astype(np.float64), 1 - axis)
    assert values.dtype == np.int8
    assert np.all(np.abs(matrix - wide) <= 0.5001 * np.expand_dims(scale, 1 - axis) + 1e-37)


def test_dequantised_weights_are_those_of_the_graph() -> None:
    spec = ModelSpec("gru", (4,), (2,), Continuous(3), Head("last", 2), fusion=False)
    weights = random_weights(spec, 0)
    rounded = dequantised(weights)
    assert set(rounded) == set(weights)
    assert all(np.array_equal(rounded[name], weights[name]) == ("bias" in name) for name in weights)
    values, scale = quantised(weights["head.weight"], 0)
    np.testing.assert_array_equal(rounded["head.weight"], values * scale[:, None])


@pytest.mark.parametrize(
    ("runtime", "cell"), combinations(["onnxruntime-cpu", "tensorrt-network"], ["rnn", "gru", "lstm"], by_day=2)
)
def test_all_precisions_in_one_bundle_pass(runtime: str, cell: str, tmp_path: Path) -> None:
    available = find_runtime(runtime).availability()
    if not available.usable:
        pytest.skip(available.detail)
    spec = ModelSpec(cell, (6, 5), (1, 2), Continuous(2), Head("last", 3))  # type: ignore[arg-type]
    options = ExportOptions(
        length=12,
        forms=("sequence", "chunk"),
        chunk=4,
        emissions=("unrolled",),
        precisions=("fp32", "fp16", "bf16", "int8"),
        engines=(),
        runtimes=(runtime,),
    )
    result = export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "bundle", options)
    assert result.exit_code == 0
    refused = {"bf16": "ONNX Runtime's CPU has no kernels for bfloat16"} if runtime == "onnxruntime-cpu" else {}
    assert {row.graph: row.precision for row in result.parity.rows} == {
        f"{kind}/unrolled" + (f"/{precision}" if precision != "fp32" else ""): precision
        for kind in ("sequence", "chunk4")
        for precision in options.precisions
        if precision not in refused
    }
    assert {entry.reason for entry in result.parity.missing} == {*refused.values()}


def test_graph_in_another_precision_than_it_says_fails_parity() -> None:
    spec = ModelSpec("lstm", (6, 5), (1, 2), Continuous(2), Head("last", 3))
    weights = random_weights(spec, 0)
    options = ExportOptions(length=12, emissions=("unrolled",), engines=(), runtimes=("onnxruntime-cpu",))
    with tempfile.TemporaryDirectory() as folder:
        bundle = export(Checkpoint(spec, weights), Path(folder) / "bundle", options).bundle
        narrow = emit(spec, weights, GraphRequest(12, 1, "unrolled", precision="fp16"))
        onnx.save(narrow, bundle.path("model.onnx"))
        report = check_parity(bundle, [find_runtime("onnxruntime-cpu")])
    assert not report.passed
    assert report.rows[0].worst is not None
    assert (report.rows[0].worst.in_noise or np.inf) > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "bf16"}, "no recurrent operators of bfloat16"),
        ({"precision": "fp64"}, "precision must be one of 'fp32', 'fp16', 'bf16', 'int8'"),
        ({"precision": "int8", "emission": "skewed", "form": "step", "steps": 1}, "without a scale for each output"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(GraphRequest(3), **arguments)  # type: ignore[arg-type]

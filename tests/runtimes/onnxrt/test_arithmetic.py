"""What ONNX Runtime's CPU computes is what the graph says, and a parity check sees it where it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from drnn_core.types import PRECISIONS, Emission, Precision
from drnn_deploy import ExportOptions, export
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.results import ParityReport
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.onnxrt import runtime as onnxrt
from drnn_runtimes.reference.low_precision import dequantised, graph_weights
from drnn_runtimes.registry import find_runtime
from tests.networks import TINY, Case, cases, random_weights

SPEC = ModelSpec("gru", (32, 32), (1, 2), Continuous(3), Head("sequence", 5))
STEPS = 40
CPU = find_runtime("onnxruntime-cpu")


def exported(folder: Path, *emissions: Emission) -> Bundle:
    options = ExportOptions(
        length=STEPS, precisions=("int8",), emissions=emissions, engines=(), runtimes=("onnxruntime-cpu",)
    )
    result = export(Checkpoint(SPEC, random_weights(SPEC, 0)), folder, options)
    assert result.exit_code == 0
    return result.bundle


def with_plain_matrix(bundle: Bundle) -> Bundle:
    """The head's matrix as earlier versions wrote it, without the leading axis: then the two nodes may be fused."""
    path = bundle.path(bundle.graphs[0].file)
    model = onnx.load(path)
    (matrix,) = (each for each in model.graph.initializer if each.name == "head/W/int8")
    (node,) = (each for each in model.graph.node if matrix.name in each.input)
    matrix.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(matrix)[0], matrix.name))
    node.attribute[0].i = 1
    del model.graph.value_info[:]
    onnx.save(onnx.shape_inference.infer_shapes(model, strict_mode=True), path)
    return bundle


def checked(bundle: Bundle) -> ParityReport:
    return check_parity(bundle, [CPU])


@pytest.mark.parametrize("plain", [False, True], ids=["emitted", "earlier version"])
@pytest.mark.parametrize("emission", ["fused", "unrolled"])
def test_int8_rounds_only_the_weights(emission: Emission, plain: bool, tmp_path: Path) -> None:
    bundle = exported(tmp_path / "bundle", emission)
    bundle = with_plain_matrix(bundle) if plain else bundle
    samples = np.random.default_rng(0).standard_normal((1, STEPS, 3)).astype(np.float32)
    case = Case(SPEC, dequantised(bundle.weights), samples)
    with CPU.load(bundle, bundle.graphs[0]) as session:
        case.assert_within_noise(session.run({"input": samples})["output"])
    report = checked(bundle)
    assert report.passed
    (note,) = report.notes
    assert note.startswith("int8 graphs are compared with the network of rounded weights")


@pytest.mark.parametrize("emission", ["fused", "unrolled"])
def test_parity_fails_where_activations_are_rounded_too(
    emission: Emission, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = with_plain_matrix(exported(tmp_path / "bundle", emission))
    monkeypatch.setattr(onnxrt, "WEIGHTS_ONLY", "session.not_an_option")
    report = checked(bundle)
    assert report.exit_code == 1
    worst = report.rows[0].worst
    assert worst is not None and worst.in_noise is not None and worst.in_noise > 1000


def test_emitted_int8_graphs_are_right_with_default_settings_of_onnxruntime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a user's own program, which does not set what this project sets."""
    monkeypatch.setattr(onnxrt, "WEIGHTS_ONLY", "session.not_an_option")
    assert checked(exported(tmp_path / "bundle", "fused", "unrolled")).passed


@pytest.mark.parametrize("emission", ["fused", "unrolled"])
def test_a_check_on_the_cpu_says_that_it_does_not_round_to_float16(emission: Emission, tmp_path: Path) -> None:
    """Where it does not: unrolled products are float32's of rounded weights, which no other runtime's will be."""
    options = ExportOptions(
        length=STEPS, precisions=("fp16",), emissions=(emission,), engines=(), runtimes=("onnxruntime-cpu",)
    )
    result = export(Checkpoint(SPEC, random_weights(SPEC, 0)), tmp_path / "bundle", options)
    (row,) = result.parity.rows
    assert "in fp32: what rounding them to fp16 does, and fp16's range, were not checked" in row.caveat
    raw = np.full((1, STEPS, 3), 1e5, np.float32)
    wide = dataclasses.replace(result.bundle.graphs[0], precision="fp32", largest_input=None)  # as if in fp32
    with CPU.load(result.bundle, wide) as session:
        assert np.isfinite(session.run({"input": raw})["output"]).all()


@pytest.mark.parametrize(("operator", "exact"), [("Tanh", np.tanh), ("Sigmoid", lambda x: 0.5 + 0.5 * np.tanh(x / 2))])
def test_activations_are_within_three_spacings(operator: str, exact: Callable[[Any], Any]) -> None:
    """As the noise supposes. The error is absolute: a sigmoid under 1e-7 is 0 or twice as large, for any input."""
    x = np.concatenate([np.linspace(-40, 40, 400_001), [-np.inf, -1e30, 0, 1e-30, 1e30, np.inf]]).astype(np.float32)
    edges = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [len(x)]) for name in "xy"]
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", edges[:1], edges[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    assert np.abs(y - exact(x.astype(np.float64))).max() <= 3 * PRECISIONS["fp32"].spacing


@given(cases(), st.sampled_from(["fp32", "fp16", "int8"]), st.sampled_from(["fused", "unrolled"]))
@settings(max_examples=15)
def test_optimisations_change_no_more_than_an_order_of_summation(
    case: Case, precision: Precision, emission: Emission
) -> None:
    """At every level, in default settings; also of a narrow precision, whose own limit is much wider."""
    model = emit(case.spec, case.weights, GraphRequest(case.length, len(case.inputs), emission, precision=precision))
    outputs = []
    for level in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL"):
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs.append(session.run(["output"], {"input": case.inputs})[0])
    held = dataclasses.replace(case, weights=graph_weights(case.weights, precision))
    for optimised in outputs[1:]:
        assert np.all(np.abs(optimised - outputs[0]) <= held.limit() + TINY)

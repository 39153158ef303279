"""Both ends of a precision's range are compared with a known answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from drnn_core.types import PRECISIONS, Precision
from drnn_deploy import ExportOptions, export
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.edges import edge_case, edge_precision, is_for
from drnn_deploy.parity.golden import known_answer
from drnn_export.emitter.range import largest_input
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import require
from tests.networks import random_weights, specs
from tests.nightly import combinations

SPEC = ModelSpec("gru", (8, 6), (1, 2), Continuous(3), Head("sequence", 2))
CPU = ("onnxruntime-cpu",)


@given(specs(), st.sampled_from(get_args(Precision)), st.integers(1, 30), st.sampled_from([0.01, 1, 100]))
@settings(max_examples=15)
def test_every_feature_reaches_both_ends_alone(spec: ModelSpec, precision: Precision, steps: int, scale: float) -> None:
    weights = random_weights(spec, 0)
    weights["layers.0.weight_ih_l0"] *= np.float32(scale)
    case = edge_case(spec, weights, precision, steps)
    if isinstance(spec.input, Tokens):
        assert case is None
        return
    if case is None:
        assert spec.activation == "relu"
        return
    most = largest_input(spec, weights, precision)
    assert most is not None
    assert np.isfinite(known_answer(spec, weights, case, [precision]).judged_as(precision).noise).all()
    upper, lower, mixed, peaks = case.inputs
    assert np.abs(case.inputs).max() == upper.max() == -lower.min()
    assert upper.max() == most or spec.activation == "relu"
    assert upper.min() > 0 > lower.max()
    if steps >= spec.input.features:
        assert (upper.max(axis=0) == upper.max()).all()
    if not PRECISIONS[precision].weights_only:
        assert (case.inputs.astype(PRECISIONS[precision].numpy) == case.inputs).all()
    assert edge_precision(case.name) == precision and is_for(case.name, precision)
    assert not any(is_for(case.name, other) for other in get_args(Precision) if other != precision)
    assert mixed.shape == peaks.shape == (steps, spec.input.features)


@pytest.fixture(scope="module", params=["fp32", "fp16", "int8"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(
        length=12, forms=("sequence", "chunk"), chunk=4, precisions=(request.param,), engines=(), runtimes=CPU
    )
    result = export(Checkpoint(SPEC, random_weights(SPEC, 3)), tmp_path_factory.mktemp("edges") / "bundle", options)
    assert result.exit_code == 0
    edges = [case for row in result.parity.rows for case in row.cases if edge_precision(case.case)]
    assert [case.case for case in edges] == [f"edge {request.param}", f"edge stream {request.param}"]
    assert all(case.verdict == "passed" and case.compared > 0.9 for case in edges)
    assert {graph.largest_input for graph in result.bundle.graphs} == {
        largest_input(SPEC, random_weights(SPEC, 3), request.param)
    }
    return result.bundle


@pytest.mark.parametrize(
    ("form", "kept"), combinations(["sequence", "chunk"], [(-np.inf, 300.0), (-300.0, np.inf), (-6e4, 6e4)], by_day=2)
)
def test_a_graph_that_clips_one_end_fails(
    exported: Bundle, form: str, kept: tuple[float, float], tmp_path: Path
) -> None:
    """Where all smaller inputs are right. Saturated gates hide all but the ends; the mixed sequence shows those."""
    folder = tmp_path / "bundle"
    shutil.copytree(exported.folder, folder)
    bundle = Bundle.open(folder)
    path = bundle.path(bundle.graph(form).file)
    model = onnx.load(path)
    ends = [numpy_helper.from_array(np.array(end, np.float32), f"end{n}") for n, end in enumerate(kept)]
    model.graph.initializer.extend(ends)
    for node in model.graph.node:
        node.input[:] = ["clipped" if name == "input" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Clip", ["input", "end0", "end1"], ["clipped"], "clip"))
    onnx.save(model, path)
    report = check_parity(bundle, require(CPU))
    failed = {case.case for row in report.rows for case in row.cases if not case.passed}
    assert failed and all(edge_precision(name) for name in failed)


def test_relu_cells_have_the_range_in_which_they_stay_finite(tmp_path: Path) -> None:
    """65,504 in gives more than that inside: infinity, and from then on NaN."""
    spec = ModelSpec("rnn", (8, 8), (1, 2), Continuous(3), Head("sequence", 2), activation="relu")
    weights = random_weights(spec, 0)
    for name in ("layers.0.weight_hh_l0", "layers.1.weight_hh_l0"):
        weights[name] *= np.float32(0.5)
    runtimes = require(["tensorrt-network", *CPU])
    if not runtimes[0].availability().usable:
        pytest.skip("TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    options = ExportOptions(
        forms=("chunk",), chunk=8, precisions=("fp16",), engines=(), runtimes=("tensorrt-network", *CPU)
    )
    result = export(Checkpoint(spec, weights), tmp_path / "bundle", options)
    assert result.exit_code == 0
    (graph,) = result.bundle.graphs
    assert 100 < graph.range < 65504
    samples = np.random.default_rng(0).standard_normal((1, 80, 3)).astype(np.float32)
    samples[0, 11] = np.float32(graph.range)
    samples[0, 31] = -np.float32(graph.range)
    with runtimes[0].stream(result.bundle) as stream:
        assert np.isfinite(stream.push(samples)).all()

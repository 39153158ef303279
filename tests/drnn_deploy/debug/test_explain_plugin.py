"""Explanations of graphs whose layers are one node: by the layers of its function, or by the node itself."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from drnn_deploy.debug.explain import explain_report
from drnn_deploy.debug.verdict import Evidence, to_explanation
from drnn_deploy.exporter.contents import golden_cases, known_answers, write_bundle
from drnn_deploy.exporter.options import ExportOptions, graph_requests
from drnn_deploy.parity.check import check_parity
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.bundle.functions import STACK_NODE
from drnn_runtimes.registry import find_runtime
from tests.networks import random_weights

SPEC = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))


@pytest.mark.parametrize("form", ["sequence", "step"])
def test_a_wrong_weight_of_the_function_is_found_in_its_layer(form: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint(SPEC, random_weights(SPEC, 0))
    options = ExportOptions(length=12, forms=(form,), emissions=("plugin",))
    requests = graph_requests(checkpoint, options)
    cases = golden_cases(known_answers(checkpoint, requests), requests)
    write_bundle(checkpoint, tmp_path / "bundle", requests, cases, options)
    path = tmp_path / "bundle" / "model.onnx"
    model = onnx.load(path)
    constant = next(node for node in model.functions[0].node if node.output[0] == "l1/operator/R")
    values = 1.5 * numpy_helper.to_array(constant.attribute[0].t)
    constant.attribute[0].t.CopyFrom(numpy_helper.from_array(values, "l1/operator/R"))
    path.write_bytes(model.SerializeToString())
    bundle, runtime = Bundle.open(tmp_path / "bundle", verify=False), find_runtime("onnxruntime-cpu")
    report = check_parity(bundle, [runtime])
    (explanation,) = explain_report(bundle, report, [runtime])
    assert explanation.culprit == "layer 1"
    assert "l1/operator/R" in explanation.verdict
    assert {"layer 0", "layer 1", "head"} <= {stage.stage for stage in explanation.stages}


def test_an_engine_that_is_off_is_said_to_hold_the_node() -> None:
    seen = Evidence("tensorrt-rtx", "sequence/plugin", seen_on="onnxruntime-cpu", node=STACK_NODE)
    verdict = to_explanation(seen).verdict
    assert "the fault is in tensorrt-rtx, or in the engine that it runs" in verdict
    assert f"a plugin computes {STACK_NODE}" in verdict

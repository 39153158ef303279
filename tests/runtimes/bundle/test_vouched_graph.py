"""Damaged graphs that the manifest vouches for are refused by the check and by the runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from drnn_core.errors import InputError
from drnn_deploy.parity.check import check_parity
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.registry import require
from tests.networks import random_inputs
from tests.runtimes.bundle.damage import SPEC
from tests.sealing import reseal


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.97])
def test_graph_cut_short_that_the_manifest_vouches_for(
    bundle: Path, refused: Callable[..., None], share: float
) -> None:
    whole = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(whole[: int(share * len(whole))])
    reseal(bundle)
    refused("model.onnx", "cut short", "Export it again")
    opened = Bundle.open(bundle)
    with pytest.raises(InputError, match="cannot be loaded"), OnnxRuntime("cpu").load(opened, opened.graphs[0]):
        pytest.fail("it loaded")
    report = check_parity(opened, require(["torch", "onnxruntime-cpu"]))
    assert (report.passed, report.exit_code) == (False, 2)
    assert [(row.runtime, row.passed) for row in report.rows] == [("torch", True), ("onnxruntime-cpu", False)]
    assert "model.onnx cannot be loaded" in report.rows[1].error


@pytest.mark.parametrize("damage", [
    lambda model: model.graph.node.pop(),
    lambda model: model.graph.initializer.pop(),
    lambda model: setattr(model.graph.node[0], "op_type", "Transponse"),
    lambda model: setattr(model.graph.node[1], "op_type", "Exec"),
    lambda model: setattr(model.graph.input[0], "name", "x"),
    lambda model: setattr(model.graph.output[0], "name", "logits"),
], ids=["node", "weights", "operator", "other operator", "input", "output"])  # fmt: skip
def test_graph_that_is_no_longer_a_graph(bundle: Path, damage: Callable[[onnx.ModelProto], Any]) -> None:
    model = onnx.load(bundle / "model.onnx")
    damage(model)
    onnx.save(model, bundle / "model.onnx")
    reseal(bundle)
    report = check_parity(Bundle.open(bundle), require(["onnxruntime-cpu"]))
    assert (report.passed, report.exit_code) == (False, 2)


def test_error_of_onnxruntime_while_running_is_explained(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    with OnnxRuntime("cpu").load(opened, opened.graphs[0]) as session:
        session._names = ["logits"]
        with pytest.raises(InputError, match="ONNX Runtime cannot run sequence/fused"):
            session.run({"input": random_inputs(SPEC, 1, 8, 0)})

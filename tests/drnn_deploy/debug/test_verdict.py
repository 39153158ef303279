"""Which part is blamed, in which words."""

from __future__ import annotations

import dataclasses

import onnx

from drnn_deploy.debug.explanation import Deviation, StageResult, wrong_stages
from drnn_deploy.debug.verdict import Evidence, to_explanation

GOOD, BAD = Deviation(1e-8, 0.1, 1e-6, None, (1e-8,) * 3), Deviation(1e-3, 1e4, 1e-6, 7, (1e-7, 2e-5, None))


def test_wrong_parts_are_in_the_networks_order() -> None:
    names = ["head", "fusion", "layers", "layer 10", "layer 2", "input"]
    assert wrong_stages([StageResult(name, "", BAD, None) for name in names], []) == names[::-1]
    assert wrong_stages([StageResult(name, "", GOOD, BAD) for name in names], []) == []


def test_errors_that_build_up_are_not_blamed_on_a_part() -> None:
    most = dataclasses.replace(GOOD, in_noise=7.0)
    stages = (StageResult("layer 0", "a", GOOD, GOOD), StageResult("layer 1", "b", most, BAD))
    found = to_explanation(Evidence("somewhere", "sequence/fused", model=onnx.ModelProto(), stages=stages))
    assert found.culprit == ""
    assert "build up from part to part, and layer 1 adds the most" in found.verdict

"""Free axes of the network's inputs: an error where the nodes work for one size of them, nothing where for more."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from drnn_export.lint.linter import lint_model
from tests.export.lint.confusion import outcomes
from tests.export.lint.drafts import Array, Draft, floats, model

RANDOM = random.Random(0)


def data(*sizes: int) -> Array:
    return floats(RANDOM, *sizes)


def node(operator: str, free: tuple[int, int], *inputs: Array, outputs: int = 1, opset: int = 22, **more: Any) -> Draft:
    """One input of the network with a free axis, all others constants."""
    constants = frozenset(range(1, len(inputs)))
    return Draft(operator, inputs, constants, more, outputs, opset, frozenset({free}))


def whole(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


FIRST, SECOND = (0, 0), (0, 1)
FROZEN: Mapping[str, Draft] = {  # compiled for a size that is not the one that works
    "Reshape": node("Reshape", FIRST, data(4), whole(3)),
    "Reshape that copies an axis": node("Reshape", FIRST, data(4, 2), whole(0, 3)),
    "MatMul": node("MatMul", SECOND, data(2, 4), data(3, 5)),
    "a stack of matrices": node("MatMul", FIRST, data(4, 2, 3), data(2, 3, 5)),
    "Gemm": node("Gemm", SECOND, data(2, 4), data(3, 5)),
    "C of a Gemm": node("Gemm", FIRST, data(4, 3), data(3, 5), data(2, 5)),
    "Concat": node("Concat", FIRST, data(4, 3), data(2, 3), axis=1),
    "Conv": node("Conv", SECOND, data(1, 4, 8), data(5, 3, 3)),
    "LayerNormalization": node("LayerNormalization", SECOND, data(2, 4), data(3)),
    "GroupNormalization": node("GroupNormalization", SECOND, data(2, 4, 5), data(3), data(3), num_groups=1),
    "PRelu": node("PRelu", SECOND, data(2, 4), data(3)),
    "ReverseSequence": node("ReverseSequence", SECOND, data(3, 4), whole(1, 2, 3)),
    "Einsum": node("Einsum", SECOND, data(2, 4), data(3, 5), equation="ij,jk->ik"),
    "Squeeze": node("Squeeze", FIRST, data(4, 3), whole(0)),
    "ScatterND": node("ScatterND", SECOND, data(4, 3), whole(0, 1).reshape(2, 1), data(2, 5)),
}
FREE: Mapping[str, Draft] = {
    "Reshape of all": node("Reshape", FIRST, data(6, 2), whole(-1, 3)),
    "Reshape that copies an axis": node("Reshape", FIRST, data(4, 2), whole(0, 1, 2)),
    "many parts": node("Reshape", FIRST, data(98, 10), whole(-1, 49, 20)),
    "MatMul": node("MatMul", FIRST, data(4, 3), data(3, 5)),
    "Gemm with a row for all": node("Gemm", FIRST, data(4, 3), data(3, 5), data(1, 5)),
    "Conv": node("Conv", (0, 2), data(1, 3, 8), data(5, 3, 3)),
    "a large window": node("MaxPool", (0, 2), data(1, 3, 900), kernel_shape=[800]),
    "DepthToSpace": node("DepthToSpace", SECOND, data(1, 8, 2, 2), blocksize=2),
    "parts": node("Split", FIRST, data(6), axis=0, num_outputs=3, outputs=3),
    "TopK": node("TopK", SECOND, data(2, 12), whole(9), outputs=2),
    "Einsum": node("Einsum", FIRST, data(2, 4), data(4, 5), equation="ij,jk->ik"),
    "up to 512 rows": Draft(
        "GatherElements",
        (data(512, 4), np.zeros((6, 4), np.int64)),
        frozenset({0}),
        {"axis": 1},
        free=frozenset({(1, 0)}),
    ),
}


def found(graph: onnx.ModelProto) -> set[tuple[str, str]]:
    findings = lint_model(graph, "tensorrt-11", Path())
    return {(finding.severity, finding.rule) for finding in findings} - {("warning", "free-axis")}


@pytest.mark.parametrize("name", FROZEN)
def test_a_node_that_works_for_one_size_is_an_error(name: str) -> None:
    assert found(model(FROZEN[name])) == {("error", "frozen")}
    fixed = dataclasses.replace(FROZEN[name], free=frozenset())
    assert {severity for severity, _ in found(model(fixed))} == {"error"}  # by the rule for those sizes


@pytest.mark.parametrize("name", FREE)
def test_a_node_that_works_for_many_sizes_passes(name: str) -> None:
    assert found(model(FREE[name])) == set()


@pytest.mark.nightly
def test_the_compiler_agrees(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
    cells = [outcome.cell for outcome in outcomes([*FROZEN.values(), *FREE.values()], tmp_path)]
    assert set(cells[: len(FROZEN)]) == {"refused, error"}
    assert set(cells[len(FROZEN) :]) == {"built, passed"}

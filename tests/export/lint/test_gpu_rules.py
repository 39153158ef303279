"""Turing: what lint says beforehand is what NVIDIA's compiler says, for every cell, emission and precision."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import onnx
import pytest

from drnn_core.errors import EngineError, InputError
from drnn_core.types import Precision
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.engine.build import build_engine, known_compute_capabilities
from drnn_export.engine.config import BuildControls
from drnn_export.engine.process import run_builder
from drnn_export.lint.linter import lint_file, lint_model, load_table
from drnn_models.cells import Cell
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import random_weights
from tests.nightly import combinations

pytestmark = pytest.mark.usefixtures("one_builder")
TURING, AMPERE = ("7.5",), ("8.6",)
EMISSIONS: list[tuple[str, Precision]] = [
    ("fused", "fp32"),
    ("fused", "fp16"),
    ("unrolled", "fp32"),
    ("unrolled", "fp16"),
    ("unrolled", "bf16"),
    ("unrolled", "int8"),
]


def written(folder: Path, cell: Cell, emission: str, precision: Precision) -> Path:
    spec = ModelSpec(cell, (5, 4), (1, 2), Continuous(2), Head("last", 3))
    request = GraphRequest(4, 2, emission, form="chunk", precision=precision)  # type: ignore[arg-type]
    path = folder / "model.onnx"
    path.write_bytes(emit(spec, random_weights(spec, 0), request).SerializeToString())
    return path


def refusals(path: Path, capabilities: tuple[str, ...], target: str = "tensorrt-rtx") -> list[str]:
    (findings,) = lint_file(path, (target,), capabilities).values()  # type: ignore[arg-type]
    return [finding.what for finding in findings if finding.severity == "error"]


@pytest.mark.parametrize(("typed", "cell"), combinations(EMISSIONS, get_args(Cell), by_day=2))
def test_lint_says_what_the_compiler_says(tmp_path: Path, typed: tuple[str, Precision], cell: Cell) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    graph = written(tmp_path, cell, *typed)
    request = {
        "module": "tensorrt_rtx",
        "onnx": str(graph),
        "engine": str(tmp_path / "model.engine"),
        "compute_capabilities": TURING,
        "controls": BuildControls().request,
        "timings": None,
        "batch": None,
        "kernel": None,
    }
    try:
        run_builder(graph, request, "TensorRT-RTX", 60.0)
        accepted = True
    except EngineError as error:
        accepted = False
        assert "Turing" in error.message or "sm75" in error.message
    assert accepted == (typed[1] == "fp16")
    assert (refusals(graph, TURING) == []) is accepted
    assert refusals(graph, AMPERE) == refusals(graph, ()) == []


def test_build_is_refused_with_the_reason_before_it_begins(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    graph = written(tmp_path, "gru", "unrolled", "fp32")
    with pytest.raises(EngineError, match=r"a product in float32, as do \d+ nodes in all") as caught:
        build_engine(graph, tmp_path / "model.engine", "tensorrt-rtx", compute_capabilities=("8.6", "7.5"))
    assert "float16" in caught.value.fix
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]


def test_full_tensorrt_has_float32_products_on_turing_and_no_bfloat16(tmp_path: Path) -> None:
    assert refusals(written(tmp_path, "gru", "unrolled", "fp32"), TURING, "tensorrt-10.3") == []
    (what,) = refusals(written(tmp_path, "gru", "unrolled", "bf16"), TURING, "tensorrt-10.3")
    assert "bfloat16" in what


@pytest.mark.parametrize("target, has, lacks", [
    ("tensorrt-rtx", ["8.0", "8.6", "12.1"], ["5.0", "8.7", "9.0", "10.0"]),
    ("tensorrt-10.3", ["7.0", "8.7", "9.0"], ["5.0", "6.1", "10.0", "12.0"]),
    ("tensorrt-11", ["8.7", "9.0", "10.3", "12.0"], ["5.0", "7.0"]),
])  # fmt: skip
def test_gpus_that_a_target_does_not_build_for_are_errors(
    target: str, has: list[str], lacks: list[str], tmp_path: Path
) -> None:
    graph = written(tmp_path, "gru", "unrolled", "fp16")
    assert refusals(graph, tuple(has), target) == []
    found = refusals(graph, (*has, *lacks), target)
    assert [what.rpartition(" ")[2] for what in found] == lacks
    assert {what.partition(" builds for")[0] for what in found} == {load_table(target).title}  # type: ignore[arg-type]


def test_the_gpus_of_tensorrt_rtx_are_those_that_it_names() -> None:
    module = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    assert tuple(load_table("tensorrt-rtx").generations.only) == known_compute_capabilities(module)


@pytest.mark.parametrize("written_as", ["75", "sm_75", "7.5"])
def test_a_compute_capability_may_be_written_as_others_do(written_as: str, tmp_path: Path) -> None:
    graph = written(tmp_path, "gru", "unrolled", "fp32")
    assert len(refusals(graph, (written_as, "7.5"))) == 1
    with pytest.raises(InputError, match="'banana' is no compute capability"):
        lint_file(graph, capabilities=["banana"])
    with pytest.raises(InputError, match="'banana' is no compute capability"):
        lint_model(onnx.load(graph), "tensorrt-rtx", tmp_path, ["banana"])


def test_no_target_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no target is given") as refused:
        lint_file(written(tmp_path, "gru", "unrolled", "fp32"), ())
    assert "tensorrt-rtx" in refused.value.fix

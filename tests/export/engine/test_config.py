"""What the builder is told, and that it took it over: with NVIDIA's own builder, ahead of time."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, get_args

import pytest

from drnn_core.errors import EngineError, InputError
from drnn_core.types import TensorInfo
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.engine.build import build_engine
from drnn_export.engine.config import BuildControls, command_line
from drnn_export.engine.process import run_builder
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.trt.bindings import Flavour
from tests.networks import random_weights

FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
SPEC = ModelSpec("rnn", (3,), (1,), Continuous(1), Head("last", 2))
INPUTS = (TensorInfo("input", "float32", (-1, 784, 1)), TensorInfo("state", "float32", (-1, 4, 20)))
ALL = BuildControls(
    workspace_mib=64,
    optimization_level=5,
    version_compatible=True,
    hardware="ampere+",
    timing_cache=Path("my timings"),
)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(emit(SPEC, random_weights(SPEC, 0), GraphRequest(2, 1, "unrolled")).SerializeToString())
    return path


def words(backend: Flavour, version: str, controls: BuildControls, **changes: Any) -> list[str]:
    given = {"onnx": "model.onnx", "engine": "engines/a b.engine", "inputs": INPUTS, **changes}
    return shlex.split(command_line(backend, version, controls, **given))


def test_command_line_of_trtexec_says_all_that_decides_the_engine_and_no_place_of_this_machine() -> None:
    found = words("tensorrt", "10.3.0.26", ALL, batch=(1, 2, 8))
    assert found == [
        "trtexec",
        "--onnx=model.onnx",
        "--saveEngine=engines/a b.engine",
        "--skipInference",
        "--profilingVerbosity=detailed",
        "--stronglyTyped",
        "--noTF32",
        "--memPoolSize=workspace:64",
        "--builderOptimizationLevel=5",
        "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+",
        "--minShapes=input:1x784x1,state:1x4x20",
        "--optShapes=input:2x784x1,state:2x4x20",
        "--maxShapes=input:8x784x1,state:8x4x20",
    ]


def test_command_line_leaves_out_what_is_nvidias_choice() -> None:
    assert words("tensorrt", "11.0.0.1", BuildControls(tf32=True))[3:] == [
        "--skipInference",
        "--profilingVerbosity=detailed",
    ]


def test_command_line_of_tensorrt_rtx_names_its_targets() -> None:
    found = words("tensorrt-rtx", "1.7.1.116", BuildControls(), compute_capabilities=("8.6", "12.0"))
    assert found[0] == "tensorrt_rtx"
    assert "--computeCapabilities=86,120" in found
    assert "--stronglyTyped" not in found


@pytest.mark.parametrize("backend", FLAVOURS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"optimization_level": 6},
        {"optimization_level": -1},
        {"workspace_mib": 0},
        {"hardware": "any"},
    ],
)
def test_values_without_a_meaning_are_refused(backend: Flavour, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=str(next(iter(wrong.values())))):
        BuildControls(**wrong).check(backend)


@pytest.mark.parametrize(
    "foreign", [{"hardware": "ampere+"}, {"version_compatible": True}, {"timing_cache": Path("x")}]
)
def test_what_tensorrt_rtx_would_pass_over_in_silence_is_refused(
    foreign: dict[str, Any], graph: Path, tmp_path: Path
) -> None:
    controls = BuildControls(**foreign)
    controls.check("tensorrt")
    with pytest.raises(InputError, match="TensorRT-RTX") as caught:
        build_engine(graph, tmp_path / "model.engine", "tensorrt-rtx", controls=controls)
    assert caught.value.fix
    assert not (tmp_path / "model.engine").exists()


def test_the_builder_takes_level_and_workspace(graph: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    controls = BuildControls(optimization_level=1, workspace_mib=32)
    sidecar = build_engine(
        graph, tmp_path / "model.engine", "tensorrt-rtx", compute_capabilities=("8.6",), controls=controls
    )
    assert "--builderOptimizationLevel=1" in sidecar.command
    assert "--memPoolSize=workspace:32" in sidecar.command
    assert "--onnx=model.onnx --saveEngine=model.engine" in sidecar.command


def ask_builder(graph: Path, engine: Path, controls: BuildControls, timings: list[Path] | None = None) -> Any:
    """The builder's process itself, without what `build_engine` refuses for TensorRT-RTX beforehand."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    request = {
        "module": "tensorrt_rtx",
        "onnx": str(graph),
        "engine": str(engine),
        "compute_capabilities": ["8.6"],
        "controls": controls.request,
        "timings": timings and [str(path) for path in timings],
        "batch": None,
        "kernel": None,
    }
    return run_builder(graph, request, "TensorRT-RTX", 60.0)


def test_hardware_level_that_the_builder_does_not_take_over_is_refused(graph: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no hardware level AMPERE_PLUS"):
        ask_builder(graph, tmp_path / "model.engine", BuildControls(hardware="ampere+"))


def test_version_compatible_flag_reaches_the_builder(graph: Path, tmp_path: Path) -> None:
    """Which fails on it here, and says why: the library that such an engine carries is not there."""
    with pytest.raises(EngineError, match="libnvinfer_lean"):
        ask_builder(graph, tmp_path / "model.engine", BuildControls(version_compatible=True))


def test_timings_are_written_and_read_again(graph: Path, tmp_path: Path) -> None:
    known, written = tmp_path / "known", tmp_path / "written"
    ask_builder(graph, tmp_path / "model.engine", BuildControls(), [known, written])
    assert written.stat().st_size
    ask_builder(graph, tmp_path / "model.engine", BuildControls(), [written, tmp_path / "more"])
    assert (tmp_path / "more").stat().st_size

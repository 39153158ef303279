"""Which GPUs an engine is for, and what is said where one cannot be built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from drnn_core.errors import EngineError
from drnn_core.gpu import Gpu, gpu, gpu_reason
from drnn_export.engine.build import (
    AHEAD_OF_TIME,
    backend_availability,
    build_engine,
    build_targets,
    known_compute_capabilities,
)
from drnn_runtimes.trt.bindings import tensorrt_module
from tests.export.engine.small_builds import SM86, build, files, products, recurrent, rtx


@pytest.mark.parametrize("unknown", ["9.0", "8.7", "86", "SM86"])
def test_a_compute_capability_that_the_module_does_not_know_is_refused(unknown: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=rf"{unknown}; it knows 7\.5, 8\.0, 8\.6, 8\.9, 12\.0") as caught:
        build(recurrent(tmp_path), tmp_path / "e", compute_capabilities=("8.6", unknown))
    assert "full TensorRT" in caught.value.fix
    assert files(tmp_path) == ["model.onnx"]


def device(compute_capability: str) -> Gpu:
    return Gpu("some GPU", compute_capability, "CUDA 13.0")


def test_targets_are_what_was_asked_then_this_gpu_then_the_usual_ones() -> None:
    module = tensorrt_module("tensorrt-rtx")
    assert set(AHEAD_OF_TIME) < set(known_compute_capabilities(module.loaded))
    assert build_targets("tensorrt-rtx", module, ("8.9", "8.6", "8.9"), device("8.0")) == ("8.9", "8.6")
    assert build_targets("tensorrt-rtx", module, (), device("8.9")) == ("8.9",)
    assert build_targets("tensorrt-rtx", module, (), None) == AHEAD_OF_TIME
    with pytest.raises(EngineError, match=r"9\.0; it knows"):
        build_targets("tensorrt-rtx", module, (), device("9.0"))


def test_the_full_tensorrt_builds_for_its_own_gpu_only() -> None:
    module = tensorrt_module("tensorrt")
    assert build_targets("tensorrt", module, (), device("9.0")) == ("9.0",)
    assert build_targets("tensorrt", module, ("9.0",), device("9.0")) == ("9.0",)
    with pytest.raises(EngineError, match=r"only \(compute capability 9\.0\), not for 8\.6"):
        build_targets("tensorrt", module, ("8.6",), device("9.0"))


def test_without_a_gpu_one_engine_serves_all_usual_gpus(tmp_path: Path) -> None:
    if gpu() is not None:
        pytest.skip("this machine has a GPU, so the engine would be for it")
    sidecar = build_engine(products(tmp_path), tmp_path / "e", "tensorrt-rtx")
    assert sidecar.compute_capabilities == AHEAD_OF_TIME
    assert sidecar.ahead_of_time


def test_availability_names_the_version_and_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    available = backend_availability("tensorrt-rtx")
    assert available.usable
    assert rtx.__version__ in available.detail
    assert (gpu_reason() or "compute capability") in available.detail
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert not backend_availability("tensorrt-rtx").usable
    assert "pip install tensorrt-rtx" in backend_availability("tensorrt-rtx").fix


@pytest.mark.parametrize(("here", "usable"), [("8.9", True), ("9.0", False)])
def test_a_gpu_that_the_module_does_not_know_is_no_target(
    here: str, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drnn_export.engine.build.gpu", lambda: device(here))
    available = backend_availability("tensorrt-rtx")
    assert available.usable == usable
    assert here in available.detail
    assert ("it knows" in available.detail) != usable
    assert backend_availability("tensorrt-rtx", SM86).usable


def test_a_missing_backend_is_an_engine_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="tensorrt is not installed") as caught:
        build_engine(recurrent(tmp_path), tmp_path / "e", "tensorrt")
    assert "pip install tensorrt" in caught.value.fix


def test_the_full_tensorrt_needs_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is stood in for by its sibling: it must not be touched before the GPU is looked for."""
    monkeypatch.setitem(sys.modules, "tensorrt", rtx)
    monkeypatch.setattr(rtx, "__version__", "11.4.0")
    if gpu() is not None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match="builds on a GPU only, and") as caught:
        build_engine(recurrent(tmp_path), tmp_path / "e", "tensorrt")
    assert gpu_reason() in str(caught.value)
    assert "tensorrt-rtx" in caught.value.fix


@pytest.mark.gpu
def test_with_a_gpu_the_engine_is_for_it(tmp_path: Path) -> None:
    here = gpu()
    if here is None:
        pytest.skip(gpu_reason())
    if here.compute_capability not in known_compute_capabilities(rtx):
        pytest.skip(f"TensorRT-RTX does not build for compute capability {here.compute_capability}")
    sidecar = build_engine(products(tmp_path), tmp_path / "e", "tensorrt-rtx")
    assert sidecar.compute_capabilities == (here.compute_capability,)
    assert (sidecar.ahead_of_time, sidecar.driver) == (False, here.driver)

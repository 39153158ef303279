"""The TensorRT runtimes: what keeps an engine from loading."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from drnn_core import gpu
from drnn_core.errors import EngineError, RuntimeUnavailableError
from drnn_core.types import TensorInfo
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.trt.bindings import Flavour, tensorrt_module
from drnn_runtimes.trt.runtime import Machine, TensorRTRuntime, edges_problem, engine_problem
from drnn_runtimes.trt.session import TensorRTSession
from drnn_runtimes.trt.sidecar import Sidecar, this_platform
from tests.runtimes.trt.engines import ENGINE, ONNX, SIDECAR, bundle_of, digest, graph_info, need_gpu_for_rtx

FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
MACHINE = Machine("tensorrt-rtx", "1.7.1.116", "linux-x86_64", "8.6")


def problem(sidecar: Sidecar = SIDECAR, machine: Machine = MACHINE, engine: bytes = ENGINE, onnx: bytes = ONNX) -> str:
    return engine_problem(sidecar, machine, engine_sha256=digest(engine), onnx_sha256=digest(onnx))


def test_an_engine_that_fits_has_no_problem() -> None:
    assert problem() == ""
    assert problem(machine=dataclasses.replace(MACHINE, compute_capability="8.9")) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "1.8.0.1"}, "1.7.1.116 and this machine has 1.8.0.1"),
        ({"compute_capability": "9.0"}, "compute capability 8.6, 8.9 and this GPU has 9.0"),
        ({"platform": "linux-aarch64"}, "linux-x86_64 and this machine is linux-aarch64"),
        ({"flavour": "tensorrt"}, "for tensorrt-rtx, not for tensorrt"),
    ],
)
def test_an_engine_for_another_machine_is_refused_in_one_sentence(changes: dict[str, str], words: str) -> None:
    sentence = problem(machine=dataclasses.replace(MACHINE, **changes))
    assert words in sentence
    assert "\n" not in sentence


def test_a_lying_sidecar_is_caught() -> None:
    assert "not the file that its sidecar describes" in problem(engine=ENGINE + b"!")
    assert "built from another model.onnx" in problem(onnx=ONNX + b"!")
    claimed = dataclasses.replace(SIDECAR, engine_sha256="0" * 64)
    assert "not the file that its sidecar describes" in problem(claimed)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_both_flavours_keep_the_protocol(flavour: Flavour) -> None:
    runtime: Runtime = TensorRTRuntime(flavour)
    assert runtime.name == flavour


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_availability_is_a_device_or_a_reason(flavour: Flavour) -> None:
    available, module, device = TensorRTRuntime(flavour).availability(), tensorrt_module(flavour), gpu.gpu()
    assert available.usable == (module.loaded is not None and device is not None)
    if device is not None and available.usable:
        assert all(word in available.detail for word in (module.version, device.name, device.compute_capability))
    else:
        assert (module.reason or gpu.gpu_reason()) in available.detail
        assert available.fix


@pytest.mark.parametrize(("flavour", "module"), [("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx")])
def test_without_its_module_a_runtime_cannot_be_had(
    flavour: Flavour, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, dataclasses.replace(SIDECAR, flavour=flavour))
    refused = pytest.raises(RuntimeUnavailableError, match=f"{module} is not installed")
    with refused as caught, TensorRTRuntime(flavour).load(bundle, graph):
        pass
    assert caught.value.exit_code == 3
    assert "pip install" in caught.value.fix


def test_without_a_gpu_a_runtime_cannot_be_had(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    if gpu.gpu() is not None:
        pytest.skip("this machine has a GPU")
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, SIDECAR)
    refused = pytest.raises(RuntimeUnavailableError, match="runs on a GPU only, and")
    with refused as caught, TensorRTRuntime("tensorrt-rtx").load(bundle, graph):
        pass
    assert gpu.gpu_reason() in caught.value.message


def test_a_bundle_without_the_engine_is_unsupported(tmp_path: Path) -> None:
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, SIDECAR)
    assert TensorRTRuntime("tensorrt-rtx").unsupported(bundle, graph) == ""
    assert "no tensorrt engine for model.onnx" in TensorRTRuntime("tensorrt").unsupported(bundle, graph)
    other = dataclasses.replace(graph, file="step.onnx")
    assert "no tensorrt-rtx engine for step.onnx" in TensorRTRuntime("tensorrt-rtx").unsupported(bundle, other)


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that only `drnn_core.gpu.gpu` knows of: whatever goes on to CUDA fails there."""
    rtx = pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(rtx, "__version__", SIDECAR.version)
    monkeypatch.setattr(gpu, "gpu", lambda: gpu.Gpu("some GPU", "8.6", "CUDA 13.0"))


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": "1.4.0.0"}, "built with tensorrt-rtx 1.4.0.0"),
        ({"compute_capabilities": ("12.0",)}, "built for compute capability 12.0"),
        ({"platform": "linux-riscv"}, "built for linux-riscv"),
        ({"engine_sha256": "0" * 64}, "not the file that its sidecar describes"),
    ],
)
def test_load_refuses_an_engine_before_nvidia_sees_it(
    changes: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TensorRTSession, "open", lambda *_: pytest.fail("the engine was loaded"))
    graph = graph_info(2)
    here: dict[str, Any] = {"platform": this_platform()}
    sidecar = dataclasses.replace(SIDECAR, **{**here, **changes})
    bundle = bundle_of(tmp_path, graph, sidecar)
    with pytest.raises(EngineError, match=words) as caught, TensorRTRuntime("tensorrt-rtx").load(bundle, graph):
        pass
    assert str(bundle.folder / "model.engine") in caught.value.message
    assert "drnn-export model.pt --output DIR" in caught.value.fix
    assert caught.value.exit_code == 4


@pytest.mark.usefixtures("pretended_gpu")
def test_load_refuses_a_bundle_whose_graph_has_changed(tmp_path: Path) -> None:
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, dataclasses.replace(SIDECAR, platform=this_platform()))
    bundle.files[graph.file] = digest(b"another graph")
    with (
        pytest.raises(EngineError, match=r"built from another model\.onnx"),
        TensorRTRuntime("tensorrt-rtx").load(bundle, graph),
    ):
        pass


@pytest.mark.usefixtures("pretended_gpu")
def test_load_refuses_a_graph_without_an_engine(tmp_path: Path) -> None:
    graph = graph_info(2)
    refused = pytest.raises(RuntimeUnavailableError, match="no tensorrt-rtx engine")
    with refused, TensorRTRuntime("tensorrt-rtx").load(bundle_of(tmp_path, graph, None), graph):
        pass


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize("missing", ["model.engine", "model.engine.json"])
def test_load_refuses_what_is_not_there(missing: str, tmp_path: Path) -> None:
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, SIDECAR)
    (tmp_path / missing).unlink()
    with pytest.raises(EngineError, match=missing), TensorRTRuntime("tensorrt-rtx").load(bundle, graph):
        pass


def test_a_sidecar_edited_by_hand_is_an_engine_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretended_gpu: None
) -> None:
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, SIDECAR)
    path = tmp_path / "model.engine.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), "compute_capabilities": "any"}), encoding="utf-8"
    )
    with (
        pytest.raises(EngineError, match="compute_capabilities: must be a list"),
        TensorRTRuntime("tensorrt-rtx").load(bundle, graph),
    ):
        pass


@pytest.mark.gpu
def test_bytes_that_are_no_engine_are_refused_by_nvidia(tmp_path: Path) -> None:
    compute_capability = need_gpu_for_rtx()
    graph = graph_info(2)
    sidecar = dataclasses.replace(
        SIDECAR,
        version=tensorrt_module("tensorrt-rtx").version,
        platform=this_platform(),
        compute_capabilities=(compute_capability,),
    )
    bundle = bundle_of(tmp_path, graph, sidecar)
    with pytest.raises(EngineError, match="makes no engine"), TensorRTRuntime("tensorrt-rtx").load(bundle, graph):
        pass


@pytest.mark.parametrize(("changes", "words"), [
    ({"inputs": (TensorInfo("input", "float32", (2, 10**30)),)}, "the engine takes "),
    ({"outputs": ()}, "the engine gives "),
    ({"batch": (1, 2, 10**9)}, "the engine is for the batches "),
])  # fmt: skip
def test_an_engine_of_other_tensors_or_batches_is_none_of_the_graph(changes: dict[str, Any], words: str) -> None:
    graph = graph_info(2)
    assert edges_problem(SIDECAR, graph) == ""
    assert edges_problem(dataclasses.replace(SIDECAR, **changes), graph).startswith(words)

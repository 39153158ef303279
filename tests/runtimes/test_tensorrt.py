"""The TensorRT runtimes: what keeps an engine from loading and, with a GPU, that a loaded one computes right."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import sys
import types
from enum import IntEnum
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save

from drnn_models import cuda
from drnn_models.cuda import Flavour
from drnn_models.description import TensorInfo
from drnn_models.errors import EngineError, InputError, RuntimeUnavailableError
from drnn_models.sidecar import Sidecar, sidecar_path, this_platform
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, EngineInfo, GraphInfo
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.tensorrt import Machine, TensorRTRuntime, TensorRTSession, check_batch, engine_problem, numpy_type

FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)
FEATURES = 32
ENGINE, ONNX = b"an engine", b"a graph"
MACHINE = Machine("tensorrt-rtx", "1.7.1.116", "linux-x86_64", "8.6")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def graph_info(batch: int) -> GraphInfo:
    return GraphInfo(
        file="model.onnx",
        form="sequence",
        emission="fused",
        pruned=False,
        steps=1,
        batch=None if batch == -1 else batch,
        precision="float32",
        opset=13,
        nodes=2,
        inputs=(TensorInfo("input", "float32", (batch, FEATURES)),),
        outputs=(TensorInfo("output", "float32", (batch, FEATURES)),),
    )


SIDECAR = Sidecar(
    flavour="tensorrt-rtx",
    version="1.7.1.116",
    platform="linux-x86_64",
    compute_capabilities=("8.6", "8.9"),
    driver=None,
    ahead_of_time=True,
    flags={"tf32": False, "strongly_typed": True},
    onnx="model.onnx",
    onnx_sha256=digest(ONNX),
    engine_sha256=digest(ENGINE),
    engine_bytes=len(ENGINE),
    build_seconds=0.5,
    command="tensorrt_rtx --onnx=model.onnx",
    inputs=(TensorInfo("input", "float32", (2, FEATURES)),),
    outputs=(TensorInfo("output", "float32", (2, FEATURES)),),
)


def bundle_of(folder: Path, graph: GraphInfo, sidecar: Sidecar | None, engine: bytes = ENGINE) -> Bundle:
    """A bundle with at most one engine, for the sidecar's runtime."""
    engines: tuple[EngineInfo, ...] = ()
    if sidecar is not None:
        (folder / "model.engine").write_bytes(engine)
        sidecar.write(sidecar_path(folder / "model.engine"))
        engines = (EngineInfo("model.engine", "model.engine.json", graph.file, sidecar.flavour),)
    return Bundle(
        folder=folder,
        spec=ModelSpec("rnn", (4,), (1,), Continuous(), Head("last", 2)),
        task={},
        graphs=(graph,),
        engines=engines,
        files={graph.file: sidecar.onnx_sha256 if sidecar else digest(ONNX)},
        versions={},
    )


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
    available, module, device = TensorRTRuntime(flavour).availability(), cuda.tensorrt_module(flavour), cuda.gpu()
    assert available.usable == (module.loaded is not None and device is not None)
    if device is not None and available.usable:
        assert all(word in available.detail for word in (module.version, device.name, device.compute_capability))
    else:
        assert (module.reason or cuda.gpu_reason()) in available.detail
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
    if cuda.gpu() is not None:
        pytest.skip("this machine has a GPU")
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, SIDECAR)
    refused = pytest.raises(RuntimeUnavailableError, match="runs on a GPU only, and")
    with refused as caught, TensorRTRuntime("tensorrt-rtx").load(bundle, graph):
        pass
    assert cuda.gpu_reason() in caught.value.message


def test_a_bundle_without_the_engine_is_unsupported(tmp_path: Path) -> None:
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, SIDECAR)
    assert TensorRTRuntime("tensorrt-rtx").unsupported(bundle, graph) == ""
    assert "no tensorrt engine for model.onnx" in TensorRTRuntime("tensorrt").unsupported(bundle, graph)
    other = dataclasses.replace(graph, file="step.onnx")
    assert "no tensorrt-rtx engine for step.onnx" in TensorRTRuntime("tensorrt-rtx").unsupported(bundle, other)


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that only `drnn_models.cuda.gpu` knows of: whatever goes on to CUDA fails there."""
    rtx = pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(rtx, "__version__", SIDECAR.version)
    monkeypatch.setattr(cuda, "gpu", lambda: cuda.Gpu("some GPU", "8.6", "CUDA 13.0"))


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
@pytest.mark.parametrize("missing", ["model.engine", "model.engine.json", "entry"])
def test_load_refuses_what_is_not_there(missing: str, tmp_path: Path) -> None:
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, None if missing == "entry" else SIDECAR)
    if missing != "entry":
        (tmp_path / missing).unlink()
    named = "no tensorrt-rtx engine" if missing == "entry" else missing
    with pytest.raises(EngineError, match=named), TensorRTRuntime("tensorrt-rtx").load(bundle, graph):
        pass


def test_an_error_of_cuda_is_an_engine_error_with_its_name() -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("cuda.bindings.runtime")
    if cuda.gpu() is not None:
        pytest.skip("this machine has a GPU")
    session = TensorRTSession(graph_info(2), None)
    with contextlib.closing(session), pytest.raises(EngineError, match=r"cudaSetDevice: .* \(cudaError"):
        session.open(rtx, ENGINE)
    with pytest.raises(InputError, match="closed"):
        session.run({"input": np.zeros((2, FEATURES), np.float32)})


def test_a_batch_must_be_one_that_the_engine_was_built_for() -> None:
    graph = graph_info(-1)

    def check(size: int) -> None:
        check_batch(graph, {"input": np.zeros((size, FEATURES), np.float32)}, (2, 4, 8))

    check(2)
    check(8)
    for size in (1, 9):
        with pytest.raises(InputError, match=f"batch {size} is outside 2 to 8"):
            check(size)


def test_inputs_must_agree_on_the_batch() -> None:
    graph = graph_info(-1)
    graph = dataclasses.replace(graph, inputs=(*graph.inputs, TensorInfo("state_l0_h", "float32", (-1, 1, 4))))
    inputs = {"input": np.zeros((2, FEATURES), np.float32), "state_l0_h": np.zeros((3, 1, 4), np.float32)}
    with pytest.raises(InputError, match=r"different batches: \[2, 3\]"):
        check_batch(graph, inputs, (1, 2, 8))


def test_a_fixed_batch_needs_no_range() -> None:
    check_batch(graph_info(2), {"input": np.zeros((2, FEATURES), np.float32)}, None)


def test_a_type_that_numpy_lacks_is_refused() -> None:
    assert numpy_type(TensorInfo("input", "int64", (1,))) == np.int64
    with pytest.raises(EngineError, match="'output' is float7"):
        numpy_type(TensorInfo("output", "float7", (1,)))


def built_here(folder: Path, batch: int) -> tuple[Bundle, GraphInfo, NDArray[np.float32]]:
    """A bundle with an engine for this GPU that computes tanh(input @ R), and R."""
    from drnn_export.tensorrt import build_engine

    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, ["batch" if batch == -1 else batch, FEATURES])
    matrix = np.random.default_rng(0).normal(scale=0.1, size=(FEATURES, FEATURES)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["input", "R"], ["p"]), helper.make_node("Tanh", ["p"], ["output"])]
    values = [helper.make_value_info(name, kind) for name in ("input", "output")]
    model = helper.make_graph(nodes, "test", values[:1], values[1:], [numpy_helper.from_array(matrix, "R")])
    save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "model.onnx")
    sidecar = build_engine(
        folder / "model.onnx", folder / "model.engine", "tensorrt-rtx", batch=(1, 2, 8) if batch == -1 else None
    )
    graph = graph_info(batch)
    return bundle_of(folder, graph, sidecar, (folder / "model.engine").read_bytes()), graph, matrix


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [-1, 4])
def test_a_loaded_engine_computes_what_numpy_computes(batch: int, tmp_path: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    device = cuda.gpu()
    if device is None:
        pytest.skip(cuda.gpu_reason())
    if f"SM{device.compute_capability.replace('.', '')}" not in rtx.ComputeCapability.__members__:
        pytest.skip(f"TensorRT-RTX does not build for compute capability {device.compute_capability}")
    bundle, graph, matrix = built_here(tmp_path, batch)
    random = np.random.default_rng(1)
    with TensorRTRuntime("tensorrt-rtx").load(bundle, graph) as session:
        for size in (1, 8, 3) if batch == -1 else (4, 4):
            value = random.normal(size=(size, FEATURES)).astype(np.float32)
            output = session.run({"input": value})["output"].astype(np.float64)
            np.testing.assert_allclose(output, np.tanh(value.astype(np.float64) @ matrix), atol=2e-6)
        first, second = session.run({"input": value}), session.run({"input": -value})
        np.testing.assert_array_equal(first["output"], -1 * second["output"].astype(np.float32))
        with pytest.raises(InputError):
            session.run({"input": np.zeros((9, FEATURES), np.float32)})
    with pytest.raises(InputError, match="closed"):
        session.run({"input": value})


class PretendedCuda:
    """The calls of the CUDA runtime in order; work on a stream that is recording is recorded and not done."""

    cudaStreamCaptureMode = types.SimpleNamespace(cudaStreamCaptureModeThreadLocal="thread")  # noqa: N815

    def __init__(self, *, refused: str = "") -> None:
        self.done: list[str] = []
        self._refused, self._recording = refused, False

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any) -> tuple[Any, ...]:
            self._recording = name == "cudaStreamBeginCapture" or (self._recording and name != "cudaStreamEndCapture")
            self.done.append(name)
            code = IntEnum("cudaError_t", {"cudaSuccess": 0, "cudaErrorStreamCaptureInvalidated": 901})
            return code(901 if name == self._refused else 0), f"made by {name}"

        call.__name__ = name
        return call

    def cudaGetErrorString(self, code: Any) -> tuple[int, bytes]:  # noqa: N802
        return 0, b"operation failed"

    def execute_async_v3(self, stream: int) -> bool:
        self.done.append("recorded" if self._recording else "executed")
        return True


def pretended_session(cuda_runtime: PretendedCuda, batch: tuple[int, int, int] | None = None) -> TensorRTSession:
    session = TensorRTSession(graph_info(2), batch)
    session._cuda, session._context, session._stream = cuda_runtime, cuda_runtime, 7
    session._logger = types.SimpleNamespace(errors=[])
    return session


def test_capture_records_one_execution_and_run_launches_the_record() -> None:
    calls = PretendedCuda()
    session = pretended_session(calls)
    session.run({"input": np.zeros((2, FEATURES), np.float32)})
    assert calls.done == ["executed", "cudaStreamSynchronize"]
    calls.done.clear()
    session.capture()
    assert calls.done == [
        *("executed", "cudaStreamSynchronize"),  # what cannot be recorded is done before
        *("cudaStreamBeginCapture", "recorded", "cudaStreamEndCapture", "cudaGraphInstantiate"),
    ]
    calls.done.clear()
    session.run({"input": np.zeros((2, FEATURES), np.float32)})
    assert calls.done == ["cudaGraphLaunch", "cudaStreamSynchronize"]
    calls.done.clear()
    session.close()
    assert calls.done == ["cudaGraphExecDestroy", "cudaGraphDestroy"]


def test_what_the_gpu_does_not_record_is_an_engine_error_and_kernels_go_on() -> None:
    calls = PretendedCuda(refused="cudaStreamEndCapture")
    session = pretended_session(calls)
    with pytest.raises(EngineError, match="cudaStreamEndCapture: operation failed"):
        session.capture()
    calls.done.clear()
    session.run({"input": np.zeros((2, FEATURES), np.float32)})
    assert calls.done == ["executed", "cudaStreamSynchronize"]


def test_a_free_batch_is_not_recorded() -> None:
    with pytest.raises(InputError, match="takes any batch, a CUDA graph only one"):
        pretended_session(PretendedCuda(), (1, 2, 8)).capture()


@pytest.mark.gpu
def test_a_recorded_engine_computes_what_numpy_computes(tmp_path: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    device = cuda.gpu()
    if device is None:
        pytest.skip(cuda.gpu_reason())
    if f"SM{device.compute_capability.replace('.', '')}" not in rtx.ComputeCapability.__members__:
        pytest.skip(f"TensorRT-RTX does not build for compute capability {device.compute_capability}")
    bundle, graph, matrix = built_here(tmp_path, 4)
    random = np.random.default_rng(1)
    with TensorRTRuntime("tensorrt-rtx").load(bundle, graph) as session:
        session.capture()
        for _ in range(3):
            value = random.normal(size=(4, FEATURES)).astype(np.float32)
            output = session.run({"input": value})["output"].astype(np.float64)
            np.testing.assert_allclose(output, np.tanh(value.astype(np.float64) @ matrix), atol=2e-6)


@pytest.mark.gpu
def test_bytes_that_are_no_engine_are_refused_by_nvidia(tmp_path: Path) -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    device = cuda.gpu()
    if device is None:
        pytest.skip(cuda.gpu_reason())
    graph = graph_info(2)
    sidecar = dataclasses.replace(
        SIDECAR,
        version=rtx.__version__,
        platform=this_platform(),
        compute_capabilities=(device.compute_capability,),
    )
    bundle = bundle_of(tmp_path, graph, sidecar)
    with pytest.raises(EngineError, match="makes no engine"), TensorRTRuntime("tensorrt-rtx").load(bundle, graph):
        pass


def test_a_sidecar_edited_by_hand_is_an_engine_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretended_gpu: None
) -> None:
    graph = graph_info(2)
    bundle = bundle_of(tmp_path, graph, SIDECAR)
    path = tmp_path / "model.engine.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "compute_capabilities": "any"}))
    with (
        pytest.raises(EngineError, match="compute_capabilities: must be a list"),
        TensorRTRuntime("tensorrt-rtx").load(bundle, graph),
    ):
        pass

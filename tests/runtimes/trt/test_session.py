"""Sessions of TensorRT engines: what they refuse, CUDA graphs and, with a GPU, that a loaded engine computes right."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import types
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drnn_core import gpu
from drnn_core.errors import EngineError, InputError
from drnn_core.types import TensorInfo
from drnn_runtimes.trt.runtime import TensorRTRuntime
from drnn_runtimes.trt.session import TensorRTSession, check_batch, numpy_type
from tests.runtimes.trt.engines import ENGINE, FEATURES, built_here, graph_info, need_gpu_for_rtx


def test_an_error_of_cuda_is_an_engine_error_with_its_name() -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("cuda.bindings.runtime")
    if gpu.gpu() is not None:
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


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [-1, 4])
def test_a_loaded_engine_computes_what_numpy_computes(batch: int, tmp_path: Path) -> None:
    need_gpu_for_rtx()
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


def test_what_a_thread_runs_is_not_freed_meanwhile() -> None:
    session = pretended_session(PretendedCuda())
    with session._alone:  # as in a run
        closing = threading.Thread(target=session.close)
        closing.start()
        closing.join(0.1)
        assert closing.is_alive()
    closing.join(10)
    assert not closing.is_alive()


def test_a_free_batch_is_not_recorded() -> None:
    with pytest.raises(InputError, match="takes any batch, a CUDA graph only one"):
        pretended_session(PretendedCuda(), (1, 2, 8)).capture()


@pytest.mark.gpu
def test_a_recorded_engine_computes_what_numpy_computes(tmp_path: Path) -> None:
    need_gpu_for_rtx()
    bundle, graph, matrix = built_here(tmp_path, 4)
    random = np.random.default_rng(1)
    with TensorRTRuntime("tensorrt-rtx").load(bundle, graph) as session:
        session.capture()
        for _ in range(3):
            value = random.normal(size=(4, FEATURES)).astype(np.float32)
            output = session.run({"input": value})["output"].astype(np.float64)
            np.testing.assert_allclose(output, np.tanh(value.astype(np.float64) @ matrix), atol=2e-6)

"""Times of torch's ways, runtimes, streams and recorded engines, on the CPU: right answers come first."""

from __future__ import annotations

import contextlib
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.gpu import timing
from benchmarks.gpu.bundles import checkpoint_of
from benchmarks.gpu.plan import BASELINE, RUNTIMES, TORCH_WAYS, Setting
from benchmarks.gpu.timing import summary
from drnn_core.errors import RuntimeUnavailableError
from drnn_models.cells import Cell
from drnn_models.dilated_rnn import DilatedRNN
from drnn_runtimes import registry
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.session import Session
from drnn_runtimes.trt.session import TensorRTSession
from tests.benchmarks.gpu.small_parts import done, small


@pytest.mark.parametrize("way", [*TORCH_WAYS[:-1], "onnxruntime-cpu"])
def test_ways_are_compared_and_timed(way: str, exported: Setting) -> None:
    found = done(timing.latency(exported, "gru", way))
    precisions = ["fp32", "fp16"] if way == "onnxruntime-cpu" else ["fp32"]
    assert [(row["batch"], row["precision"]) for row in found["rows"]] == [
        (batch, precision) for batch in (1, 32) for precision in precisions
    ]
    for row in found["rows"]:
        assert list(row["milliseconds"]) == [BASELINE, way]
        times = row["milliseconds"][way]
        assert 0 < times["noise_low"] <= times["noise_high"]
        assert times["median"] <= times["p95"] <= times["p99"]
        assert times["runs"] >= 6
    assert torch.backends.cudnn.enabled


@pytest.mark.nightly  # it compiles for seconds
@pytest.mark.skipif(
    shutil.which("g++") is None or not Path(sysconfig.get_path("include"), "Python.h").is_file(),
    reason="torch.compile needs a C++ compiler and Python's headers: apt install g++ python3-dev",
)
@pytest.mark.skipif(" " in sys.prefix, reason="torch.compile gives the linker a path with spaces unquoted")
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, which is not ours
def test_torch_compile_is_timed(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Setting, "batches", (2,))  # another would be compiled as well
    found = done(timing.latency(setting, "rnn", "torch-compile"))
    assert [list(row["milliseconds"]) for row in found["rows"]] == [[BASELINE, "torch-compile"]]


def test_cudnn_is_off_for_the_native_way_alone(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[bool, set[bool]] = {True: set(), False: set()}
    model = small("gru")

    class Watched(DilatedRNN):
        def forward(self, inputs: torch.Tensor, *, prune: bool = True) -> torch.Tensor:
            inside = any(frame.f_code.co_name == "native" for frame in _frames())
            seen[inside].add(torch.backends.cudnn.enabled)
            return super().forward(inputs, prune=prune)

    def watched(_: Cell) -> DilatedRNN:
        found = Watched(model.spec)
        found.load_state_dict(model.state_dict())
        return found.eval()

    monkeypatch.setattr(timing, "paper_network", watched)
    done(timing.latency(setting, "gru", "torch-native"))
    assert seen == {True: {False}, False: {True}}


def _frames() -> Iterator[Any]:
    frame = sys._getframe()
    while frame.f_back:
        frame = frame.f_back
        yield frame


def test_streams_carry_state_and_agree_with_torch(exported: Setting) -> None:
    for runtime in RUNTIMES["cpu"]:
        rows = done(timing.streams(exported, "gru", runtime))["rows"]
        assert [(row["form"], row["chunk"]) for row in rows] == [("step", 1), ("chunk", 32)]
        assert list(rows[0]["milliseconds"]) == list(dict.fromkeys(("torch", runtime)))


@pytest.mark.usefixtures("off")
@pytest.mark.parametrize("part", [timing.latency, timing.streams])
def test_wrong_numbers_are_not_timed(part: Callable[..., Any], exported: Setting) -> None:
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        done(part(exported, "gru", "onnxruntime-cpu"))


@pytest.mark.parametrize("task", ["copy-memory", "speaker-id"])
def test_inputs_of_the_zoos_networks_are_of_their_kind(task: str) -> None:
    checkpoint = checkpoint_of(task)
    for inputs in timing._samples(checkpoint.dilated, 2, 9):
        with torch.no_grad():
            assert len(checkpoint.network()(torch.from_numpy(inputs))) == 2


class Recorded(TensorRTSession):
    """Runs through another session, and says whether it was recorded."""

    def __init__(self, inner: Session, graph: GraphInfo) -> None:
        super().__init__(graph, None)
        self._inner, self.captured, self.runs = inner, False, 0

    def capture(self) -> None:
        self.captured = True

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        self.runs += 1
        return self._inner.run(inputs)


def test_an_engine_is_timed_beside_its_own_record(exported: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[Recorded] = []

    class Engines(OnnxRuntime):
        @contextlib.contextmanager
        def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Any]:
            with super().load(bundle, graph) as session:
                sessions.append(Recorded(session, graph))
                yield sessions[-1]

    monkeypatch.setitem(registry.RUNTIMES, "onnxruntime-cpu", Engines("cpu"))
    rows = done(timing.graphs(exported, "gru", "onnxruntime-cpu"))["rows"]
    assert [row["batch"] for row in rows] == [1, 32]
    assert [list(row["milliseconds"]) for row in rows] == [["kernels", "graph"]] * 2
    assert [session.captured for session in sessions] == [False, True] * 2
    assert all(session.runs >= 6 for session in sessions)


def test_torch_records_nothing_without_cuda(setting: Setting) -> None:
    with pytest.raises(RuntimeUnavailableError, match="need CUDA"):
        done(timing.graphs(setting, "gru", "torch"))


def test_a_summary_is_of_all_times_and_of_five_parts() -> None:
    found = summary([1.0] * 20 + [3.0] * 20 + [2.0] * 60)
    assert found == {"median": 2.0, "p95": 3.0, "p99": 3.0, "noise_low": 1.0, "noise_high": 3.0, "runs": 100}
    assert summary([5.0])["noise_low"] == 5.0
    assert [summary(list(range(1, 1001)))[name] for name in ("p95", "p99")] == [950.0, 990.0]

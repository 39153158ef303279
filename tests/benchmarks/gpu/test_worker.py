"""The parts of a GPU's check, run on the CPU over a small network wherever they can be."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import sysconfig
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.gpu import bundles, kernel, tf32, timing, training, worker
from benchmarks.gpu.bundles import checkpoint_of, open_bundle, sets_of, write_bundles
from benchmarks.gpu.plan import (
    BASELINE,
    OVERRIDES,
    RUNTIMES,
    SMOKE,
    SURVEY,
    TORCH_WAYS,
    Row,
    Rows,
    Setting,
    all_parts,
    networks,
)
from benchmarks.gpu.timing import summary
from benchmarks.gpu.worker import _verdict, parity, reply, run_part
from benchmarks.networks import paper_network
from drnn_core.errors import EngineError, InputError, RuntimeUnavailableError
from drnn_deploy.exporter.engines import EngineResult
from drnn_models.cells import Cell
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes import registry
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.session import Session
from drnn_runtimes.trt.session import TensorRTSession
from tests.networks import make_case

LENGTH = 12


def small(cell: Cell) -> DilatedRNN:
    torch.manual_seed(0)
    return DilatedRNN(ModelSpec(cell, (3, 3), (1, 2), Continuous(1), Head("last", 2))).eval()


def done(found: Row | Rows) -> Row:
    """What a part answers, with the rows that it yielded before."""
    if not isinstance(found, Generator):
        return found
    rows: list[Row] = []
    while True:
        try:
            rows.append(next(found))
        except StopIteration as end:
            return {**end.value, "rows": rows}


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    for module in (bundles, timing):
        monkeypatch.setattr(module, "paper_network", small)
        monkeypatch.setattr(module, "STEPS", LENGTH)
    monkeypatch.setattr(timing, "_QUICK", (0.0, 6))
    return Setting("cpu", True, tmp_path)


@pytest.fixture
def exported(setting: Setting) -> Setting:
    assert write_bundles(setting, "gru")["status"] == "ok"
    return setting


def test_graphs_are_of_all_precisions_and_forms(setting: Setting) -> None:
    found = write_bundles(setting, "gru")
    graphs = [(row["set"], row["graph"]) for row in found["graphs"]]
    timed = [(f"b{batch}", f"sequence/fused{end}") for batch in (1, 32) for end in ("", "/fp16")]
    assert graphs == [*timed, ("stream", "chunk32/unrolled"), ("stream", "step/unrolled")]
    for quick in (True, False):
        sets = sets_of(dataclasses.replace(setting, quick=quick), networks()[0][0])
        assert {precision for options in sets.values() for precision in options["precisions"]} == {
            *("fp32", "fp16", "bf16", "int8")
        }
    assert set(sets) == {"sequence", "stream", "chunk", "blocked", "unrolled"}


def test_the_networks_are_the_zoos_and_the_papers() -> None:
    zoo, cells = networks()
    assert {"copy-memory", "pixel-mnist", "ptb-char", "speaker-id"} <= set(zoo)
    assert cells == list(get_args(Cell))
    assert checkpoint_of("copy-memory").task["name"] == "copy-memory"
    assert checkpoint_of("lstm").dilated == paper_network("lstm").spec


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
    import sys

    frame = sys._getframe()
    while frame.f_back:
        frame = frame.f_back
        yield frame


def test_streams_carry_state_and_agree_with_torch(exported: Setting) -> None:
    for runtime in RUNTIMES["cpu"]:
        rows = done(timing.streams(exported, "gru", runtime))["rows"]
        assert [(row["form"], row["chunk"]) for row in rows] == [("step", 1), ("chunk", 32)]
        assert list(rows[0]["milliseconds"]) == list(dict.fromkeys(("torch", runtime)))


class Off(OnnxRuntime):
    """A runtime whose numbers are off by a little."""

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Any]:
        with super().load(bundle, graph) as session:
            run = session.run

            def off(inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[Any]]:
                return {name: value + np.float32(1e-3) for name, value in run(inputs).items()}

            session.run = off  # type: ignore[method-assign]
            session.bind = lambda ins, outs: (
                lambda: [  # type: ignore[assignment,method-assign]
                    outs[name].__setitem__(..., value) for name, value in off(ins).items()
                ]
            )
            yield session


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.RUNTIMES, "onnxruntime-cpu", Off("cpu"))


@pytest.mark.usefixtures("off")
@pytest.mark.parametrize("part", [timing.latency, timing.streams])
def test_wrong_numbers_are_not_timed(part: Callable[..., Any], exported: Setting) -> None:
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        done(part(exported, "gru", "onnxruntime-cpu"))


@pytest.fixture
def checked(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """A small network in the place of one of the zoo's, in all precisions and forms."""
    case = make_case(small("gru").spec, 1, LENGTH)
    monkeypatch.setattr(
        bundles, "checkpoint_of", lambda *_: dataclasses.replace(case.checkpoint(), task={"length": LENGTH})
    )
    full = dataclasses.replace(setting, quick=False)
    assert write_bundles(full, "some")["status"] == "ok"
    return full


def test_parity_covers_every_graph_or_says_why_not(checked: Setting) -> None:
    found = done(parity(checked, "some", "onnxruntime-cpu"))
    assert found["status"] == "ok"
    assert {row["precision"] for row in found["rows"]} == {"fp32", "fp16", "int8"}
    assert {row["graph"].partition("/")[0] for row in found["rows"]} == {"sequence", "chunk32", "step"}
    assert all("bfloat16" in row["reason"] for row in found["left_out"])
    graphs = sum(len(open_bundle(checked, "some", of, "").graphs) for of in sets_of(checked, "some"))
    assert len(found["rows"]) + len(found["left_out"]) == graphs


def test_rows_are_sent_as_they_are_found(checked: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash on a later graph, or the end of the time, must not lose them."""
    from drnn_deploy.parity import check as engine

    checks: list[Any] = []
    check = engine.check_parity
    monkeypatch.setattr(engine, "check_parity", lambda *given: checks.append(given) or check(*given))
    rows = parity(checked, "some", "onnxruntime-cpu")
    next(rows)
    assert len(checks) == 1


@pytest.mark.parametrize("runtime", RUNTIMES["cpu"])
def test_what_tf32_does_is_measured_with_both_settings_of_the_switch(runtime: str, checked: Setting) -> None:
    found = done(tf32.rounding(checked, "some", runtime, OVERRIDES[0]))
    assert found["status"] == "ok"
    assert [(row["allowed"], row["override"], row["passed"]) for row in found["rows"]] == [
        (False, "0", True),
        (True, "0", True),
    ]
    assert all(0 < row["in_noise"] < 8 for row in found["rows"])


@pytest.mark.parametrize(("override", "status"), [("0", "failed"), ("unset", "ok")])
def test_float32_that_is_not_float32_fails_only_where_both_say_that_it_is(
    override: str, status: str, checked: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable unset it is what the check wants to know."""
    right = tf32.OnnxRuntimeSession.run

    def coarse(self: Any, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[Any]]:
        return {name: value + np.float32(1e-3) for name, value in right(self, inputs).items()}

    monkeypatch.setattr(tf32.OnnxRuntimeSession, "run", coarse)
    found = done(tf32.rounding(checked, "some", "onnxruntime-cpu", override))
    assert found["status"] == status
    assert not any(row["passed"] for row in found["rows"])


@pytest.mark.parametrize("task", ["copy-memory", "speaker-id"])
def test_inputs_of_the_zoos_networks_are_of_their_kind(task: str) -> None:
    checkpoint = checkpoint_of(task)
    for inputs in timing._samples(checkpoint.dilated, 2, 9):
        with torch.no_grad():
            assert len(checkpoint.network()(torch.from_numpy(inputs))) == 2


def test_the_smoke_test_is_of_all_cells_in_moments(tmp_path: Path) -> None:
    setting = Setting("cpu", True, tmp_path)
    assert write_bundles(setting, SMOKE)["status"] == "ok"
    for runtime in RUNTIMES["cpu"]:
        found = done(run_part(setting, f"{SMOKE}/{runtime}"))
        assert found["status"] == "ok"
        assert [row["graph"].partition("/")[0] for row in found["rows"]] == list(get_args(Cell))


def test_bundles_are_kept_while_they_would_be_made_of_the_same(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports: list[str] = []
    real = bundles.export
    monkeypatch.setattr(bundles, "export", lambda *given: exports.append(given[1].name) or real(*given))
    first = write_bundles(setting, "gru")
    assert exports == ["b1", "b32", "stream"]
    assert write_bundles(setting, "gru") == first
    assert exports == ["b1", "b32", "stream"]
    next((setting.work / "gru" / "b1").glob("*.onnx")).write_bytes(b"damaged")
    (setting.work / "gru" / "stream.made-of").write_text("of other weights", encoding="utf-8")
    assert write_bundles(setting, "gru") == first
    assert exports[3:] == ["b1", "stream"]


@pytest.mark.usefixtures("off")
def test_parity_that_fails_is_told_with_the_graph(checked: Setting) -> None:
    found = done(parity(checked, "some", "onnxruntime-cpu"))
    assert found["status"] == "failed"
    assert "sequence/fused: error 0.00" in found["reason"]


def test_a_verdict_puts_wrong_numbers_before_refusals() -> None:
    good = {"graph": "g", "passed": True, "exit_code": 0, "reason": ""}
    refused = {"graph": "r", "passed": False, "exit_code": 3, "reason": "a node landed elsewhere"}
    broken = {"graph": "b", "passed": False, "exit_code": 2, "reason": "cannot run"}
    wrong = {"graph": "w", "passed": False, "exit_code": 1, "reason": "", "error": 1.0, "in_noise": 99.0}
    assert _verdict([good], []) == {"status": "ok"}
    assert _verdict([good, refused], []) == {
        "status": "refused",
        "reason": "1 of 2 graphs; r: a node landed elsewhere",
    }
    assert _verdict([broken], [])["status"] == "failed"
    assert _verdict([refused, wrong], []) == {
        "status": "failed",
        "reason": "2 of 2 graphs; w: error 1.0, 99.0 times the noise",
    }
    assert _verdict([], [{"graph": "", "reason": "no GPU"}]) == {"status": "missing", "reason": "no GPU"}


def test_the_survey_says_what_cannot_run_and_why(setting: Setting) -> None:
    found = worker.survey(setting)
    assert found["runtimes"]["onnxruntime-cpu"]["usable"]
    for name, entry in found["blocked"].items():
        assert entry["status"] in ("missing", "refused")
        assert entry["reason"].startswith(found["runtimes"][name]["detail"])
    assert {name for name, entry in found["runtimes"].items() if not entry["usable"]} == set(found["blocked"])


def test_a_gpu_that_the_compiler_does_not_know_is_a_refusal(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX runs on a GPU of compute capability 9.0 but does not build for it."""
    pytest.importorskip("tensorrt_rtx")
    from drnn_core import gpu
    from drnn_export.engine import build

    hopper = gpu.Gpu("NVIDIA H100", "9.0", "CUDA 13.0")
    monkeypatch.setattr(gpu, "gpu", lambda: hopper)
    monkeypatch.setattr(build, "gpu", lambda: hopper)
    entry = worker.survey(setting)["blocked"]["tensorrt-rtx"]
    assert entry["status"] == "refused"
    assert "does not build for compute capability 9.0" in entry["reason"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EngineError("e"), "refused"),
        (RuntimeUnavailableError("e"), "refused"),
        (InputError("e"), "failed"),
        (ValueError("e"), "failed"),
    ],
)
def test_what_a_part_raises_is_its_reply(error: Exception, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(worker, "run_part", failing)
    found = done(reply({"part": "export/gru", "device": "cpu", "quick": True, "work": ""}))
    assert found["status"] == status
    assert "e" in found["reason"]


def test_every_kind_of_part_is_known(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[Any, ...]] = []
    for module, names in (
        (worker, ("survey", "parity")),
        (tf32, ("rounding",)),
        (bundles, ("write_bundles",)),
        (timing, ("latency", "streams", "graphs")),
        (kernel, ("parity", "times")),
        (training, ("steps",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, lambda *arguments: called.append(arguments) or {})
    parts = all_parts("cuda", quick=True)
    for part in parts:
        run_part(setting, part.name)
    words = [part.name.removeprefix("smoke/") if part.name != SURVEY else "" for part in parts]
    expected = [
        ("smoke", word) if part.name == f"smoke/{word}" else tuple(word.split("/")[1:])
        for part, word in zip(parts, words, strict=True)
    ]
    assert [arguments[1:] for arguments in called] == expected


def test_engines_are_built_and_those_that_are_not_say_why(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ahead of time, for a GPU that is not here; the builds of one set are pretended to have been refused."""
    pytest.importorskip("tensorrt_rtx")
    options = {"length": LENGTH, "emissions": ("fused",), "batch": 1, "compute_capabilities": ("8.6",)}
    monkeypatch.setattr(bundles, "sets_of", lambda *_: {"b1": options})
    found = write_bundles(setting, "gru", "tensorrt-rtx")
    (row,) = found["engines"]
    assert (found["status"], row["status"], row["graph"]) == ("ok", "ok", "sequence/fused")
    assert row["build_seconds"] > 0
    assert row["kernels"] >= 1
    bundle = open_bundle(setting, "gru", "b1", "tensorrt-rtx")
    assert row["engine_bytes"] == bundle.path(bundle.engines[0].file).stat().st_size
    refused = EngineResult("tensorrt-rtx", "sequence/fused", None, "no such kernel", "Use another.", failed=True)
    assert bundles._engine_row(refused)["reason"] == "no such kernel Use another."
    monkeypatch.setattr(bundles, "_engine_row", lambda _: {"graph": "g", "status": "refused", "reason": "no"})
    found = write_bundles(setting, "gru", "tensorrt-rtx")
    assert (found["status"], found["reason"]) == ("refused", "1 of 1 engines were not built; g: no")


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

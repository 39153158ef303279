"""Measuring in turn, in child processes."""

from __future__ import annotations

import dataclasses
import io
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from drnn_core.plain_data import schema_error
from drnn_deploy.bench.answers import answer_for
from drnn_deploy.bench.measure import Effort, Runner, Task, in_turn, measure_row, rounds_of
from drnn_deploy.bench.registry import CONTENDERS
from drnn_deploy.bench.results import Absent, BenchReport, Measured, Row
from drnn_deploy.bench.settings import Setting, write_row
from drnn_deploy.bench.statistics import summarise
from drnn_deploy.bench.worker import Job, reply
from drnn_deploy.cli.bench import show
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import Bundle

SETTING = Setting("step", 1, 2)
QUICK = Effort(seconds=0.02, rounds=2)
ORT = [CONTENDERS["onnxruntime-cpu"]]


@pytest.fixture(scope="module")
def bundle(network: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_row(network, SETTING, ("fused", "skewed"), tmp_path_factory.mktemp("row") / "bundle")


@pytest.fixture(scope="module")
def row(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Row:
    return measure_row(bundle, SETTING, ORT, tmp_path_factory.mktemp("work"), effort=QUICK)


def test_each_contender_is_timed_with_what_it_takes(row: Row) -> None:
    assert [entry.name for entry in row.measured] == ["onnxruntime-cpu fused", "onnxruntime-cpu skewed"]
    for entry in row.measured:
        assert entry.status == "ok" and entry.time is not None and entry.time.rounds == QUICK.rounds, entry
        assert entry.ready_seconds is not None and entry.load_seconds is not None
        assert entry.ready_seconds > entry.load_seconds, "the first time imports ONNX Runtime"
        assert entry.file_bytes and entry.memory_bytes and entry.own_bytes
        assert entry.memory_bytes > entry.own_bytes > 1 << 20
        assert entry.in_noise is not None and entry.in_noise <= 8
    assert [entry.delay for entry in row.measured] == [0, 1]


def test_the_machine_is_measured_beside_them(row: Row) -> None:
    assert row.gauges is not None and row.limit is not None and row.noise is not None
    assert row.gauges.peak > 0
    for entry in row.measured:
        figures = row.figures(entry)
        assert figures["operations_per_second"] == pytest.approx(figures["share_of_peak"] * row.gauges.peak)
        assert figures["steps_per_second"] * figures["microseconds_per_step"] == pytest.approx(2e6)


def test_json_keeps_to_the_schema(row: Row) -> None:
    refused = dataclasses.replace(row.measured[0], status="refused", reason="no", time=None, file_bytes=None)
    bare = dataclasses.replace(row, measured=(refused,), gauges=None)
    report = BenchReport("a network", 1, (row, bare), (Absent("tract", "not installed", ""),))
    written = report.to_json()
    assert schema_error(written, "drnn_deploy.bench", "bench.schema.json") is None
    for part in (written, written["rows"][0], written["rows"][0]["contenders"][0]):
        part["more"] = 1
        assert schema_error(written, "drnn_deploy.bench", "bench.schema.json") is not None
        del part["more"]


def test_what_computes_something_else_is_not_timed(bundle: Bundle, tmp_path: Path) -> None:
    altered = dataclasses.replace(bundle, graphs=bundle.graphs[:1])
    weights = {name: value.copy() for name, value in bundle.weights.items()}
    weights["layers.0.weight_hh_l0"][0, 0] += 0.01
    altered.__dict__["weights"] = weights  # what is right is computed from these, the graph's file has the others
    row = measure_row(altered, SETTING, ORT, tmp_path, effort=QUICK)
    (entry,) = row.measured
    assert (entry.status, entry.time, row.gauges) == ("wrong", None, None)
    assert re.fullmatch(r"error \S+ where \S+ passes", entry.reason)
    assert BenchReport("a network", 1, (row,), ()).exit_code == 1


def test_what_takes_too_long_is_given_up(bundle: Bundle, tmp_path: Path) -> None:
    alone = dataclasses.replace(bundle, graphs=bundle.graphs[:1])
    row = measure_row(alone, SETTING, ORT, tmp_path, effort=dataclasses.replace(QUICK, limit=0.01))
    (entry,) = row.measured
    assert (entry.status, entry.reason, entry.time) == ("too slow", "takes over 0.01 s", None)
    assert BenchReport("a network", 1, (row,), ()).exit_code == 3


def test_a_graph_that_is_refused_says_why(bundle: Bundle, tmp_path: Path) -> None:
    alone = dataclasses.replace(bundle, graphs=bundle.graphs[1:])
    (entry,) = measure_row(alone, SETTING, [CONTENDERS["torch-eager"]], tmp_path, effort=QUICK).measured
    assert (entry.status, entry.reason) == ("refused", "has all layers at one step")


def test_one_that_was_named_and_never_ran_is_exit_code_3(row: Row) -> None:
    refused = Measured("torch-onnx", "", "refused", "the module is exported without state")
    both = dataclasses.replace(row, measured=(*row.measured, refused))
    assert BenchReport("a network", 1, (both,), ()).exit_code == 0, "nobody named it"
    named = BenchReport("a network", 1, (both,), (), ("onnxruntime-cpu", "torch-onnx"))
    assert (named.exit_code, named.untimed) == (3, ("torch-onnx",))
    timed = dataclasses.replace(refused, status="ok", reason="", time=row.measured[0].time)
    other = dataclasses.replace(row, measured=(timed,))
    assert dataclasses.replace(named, rows=(both, other)).exit_code == 0, "it ran in one of the rows"


def test_children_are_told_their_threads_and_keep_their_files_apart(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    class Told:
        def __init__(self, module: str, environment: dict[str, str]) -> None:
            self.environment = environment

        def ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
            asked.append(self.environment | request["job"])
            return {"refused": "enough"}

        def close(self) -> None:
            pass

    monkeypatch.setattr("drnn_deploy.bench.measure.Child", Told)
    row = measure_row(bundle, SETTING, ORT, tmp_path, threads=2, effort=QUICK)
    assert [entry.reason for entry in row.measured] == ["enough", "enough"]
    for job in asked:
        assert (job["OMP_NUM_THREADS"], job["RAYON_NUM_THREADS"], job["threads"]) == ("2", "2", 2)
        assert job["DRNN_CACHE"] == job["folder"], "what it compiles counts as its own"
    assert len({job["folder"] for job in asked}) == 2
    assert [entry.threads for entry in row.measured] == [2, 2]


def test_threads_are_said_of_those_that_have_a_setting_for_them(row: Row) -> None:
    own = dataclasses.replace(row.measured[0], contender="native", threads=None)
    report = BenchReport("a network", 4, (dataclasses.replace(row, measured=(*row.measured, own)),), ())
    assert report.unset == ("native",)
    console = Console(file=(shown := io.StringIO()), width=200)
    show(console, report, Path("b"))
    assert "threads: 4 each (native: no setting)" in shown.getvalue()


def test_a_reason_names_no_folder_of_this_machine(bundle: Bundle, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))
    (damaged / "model.onnx").write_bytes(b"no graph")
    np.save(tmp_path / "inputs.npy", np.zeros((2, 4, 2), np.float32))
    files = {name: str(tmp_path / name) for name in ("folder", "outputs")}
    job = Job("onnxruntime-cpu", str(damaged), "model.onnx", 2, 1, inputs=str(tmp_path / "inputs.npy"), **files)
    refused = reply({"do": "open", "job": dataclasses.asdict(job)})["refused"]
    assert "model.onnx" in refused and str(tmp_path) not in refused


@pytest.mark.parametrize("seconds, rounds", [(0.0, 20), (1e-6, 20), (0.15, 20), (0.3, 10), (0.9, 3), (2.9, 3), (9, 3)])
def test_slow_runs_are_timed_for_about_as_long_as_fast_ones(seconds: float, rounds: int) -> None:
    assert rounds_of(seconds, Effort(seconds=3.0, rounds=20)) == rounds
    assert rounds_of(seconds, Effort(seconds=3.0, rounds=2)) == 2


def test_the_limit_is_of_a_row_and_not_of_each_request(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[float] = []

    class Slow:
        def __init__(self, module: str, environment: dict[str, str]) -> None:
            pass

        def ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
            limits.append(limit)
            time.sleep(0.1)
            return {}

        def close(self) -> None:
            pass

    monkeypatch.setattr("drnn_deploy.bench.measure.Child", Slow)
    effort = Effort(seconds=0.1, rounds=2, limit=10.0)
    case = answer_for(bundle.spec, bundle.weights, bundle.graphs)
    runner = Runner(Task(bundle, SETTING, case, tmp_path, 1, effort), ORT[0], bundle.graphs[0], "it")
    runner.open()
    runner.ask(do="burst")
    runner.ask(do="burst")
    assert limits == sorted(limits, reverse=True) and limits[0] == 10.0 and limits[2] < 9.85


class _Recorded(Runner):
    """A runner without a child."""

    def __init__(self, name: str, log: list[str], *, ends: int = 99, rounds: int = 3) -> None:
        self.rounds = rounds
        self.measured, self._name, self._log, self._ends = Measured(name, "", "ok"), name, log, ends

    def ask(self, **request: Any) -> dict[str, Any]:
        if self._log.count(self._name) >= self._ends:
            return {}
        if request["do"] == "finish":
            return dataclasses.asdict(summarise([[1.0]]))
        self._log.append(self._name)
        assert request["seconds"] == pytest.approx(0.1)
        return {"calls": 1}


def test_contenders_take_turns_and_one_that_breaks_off_leaves_the_others() -> None:
    log: list[str] = []
    runners = [_Recorded("A", log), _Recorded("B", log, ends=1), _Recorded("C", log), _Recorded("D", log, rounds=2)]
    times = in_turn(runners, Effort(seconds=0.3, rounds=3))
    assert "".join(log) == "ABCACDACD"
    assert [time is not None for time in times] == [True, False, True, True]
    assert np.isfinite([time.median for time in times if time]).all()

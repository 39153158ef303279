"""The parts of a GPU's check, run on the CPU over a small network: parity, the survey, and what a part replies."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from benchmarks.gpu import bundles, kernel, tf32, timing, training, worker
from benchmarks.gpu.bundles import open_bundle, sets_of, write_bundles
from benchmarks.gpu.plan import RUNTIMES, SMOKE, SURVEY, Setting, all_parts
from benchmarks.gpu.worker import _verdict, parity, reply, run_part
from drnn_core.errors import EngineError, InputError, RuntimeUnavailableError
from drnn_models.cells import Cell
from tests.benchmarks.gpu.small_parts import done


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
    monkeypatch.setattr(engine, "check_parity", lambda *given, **how: checks.append(given) or check(*given, **how))
    rows = parity(checked, "some", "onnxruntime-cpu")
    next(rows)
    assert len(checks) == 1


def test_the_smoke_test_is_of_all_cells_in_moments(tmp_path: Path) -> None:
    setting = Setting("cpu", True, tmp_path)
    assert write_bundles(setting, SMOKE)["status"] == "ok"
    for runtime in RUNTIMES["cpu"]:
        found = done(run_part(setting, f"{SMOKE}/{runtime}"))
        assert found["status"] == "ok"
        assert [row["graph"].partition("/")[0] for row in found["rows"]] == list(get_args(Cell))


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

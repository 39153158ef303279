"""What the commands print, word for word: terminals of 80 and 60 columns, a pipe, and NO_COLOR. No figure is ever cut.

After a change that was meant: DRNN_WRITE_TRANSCRIPTS=1 pytest FILE, and read the difference.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drnn_deploy.exporter import pipeline
from drnn_deploy.exporter.engines import EngineResult
from drnn_deploy.exporter.pipeline import ExportResult
from drnn_deploy.matrix import run as matrix
from drnn_deploy.parity.results import CaseResult, Missing, ParityReport, ParityRow
from drnn_deploy.parity.tolerance import Tolerance
from drnn_deploy.planner import plan as planner
from drnn_deploy.planner.plan import Plan
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from tests.drnn_deploy.reports.made_up import case

Command = Callable[..., Any]  # see conftest
TRANSCRIPTS = Path(__file__).parent / "transcripts"
FILES = Path(__file__).parents[2] / "fixtures" / "files-0.1.0"
TERMINAL = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": ""}
WHERE: dict[str, dict[str, str]] = {
    "80": {**TERMINAL, "COLUMNS": "80"},
    "60": {**TERMINAL, "COLUMNS": "60"},
    "pipe": {},
    "no-color": {**TERMINAL, "COLUMNS": "80", "NO_COLOR": "1"},
}
COMMANDS = {
    "export": ("export", "model.pt", "--output", "model-bundle"),
    "plan": ("plan", "model.pt", "--throughput"),
    "parity": ("parity", "bundle"),
    "inspect": ("inspect", "bundle"),
    "doctor": ("doctor",),
}
FIGURE = re.compile(r"\d[\d,.]*(?:e[+-]\d+)?")


def parity_row(runtime: str, graph: str, *cases: CaseResult, milliseconds: float | None, **more: Any) -> ParityRow:
    passed = all(each.passed for each in cases)
    return ParityRow(
        runtime, graph, "fp32", passed, cases, milliseconds, steps=784, **{"batch": 1, "seconds": 12.34, **more}
    )


def made_up_report() -> ParityReport:
    reference = dataclasses.replace(case(noises=0.0), absolute=2.3e-17)
    rows = (
        dataclasses.replace(parity_row("reference", "sequence", reference, milliseconds=None), precision="fp64"),
        parity_row("torch", "sequence", case(noises=0.12), milliseconds=2.4512),
        parity_row("onnxruntime-tensorrt", "sequence/unrolled", case(noises=123.4567), milliseconds=1234.5, batch=16),
        parity_row("onnxruntime-cpu", "chunk32/fused", case(noises=0.2), milliseconds=0.0123, caveat="on a quiet day"),
    )
    missing = (
        Missing("torch-cuda", "", "there is no GPU", "Run on one."),
        Missing("tensorrt", "", "the module is not installed", "pip install tensorrt"),
        Missing("tract", "sequence/unrolled", "15,736 nodes are more than 1,000", ""),
    )
    return ParityReport(rows, missing, Tolerance(9.0), network="gru 3 x 4", notes=("what was left out",))


@functools.cache
def made_up_plan() -> Plan:
    """A small network's, with costs that do not change as the model of them does."""
    spec = ModelSpec("gru", (20,) * 9, tuple(2**layer for layer in range(9)), Continuous(1), Head("sequence", 10))
    real = planner.make_plan(spec, "onnxruntime-cpu", "throughput", length=784)
    names = ("sequence/fused", "sequence/unrolled", "step/skewed", "chunk32/fused", "chunk256/fused")
    chosen = [candidate for name in names for candidate in real.candidates if candidate.name == name]
    fixed = tuple(
        dataclasses.replace(
            candidate,
            work=dataclasses.replace(
                candidate.work, size=dataclasses.replace(candidate.work.size, nodes=12345 * n + 1)
            ),
            cost=98765.4321 / 3**n,
            build_seconds=432.1 / 4**n,
            engine_bytes=15271164.0 / (n + 1),
        )
        for n, candidate in enumerate(chosen)
    )
    assert [isinstance(candidate.request, GraphRequest) for candidate in fixed] == [True] * len(names)
    return Plan(real.target, real.goal, fixed, fixed[-1], "the least cost of a step: 4.76 us")


def made_up_facts() -> dict[str, Any]:
    can = {"usable": True, "detail": "NumPy 2.0, float64, CPU", "fix": ""}
    fix = "Run on a machine with an NVIDIA GPU, its driver and a CUDA build of PyTorch."
    detail = "ONNX Runtime 1.31.1 has the TensorRT provider, but no NVIDIA driver is installed"
    cannot = {"usable": False, "detail": detail, "fix": fix}
    return {
        "python": "3.11.7",
        "platform": "Linux x86_64",
        "gpu": "none: no NVIDIA driver is installed",
        "packages": {"drnn-deploy": "0.1.0", "torch": None},
        "providers": ["CPUExecutionProvider"],
        "runtimes": {"reference": can, "onnxruntime-tensorrt": cannot, "torch-cuda": cannot},
        "engine builders": {"tensorrt": {"usable": False, "detail": "not installed", "fix": "pip install tensorrt"}},
        "plugins": {"kernel in an engine": {"usable": True, "detail": "NVRTC 13.0", "fix": ""}},
    }


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commands find the same network, figures and machine whenever and wherever they run."""
    from drnn_deploy.cli import doctor

    bundle, report, plan = Bundle.open(FILES / "bundle"), made_up_report(), made_up_plan()
    engines = (
        EngineResult("tensorrt-rtx", "sequence/unrolled", None, "it would take about 433 s;", "--engine-seconds 1299"),
    )
    result = ExportResult(dataclasses.replace(bundle, folder=Path("model-bundle")), report, engines)
    monkeypatch.setattr(Bundle, "path", lambda _, name: FILES / "bundle" / name)
    monkeypatch.setattr(pipeline, "export", lambda *_, **__: result)
    monkeypatch.setattr(matrix, "check_path", lambda *_, **__: report)
    monkeypatch.setattr(planner, "plan_checkpoint", lambda *_, **__: plan)
    monkeypatch.setattr("drnn_deploy.planner.notes.plan_notes", lambda target: [f"estimates for {target}"])
    monkeypatch.setattr(doctor, "examine", made_up_facts)
    (tmp_path / "model.pt").symlink_to(FILES / "model.pt")
    (tmp_path / "bundle").symlink_to(FILES / "bundle")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def printed(command: Command, made_up: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a command prints, escape codes spelt out."""

    def run(*words: str, **where: str) -> str:
        for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "COLORTERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in where.items():
            monkeypatch.setenv(name, value)
        columns = where.get("COLUMNS")
        ran = command("drnn-deploy", *words, columns=columns)
        return str(ran.out).replace("\x1b", "ESC")

    return run


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", COMMANDS)
def test_transcript(printed: Callable[..., str], name: str, where: str) -> None:
    text, path = printed(*COMMANDS[name], **WHERE[where]), TRANSCRIPTS / f"{name}-{where}.txt"
    if os.environ.get("DRNN_WRITE_TRANSCRIPTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["export", "plan", "parity"])
def test_a_narrow_terminal_loses_columns_and_no_figure(printed: Callable[..., str], name: str) -> None:
    """Every figure of a narrow table is one of the widest; lines of a table fit."""
    whole = set(FIGURE.findall(printed(*COMMANDS[name])))
    for columns in range(56, 130, 7):
        text = re.sub(r"ESC\[[\d;]*m", "", printed(*COMMANDS[name], **TERMINAL, COLUMNS=str(columns)))
        assert set(FIGURE.findall(text)) <= whole, columns
        table = [line for line in text.splitlines() if line.startswith((" ", "─"))]
        assert table and max(map(len, table)) <= columns


def test_no_color_has_no_colour_and_a_pipe_no_escape_code(printed: Callable[..., str]) -> None:
    for name, words in COMMANDS.items():
        assert "ESC" not in printed(*words), name
        assert not re.search(r"ESC\[(?:\d+;)?3\dm", printed(*words, **WHERE["no-color"])), name


def test_verbose_says_every_reason_and_quiet_only_the_end(printed: Callable[..., str]) -> None:
    usual, verbose = printed(*COMMANDS["parity"]), printed(*COMMANDS["parity"], "--verbose")
    assert "not run 2 runtimes unavailable (torch-cuda, tensorrt): drnn-deploy doctor" in usual
    assert "not run tract sequence/unrolled: --verbose says why" in usual
    assert "not run tract sequence/unrolled: 15,736 nodes are more than 1,000." in verbose
    assert "there is no GPU" in verbose and "there is no GPU" not in usual
    (line,) = printed(*COMMANDS["parity"], "--quiet").splitlines()
    assert line.startswith(
        "FAILED (exit code 1) drnn-parity bundle: onnxruntime-tensorrt sequence/unrolled: error 1.2e-04"
    )
    assert printed(*COMMANDS["doctor"], "-q") == ""
    assert np.isfinite(made_up_plan().chosen.cost)

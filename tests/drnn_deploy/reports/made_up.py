"""Made-up parity reports."""

from __future__ import annotations

import numpy as np

from drnn_deploy.parity.results import CaseResult, FileResult, Measured, Missing, ParityReport, ParityRow, TaskResult
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE

NOISE = 1e-6


def case(name: str = "normal", noises: float | None = 1.0, agreement: float = 1.0) -> CaseResult:
    absolute = None if noises is None else noises * NOISE
    passed = noises is not None and noises <= NOISE_MULTIPLE
    growth = () if absolute is None else tuple(float(v) for v in np.linspace(absolute / 9, absolute, 16))
    limit = NOISE_MULTIPLE * NOISE
    bad = None if passed else 7
    worst = None if absolute is None else (absolute, limit)
    return CaseResult(name, absolute, absolute, noises, NOISE, limit, passed, bad, growth, agreement, None, worst=worst)


def row(runtime: str, *cases: CaseResult, graph: str = "sequence/fused", milliseconds: float = 2.0) -> ParityRow:
    passed = all(each.passed for each in cases)
    return ParityRow(runtime, graph, "fp32", passed, cases, milliseconds, steps=32, batch=1, seconds=0.5)


def task(changed: int = 0, value: float = 0.9) -> TaskResult:
    metrics = {"accuracy": Measured(0.9, value), "cross_entropy": Measured(0.31, 0.31)}
    return TaskResult("onnxruntime-cpu", "sequence/fused", "pixel-mnist", "20 digits", 20, metrics, changed)


def report(
    *rows: ParityRow,
    tasks: tuple[TaskResult, ...] = (task(),),
    files: tuple[FileResult, ...] = (FileResult("weights.safetensors", passed=True),),
) -> ParityReport:
    missing = (Missing("torch-cuda", "", "there is no GPU", "Run on one."),)
    return ParityReport(
        (row("reference", case(noises=0.0)), *rows),
        missing,
        network="gru 3 x 4",
        tasks=tasks,
        notes=("a note",),
        files=files,
    )

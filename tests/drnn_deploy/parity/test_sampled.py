"""A runtime that is checked for comparison alone runs some of the cases where all would take long, and says so."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, MatrixOptions, check_path, export
from drnn_deploy.exporter.expected import check_seconds
from drnn_deploy.parity import check
from drnn_deploy.parity.check import SAMPLED_SECONDS, check_parity
from drnn_deploy.parity.results import ParityReport
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import RUNTIMES
from drnn_runtimes.session import Session

NAMES = ("torch", "onnxruntime-cpu")
SHIPPED = SAMPLED_SECONDS  # the tests run with another


def checked(bundle: Bundle, **how: Any) -> ParityReport:
    return check_parity(bundle, [RUNTIMES[name] for name in NAMES], **how)


def test_torch_stops_after_its_time_and_the_graphs_runtime_does_not(pristine: Path) -> None:
    bundle = Bundle.open(pristine)
    every, sampled = checked(bundle, sampled=math.inf), checked(bundle, sampled=0.0)
    whole, part = ({row.runtime: row for row in report.rows} for report in (every, sampled))
    assert [case.case for case in part["torch"].cases] == ["normal"]
    left_out = len(whole["torch"].cases) - 1
    assert left_out > 2
    assert part["torch"].caveat == f"{left_out} cases were left out after 0 s; all run with --runtime torch"
    assert part["torch"].passed
    assert part["onnxruntime-cpu"].cases == whole["onnxruntime-cpu"].cases
    assert not whole["torch"].caveat


def test_the_time_is_ten_seconds_unless_another_is_asked_for(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SHIPPED == 10
    monkeypatch.setattr(check, "SAMPLED_SECONDS", 0.0)
    rows = {row.runtime: len(row.cases) for row in checked(Bundle.open(pristine)).rows}
    assert rows["torch"] == 1 < rows["onnxruntime-cpu"]


@pytest.mark.parametrize("names, asked", [((), None), (("torch",), math.inf)])
def test_an_export_checks_a_runtime_that_is_asked_for_on_all_cases(
    names: tuple[str, ...],
    asked: float | None,
    network: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float | None] = []

    def spy(*_: Any, sampled: float | None = None, **how: Any) -> ParityReport:
        seen.append(sampled)
        raise InputError("no check is done here")

    monkeypatch.setattr("drnn_deploy.exporter.pipeline.check_parity", spy)
    with pytest.raises(InputError, match="no check"):
        export(network, tmp_path / "new", ExportOptions(engines=(), runtimes=names or None))
    assert seen == [asked]


@pytest.mark.parametrize("options, whole", [
    (MatrixOptions(), False),
    (MatrixOptions(required=("onnxruntime-cpu",)), False),
    (MatrixOptions(required=("torch",)), True),
    (MatrixOptions(runtimes=("torch",)), True),
])  # fmt: skip
def test_a_runtime_that_is_asked_for_runs_all_cases(
    options: MatrixOptions, whole: bool, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "SAMPLED_SECONDS", 0.0)
    (row,) = (row for row in check_path(pristine, options).rows if row.runtime == "torch")
    assert ("left out" in row.caveat) is not whole and (len(row.cases) > 1) is whole


def test_a_wrong_case_that_ran_still_fails(pristine: Path) -> None:
    bundle = Bundle.open(pristine)
    wrong = {name: value * 1.01 for name, value in bundle.weights.items()}
    answers = check.ComputedAnswers(bundle.spec, wrong, bundle.graphs)
    assert not next(row for row in checked(bundle, sampled=0.0, answers=answers).rows if row.runtime == "torch").passed


def test_time_is_asked_between_cases(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(pristine)
    right = check.check_case

    def slow(session: Session, *how: Any) -> Any:
        time.sleep(0.06)
        return right(session, *how)

    monkeypatch.setattr(check, "check_case", slow)
    row = next(row for row in checked(bundle, sampled=0.1).rows if row.runtime == "torch")
    assert 1 <= len(row.cases) <= 2


def test_steps_say_how_long_the_rest_will_take(pristine: Path) -> None:
    """The first of two takes what both do, and the last what it does."""
    bundle, told = Bundle.open(pristine), []
    each = {"torch": 3.0, "onnxruntime-cpu": 4.0}
    checked(bundle, notify=told.append, expected=lambda runtime, _: each[runtime.name])
    assert [getattr(step, "left", None) for step in told] == [7.0, 4.0]
    assert all(0.1 < check_seconds(bundle.spec, RUNTIMES[name], bundle.graphs[0]) < 100 for name in RUNTIMES)

"""The format of parity reports: what is written can be read, and what cannot be read is not written."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from drnn_deploy import ExportOptions, export
from drnn_deploy.cli.parity import parity
from drnn_deploy.parity.report_format import as_check, require_format
from drnn_deploy.parity.results import ParityReport
from drnn_deploy.reports.regressions import read_baseline
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.drnn_deploy.reports.made_up import case, report, row, task
from tests.networks import random_weights

REPORT = report(row("onnxruntime-cpu", case("normal", 1.0)), row("torch", case()), tasks=(task(),))


def changed(place: str, value: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(REPORT.to_json()))
    *parts, last = place.split(".")
    at: Any = made
    for part in parts:
        at = at[int(part) if part.isdigit() else part]
    at[last] = value
    return made


def test_what_may_be_written_is_read(tmp_path: Path) -> None:
    require_format(as_check(tmp_path, REPORT.to_json()))
    (tmp_path / "parity.json").write_text(json.dumps(REPORT.to_json()), encoding="utf-8")
    assert read_baseline(tmp_path / "parity.json")["reports"][0]["rows"][1]["runtime"] == "onnxruntime-cpu"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("rows.0.cases.0.absolute", math.nan),
        ("rows.0.milliseconds", math.inf),
        ("rows.0.exit_code", 9),
        ("rows.0.verdict", "perhaps"),
        ("passed", None),
        ("invented", 1),
    ],
)
def test_what_nothing_reads_is_not_written(place: str, value: Any) -> None:
    with pytest.raises(AssertionError, match="not what its schema says"):
        require_format(as_check(Path(), changed(place, value)))


@pytest.fixture
def checkpoint_file(tmp_path: Path) -> Path:
    spec = ModelSpec("rnn", (3,), (1,), Continuous(1), Head("last", 2))
    save_checkpoint(tmp_path / "model.pt", Checkpoint(spec, random_weights(spec, 0), task={"length": 4}))
    return tmp_path / "model.pt"


def test_commands_ask_before_they_write(checkpoint_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = changed("rows.0.seconds", math.nan)
    monkeypatch.setattr(ParityReport, "to_json", lambda self: damaged)
    with pytest.raises(AssertionError, match="not what its schema says"):
        export(checkpoint_file, tmp_path / "bundle", ExportOptions(engines=(), runtimes=("onnxruntime-cpu",)))
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint_file.name]
    words = [str(checkpoint_file), "--form", "step", "--runtime", "onnxruntime-cpu", "--json", str(tmp_path / "p.json")]
    with pytest.raises(AssertionError, match="not what its schema says"):
        parity.main(words, standalone_mode=False)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint_file.name]

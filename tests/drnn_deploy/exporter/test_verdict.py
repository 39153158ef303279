"""What an export says of its check: in the exit code, on the screen and in the JSON report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from drnn_deploy.reports.regressions import read_baseline
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.exporter.exports import QUICK


def test_parity_failure_is_exit_code_1_with_the_bundle_and_the_report(command: Command, model: Path) -> None:
    out = model.parent / "bundle"
    ran = command(model, "--output", out, "--max-noise", "1e-9", "--json", model.parent / "r.json", *QUICK)
    assert ran.code == 1
    *_, last, then = ran.out.splitlines()
    wanted = re.escape(f"FAILED (exit code 1) {model} -> {out}: ") + r"\S+ sequence\S*: error .* where .* passes"
    assert re.match(wanted, last)
    assert then.endswith(f"drnn-parity {out} --explain")
    assert "FAILED onnxruntime-cpu sequence/fused: error " in ran.out
    report, written = (
        json.loads((out / "parity.json").read_text(encoding="utf-8")),
        json.loads((model.parent / "r.json").read_text(encoding="utf-8")),
    )
    assert report["passed"] is False
    assert (written["passed"], written["exit_code"]) == (False, 1)
    assert [(row["runtime"], row["passed"]) for row in report["rows"]] == [
        ("reference", True), ("torch", False), ("onnxruntime-cpu", False),
    ]  # fmt: skip
    assert Bundle.open(out).files.keys() >= {"parity.json", "golden.npz"}
    assert not read_baseline(out / "parity.json")["passed"]


def test_reference_alone_proves_nothing(command: Command, model: Path) -> None:
    ran = command(model, "--output", model.parent / "bundle", "--engine", "none", "--runtime", "reference")
    assert ran.code == 3
    assert "no runtime besides the reference ran, so nothing was compared" in ran.out
    assert "PASSED model" not in ran.out


def test_runtime_asked_for_by_name_that_can_run_no_graph_is_a_failure(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntime, "unsupported", lambda *_: "the bundle has no engine for model.onnx")
    ran = command(model, "--output", model.parent / "bundle", *QUICK)
    assert ran.code == 3
    assert "FAILED onnxruntime-cpu sequence/fused: the bundle has no engine for model.onnx" in ran.out
    assert command(model, "--output", model.parent / "bundle", "--engine", "none").code == 0  # not asked for by name


def test_advice_with_brackets_is_printed_as_it_is(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = command(model, "--output", model.parent / "bundle[bold]", "--engine", "none", "--verbose")
    assert "not run torch: PyTorch is not installed. pip install 'drnn-deploy[train]'" in ran.out
    assert ran.out.splitlines()[-2].endswith("bundle[bold]")


@pytest.mark.parametrize("target", ["file", "-"])
def test_json_on_success(command: Command, model: Path, target: str) -> None:
    place = "-" if target == "-" else model.parent / "new" / "report.json"
    ran = command(model, "--output", model.parent / "bundle", "--json", place, *QUICK)
    assert ran.code == 0
    written = json.loads(ran.out if target == "-" else Path(place).read_text(encoding="utf-8"))
    assert (written["passed"], written["exit_code"], written["engines"]) == (True, 0, [])
    assert written["bundle"] == str(model.parent / "bundle")
    assert [row["runtime"] for row in written["rows"]] == ["reference", "torch", "onnxruntime-cpu"]
    assert all(case["passed"] for row in written["rows"] for case in row["cases"])
    assert "PASSED" in (ran.err if target == "-" else ran.out)


def test_json_that_cannot_be_written_is_said_and_fails(command: Command, model: Path) -> None:
    ran = command(model, "--output", model.parent / "bundle", "--json", model / "report.json", *QUICK)
    assert ran.code == 2
    assert "cannot write" in ran.err
    assert "report.json" in ran.err

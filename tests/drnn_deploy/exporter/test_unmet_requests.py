"""Requests that cannot be met: how each is said, with which exit code, and what the files say of it."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from drnn_core import gpu
from drnn_core.errors import EngineError
from drnn_core.types import Availability
from drnn_deploy.exporter import engines, pipeline
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_runtimes.bundle import Bundle
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.exporter.exports import QUICK, names


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine without its GPU, if it has one."""
    monkeypatch.setattr(gpu, "gpu", lambda: None)
    monkeypatch.setattr(gpu, "gpu_reason", lambda: "no NVIDIA driver is installed")


def test_length_must_come_from_somewhere(command: Command, model: Path, network: Checkpoint) -> None:
    save_checkpoint(model, dataclasses.replace(network, task={}))
    ran = command(model, "--output", model.parent / "bundle", *QUICK)
    assert ran.code == 2
    assert "does not say how long its sequences are" in ran.err
    assert "--length" in ran.err
    assert command(model, "--output", model.parent / "bundle", "--length", 4, *QUICK).code == 0


@pytest.mark.parametrize("length", ["784", 7.5, [8], None])
def test_length_of_another_type_is_no_length(
    command: Command, model: Path, network: Checkpoint, length: object
) -> None:
    save_checkpoint(model, dataclasses.replace(network, task={"length": length}))
    ran = command(model, "--output", model.parent / "bundle", *QUICK)
    assert ran.code == 2
    assert "--length" in ran.err


@pytest.mark.parametrize("options, code, says", [
    (("--runtime", "caffe"), 2, ("there is no runtime 'caffe'", "onnxruntime-cpu")),
    (("--runtime", "onnxruntime-cuda"), 3, ("onnxruntime-cuda cannot run here", "GPU")),
    (("--engine", "tvm"), 2, ("there is no engine builder 'tvm'", "tensorrt-rtx")),
    (("--engine", "none", "--engine", "tensorrt-rtx"), 2, ("none contradicts every other",)),
    (("--emission", "unrolled", "--node-budget", "50"), 2, ("(12 cells), over the budget of 50", "--style operator")),
    (("--emission", "unrolled", "--batch", "dynamic"), 2, ("dynamic batch", "style operator")),
    (("--emission", "fused", "--emission", "fused"), 2, ("name each style once, got operator, operator",)),
    (("--precision", "bf16", "--batch", "dynamic"), 2, ("precision bf16 cannot take a dynamic batch", "fixed batch")),
    (("--no-ring",), 2, ("--no-ring would be ignored", "--form chunk or --form step")),
    (("--latency", "--style", "blocked"), 2, ("style blocked is for form sequence", "Leave --latency or the style")),
    (("--throughput", "--style", "pipelined"), 2, ("style pipelined is for form step", "Leave --throughput or the")),
    (("--length", "99999999"), 2, ("length and spec.dilations sum to", "--length")),
    (("--max-noise", "nan"), 2, ("must be a positive number", "--max-noise")),
    (("--max-noise", "inf"), 2, ("must be a positive number", "--max-noise")),
    (("--max-noise", "-1"), 2, ("must be a positive number", "--max-noise")),
])  # fmt: skip
@pytest.mark.usefixtures("no_gpu")
def test_request_that_cannot_be_met(
    command: Command, model: Path, options: tuple[str, ...], code: int, says: tuple[str, ...]
) -> None:
    quick = () if "--engine" in options else ("--engine", "none")
    out, report = model.parent / "new" / "bundle", model.parent / "report.json"
    ran = command(model, "--output", out, "--json", report, *quick, *options)
    assert ran.code == code
    for words in says:
        assert words in ran.err
    written = json.loads(report.read_text(encoding="utf-8"))
    assert (written["passed"], written["exit_code"]) == (False, code)
    assert written["error"]["message"] in ran.err
    assert written["error"]["fix"] in ran.err
    assert names(model.parent) == ["model.pt", "report.json"]


def test_no_engine_may_be_said_twice(command: Command, model: Path) -> None:
    ran = command(model, "--output", model.parent / "bundle", "--engine", "none", *QUICK)
    assert ran.code == 0
    assert Bundle.open(model.parent / "bundle").engines == ()


def test_budget_that_the_refusal_names_is_enough(command: Command, model: Path) -> None:
    unrolled = (model, "--output", model.parent / "bundle", "--emission", "unrolled", *QUICK)
    advice = re.search(r"--node-budget (\d+)\.", command(*unrolled, "--node-budget", 1).err)
    assert advice is not None
    assert command(*unrolled, "--node-budget", int(advice[1]) - 1).code == 2
    assert command(*unrolled, "--node-budget", advice[1]).code == 0


def test_engine_of_a_builder_that_is_missing(command: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Availability(False, "the Python module tensorrt is not installed", "Install it: pip install it")
    monkeypatch.setattr(engines, "backend_availability", lambda *_: missing)
    ran = command(model, "--output", model.parent / "bundle", "--engine", "tensorrt", "--json", "-")
    assert ran.code == 4
    assert ran.err.splitlines()[-2:] == [
        "drnn-export: no tensorrt engine can be built here: the Python module tensorrt is not installed",
        "Install it: pip install it",
    ]
    assert json.loads(ran.out)["exit_code"] == 4
    assert names(model.parent) == ["model.pt"]


def test_engine_that_fails_to_build_is_an_exit_code_of_its_own(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EngineError("the builder crashed on [node/17]", "Use another [form]")

    monkeypatch.setattr(engines, "backend_availability", lambda *_: Availability(True, "here"))
    monkeypatch.setattr(engines, "build_engine", refuse)
    out = model.parent / "bundle"
    ran = command(
        model, "--output", out, "--engine", "tensorrt", "--runtime", "torch", "--json", model.parent / "r.json"
    )
    assert ran.code == 4
    assert "engine  sequence/fused: tensorrt failed: the builder crashed on [node/17] Use another [form]" in ran.out
    *_, last, then = ran.out.splitlines()
    assert last.startswith(f"FAILED (exit code 4) {model} -> {out}: no tensorrt")
    assert then == "next    Use another [form]"
    written = json.loads((model.parent / "r.json").read_text(encoding="utf-8"))
    assert (written["passed"], written["exit_code"], written["engines"][0]["built"]) == (False, 4, False)
    assert Bundle.open(out).engines == ()


def test_engine_that_would_take_too_long_is_not_begun_and_says_how(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "backend_availability", lambda *_: Availability(True, "here"))
    monkeypatch.setattr(engines, "build_engine", lambda *_, **__: pytest.fail("over the limit"))
    monkeypatch.setattr(pipeline, "build_seconds", lambda *_: 1234.5)
    monkeypatch.setenv("DRNN_CACHE", str(model.parent / "cache"))
    out = model.parent / "bundle"
    ran = command(model, "--output", out, "--engine", "tensorrt", "--runtime", "torch", "--engine-seconds", 1000)
    assert ran.code == 0
    assert (
        "not built: it would take about 1,234 s, over the limit of 1000 s; to wait for it: --engine-seconds 3704"
        in ran.out
    )

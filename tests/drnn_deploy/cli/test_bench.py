"""`drnn-deploy bench` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drnn_core.plain_data import schema_error
from drnn_deploy.cli.values import THREADS
from drnn_models.checkpoint import save_checkpoint
from drnn_models.spec import Head
from drnn_runtimes.runtime import MOST_THREADS
from tests.drnn_deploy.conftest import LENGTH, Command
from tests.drnn_deploy.parity.test_conditioning import amplifying

FAST = ("--quick", "--seconds", "0.02", "--contender", "onnxruntime-cpu")
EAGER = (*FAST, "--contender", "torch-eager")


def test_a_checkpoint_is_measured_shown_drawn_and_written(command: Command, model: Path, tmp_path: Path) -> None:
    json_path, picture = tmp_path / "bench.json", tmp_path / "bench.svg"
    ran = command(
        "drnn-deploy", "bench", model, *FAST, "--form", "sequence", "--json", json_path,
        "--picture", picture,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    report = json.loads(json_path.read_text(encoding="utf-8"))
    assert schema_error(report, "drnn_deploy.bench", "bench.schema.json") is None
    assert [row["setting"] for row in report["rows"]] == [{"form": "sequence", "steps": LENGTH, "batch": 1}]
    assert all(entry["status"] == "ok" for row in report["rows"] for entry in row["contenders"])
    for words in ("threads: 1", "onnxruntime-cpu fused", "limit: arithmetic", "of peak", "twice", "PASSED"):
        assert words in ran.out
    assert ran.out.splitlines()[-1] == f"next    drnn-export {model}"
    assert "arithmetic at the machine" in picture.read_text(encoding="utf-8")


def test_the_threads_that_options_take_are_those_of_runtimes() -> None:
    assert (THREADS.min, THREADS.max) == (1, MOST_THREADS)


def test_what_cannot_be_compared_is_timed_with_a_note_and_is_no_pass(command: Command, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pt", amplifying(Head("last", 3), bias=0.05))
    words = (*FAST, "--form", "sequence", "--length", "300", "--json", tmp_path / "b.json")
    ran = command("drnn-deploy", "bench", tmp_path / "model.pt", *words)
    report = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    (entry,) = report["rows"][0]["contenders"]
    assert (entry["verdict"], entry["status"], report["passed"]) == ("not compared", "ok", False)
    assert schema_error(report, "drnn_deploy.bench", "bench.schema.json") is None
    assert (ran.code, "PASSED" in ran.out, "note    onnxruntime-cpu fused: not compared" in ran.out) == (1, False, True)
    assert "(exit code 1) onnxruntime-cpu fused: not compared" in ran.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--contender", "fast"), 2, "there is no contender 'fast'"),
        (("--contender", "tensorrt", "--form", "step"), 3, "tensorrt cannot run here"),
        (
            (*EAGER, "--form", "step", "--style", "pipelined"),
            3,
            "(exit code 3) torch-eager: has all layers at one step",
        ),
        (("--form", "chunk", "--steps", "1"), 2, "--steps 1 would be ignored: it needs --form step for 1"),
        (("--form", "step", "--length", "9"), 2, "--length would be ignored: it needs --form sequence"),
        (("--batch", "0"), 2, "x>=1"),
        (("--threads", "5000"), 2, "1<=x<=1024"),
        (("--contender", "native", "--threads", "4"), 2, "native has no setting for its threads"),
    ],
)
def test_mistakes_are_told(command: Command, model: Path, words: tuple[str, ...], code: int, said: str) -> None:
    ran = command("drnn-deploy", "bench", model, *words)
    assert (ran.code, said in ran.err + ran.out) == (code, True), ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--length", "9"), "--length is for a checkpoint"),
        (("--batch", "7"), "has no graph that takes a batch of 7"),
        (("--form", "step"), "has no graph of --form step"),
        (("--style", "operator", "--style", "pipelined"), "has no graph of --style pipelined"),
    ],
)
def test_a_bundle_has_the_graphs_that_it_has(
    command: Command, pristine: Path, words: tuple[str, ...], said: str
) -> None:
    ran = command("drnn-deploy", "bench", pristine, *words, "--json", "-")
    assert (ran.code, said in ran.err) == (2, True), ran.err
    assert schema_error(json.loads(ran.out), "drnn_deploy.bench", "bench.schema.json") is None

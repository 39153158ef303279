"""Every command knows runtime `native`, and goes on where there is no C compiler."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from drnn_deploy import ExportOptions, export
from drnn_deploy.cli.options import _TARGETS
from drnn_deploy.planner.candidates import Goal, PlanTarget
from drnn_deploy.planner.plan import make_plan
from drnn_deploy.tasks.scoring import Predict
from drnn_models.checkpoint import Checkpoint, Examples, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.native.compiler import compiler
from drnn_runtimes.native.kernel import Kernel
from tests.compilers import with_compiler
from tests.drnn_deploy.conftest import Command
from tests.networks import random_weights

pytestmark = pytest.mark.optional_runtimes("native")
SPEC = ModelSpec("gru", (3, 4), (1, 64), Continuous(1), Head("last", 10), fusion=False)
TASK = {"name": "pixel-mnist", "length": 784, "options": {"permuted": False}}
MISSING = "native: there is no C compiler. Install a C compiler: apt install gcc, or pip install ziglang"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with two pictures, as pixel-MNIST's."""
    images = np.linspace(0, 1, 2 * 784, dtype=np.float32).reshape(2, 784, 1)
    path = tmp_path_factory.mktemp("digits") / "model.pt"
    examples = Examples(images, np.array([3, 8]), "two ramps")
    save_checkpoint(path, Checkpoint(SPEC, random_weights(SPEC, 0), TASK, examples=examples))
    return path


@pytest.fixture(scope="module")
def bundle(digits: Path) -> Path:
    options = ExportOptions(engines=(), runtimes=("onnxruntime-cpu",), forms=("sequence", "step"))
    assert export(digits, digits.parent / "bundle", options).exit_code == 0
    return digits.parent / "bundle"


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "a-compiler-that-is-not-there")
    assert not compiler()


def test_command_line_knows_every_target() -> None:
    assert get_args(PlanTarget) == _TARGETS


@pytest.mark.parametrize("goal", get_args(Goal))
def test_plan_lists_each_form_once_and_counts_no_other_way_of_writing_it(goal: Goal) -> None:
    plan = make_plan(SPEC, "native", goal, length=784)
    names = [(candidate.request.form, candidate.request.steps) for candidate in plan.candidates]
    assert len(set(names)) == len(names)
    assert {candidate.request.emission for candidate in plan.candidates} == {"fused"}
    assert (plan.chosen.request.form == "sequence") == (goal == "sequence")
    costs = {candidate.name: candidate.cost_per_step for candidate in plan.candidates}
    assert costs["chunk256/fused"] < costs["step/fused"]


def test_stream_on_the_kernel_keeps_up_where_graphs_do_not() -> None:
    rate = 100_000.0
    of_graphs, of_kernel = (make_plan(SPEC, target, "latency", rate=rate) for target in ("onnxruntime-cpu", "native"))  # type: ignore[arg-type]
    assert (of_kernel.chosen.name, of_kernel.chosen.wait) == ("step/fused", 0)
    assert "the earliest answer at 100000 samples a second" in of_kernel.reason
    assert of_graphs.chosen.cost > of_kernel.chosen.cost


def test_faster_samples_than_a_step_of_the_kernel_need_chunks() -> None:
    spec = ModelSpec("gru", (20,) * 9, tuple(2**i for i in range(9)), Continuous(1), Head("sequence", 10))
    step = make_plan(spec, "native", "latency").chosen
    assert step.name == "step/fused"
    fast = make_plan(spec, "native", "latency", rate=1.1e6 / step.cost)
    assert fast.chosen.request.form == "chunk"
    assert "us after the sample" in fast.reason


def test_plan_says_what_makes_no_difference(command: Command, digits: Path) -> None:
    ran = command(
        "drnn-deploy", "plan", digits, "--target", "native", "--throughput", "--json", digits.parent / "p.json"
    )
    written = json.loads((digits.parent / "p.json").read_text(encoding="utf-8"))
    assert (ran.code, written["unit"]) == (0, "us")
    told = " ".join(ran.out.split())
    assert all(" ".join(note.split()) in told for note in written["notes"])
    assert any("style" in note and "ring" in note and "make no difference" in note for note in written["notes"])
    assert "no GPU has been measured" not in ran.out


@with_compiler
def test_export_follows_the_plan_and_checks_the_kernel(command: Command, digits: Path, tmp_path: Path) -> None:
    ran = command(digits, "--target", "native", "--latency", "--engine", "none", "--output", tmp_path / "bundle")
    assert ran.code == 0
    assert "graph   model.onnx: step/fused" in ran.out
    assert re.search(r"native +step .*PASSED", ran.out)


@with_compiler
def test_demo_and_evaluation_include_the_kernel(
    command: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = command("drnn-deploy", "demo", bundle)
    assert ran.code == 0
    assert re.search(r"^native: \d of 2 right$", ran.out, re.MULTILINE)
    assert "not run native" not in ran.out
    monkeypatch.setattr("drnn_deploy.evaluation.score_split", score_of_ones)
    ran = command("drnn-deploy", "evaluate", bundle, "--json", "-")
    written = json.loads(ran.out)
    assert (ran.code, written["missing"]) == (0, [])
    assert [entry["runtime"] for entry in written["evaluations"]] == ["torch", "onnxruntime-cpu", "native"]


@with_compiler
def test_layer_that_the_kernel_gets_wrong_is_named(
    command: Command, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Kernel.__init__

    def wrong(self: Kernel, spec: ModelSpec, weights: Weights, **more: Any) -> None:
        right(self, spec, {name: w * 1.5 if w.shape == (12, 4) else w for name, w in weights.items()}, **more)

    monkeypatch.setattr(Kernel, "__init__", wrong)
    ran = command("drnn-deploy", "parity", bundle, "--runtime", "native", "--form", "sequence", "--explain")
    assert ran.code == 1
    assert "layer 1" in ran.out


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_commands_name_the_reason_and_go_on(
    command: Command, digits: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = command("drnn-deploy", "plan", digits, "--target", "native")
    assert ran.code == 0
    assert "native cannot run here: there is no C compiler. Install a C compiler" in ran.out
    ran = command(digits, "--target", "native", "--latency", "--engine", "none", "--output", tmp_path / "bundle")
    assert ran.code == 0
    unavailable = r"not run \d+ runtimes? unavailable \(.*\bnative\b.*\): drnn-deploy doctor"
    assert re.search(unavailable, ran.out)
    for name in ("demo", "parity"):
        ran = command("drnn-deploy", name, bundle, "--verbose")
        assert ran.code == 0
        assert f"not run {MISSING}" in " ".join(ran.out.split())
    monkeypatch.setattr("drnn_deploy.evaluation.score_split", score_of_ones)
    ran = command("drnn-deploy", "evaluate", bundle)
    assert ran.code == 0
    assert re.search(unavailable, ran.out)
    facts = json.loads(command("drnn-deploy", "doctor", "--json", "-").out)["runtimes"]["native"]
    assert (facts["usable"], facts["detail"]) == (False, "there is no C compiler")
    assert "pip install ziglang" in facts["fix"]


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.parametrize("words", [("evaluate",), ("parity",)])
def test_kernel_that_was_asked_for_by_name_is_missed(command: Command, bundle: Path, words: tuple[str, ...]) -> None:
    ran = command("drnn-deploy", *words, bundle, "--runtime", "native")
    assert ran.code == 3
    assert "there is no C compiler" in ran.out + ran.err
    assert "Install a C compiler" in " ".join((ran.out + ran.err).split())


def test_evaluation_needs_whole_sequences(command: Command, digits: Path, tmp_path: Path) -> None:
    options = ExportOptions(engines=(), runtimes=("onnxruntime-cpu",), forms=("step",))
    assert export(digits, tmp_path / "bundle", options).exit_code == 0
    ran = command("drnn-deploy", "evaluate", tmp_path / "bundle")
    assert ran.code == 2
    assert "has no graph of whole sequences" in ran.err
    assert "--form sequence" in ran.err


def score_of_ones(predict: Predict, *_: object, **__: object) -> tuple[dict[str, float], NDArray[np.int64]]:
    """In place of `score_split`, which reads MNIST."""
    return {}, predict(np.ones((1, 784, 1), np.float32)).argmax(axis=-1)

"""The commands as people type them: help, usage errors, exit codes, start-up time, and the bundle commands."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import drnn_deploy
from drnn_deploy import ExportOptions, export
from drnn_deploy.cli import _COMMANDS
from drnn_deploy.exporter.options import CHUNK
from drnn_deploy.parity.known_answers import REFERENCE_MINUTES
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_export.emitter.emit import NODE_BUDGET
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle, manifest_checksum
from drnn_runtimes.onnxrt.runtime import OnnxRuntime, OnnxRuntimeSession
from tests.networks import random_weights

Command = Callable[..., Any]  # see conftest
REPOSITORY = Path(drnn_deploy.__file__).resolve().parents[1]
ROOTS = [REPOSITORY, *(REPOSITORY / name for name in ("export", "models", "runtimes"))]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, ROOTS))}


def python(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)


START_EXPORT = "from drnn_deploy.cli import main_export; main_export()"


def cpu_seconds_of(start: str, *words: str, code: int = 0) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert python(start, *words).returncode == code
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_does_not_keep_one_waiting() -> None:
    assert statistics.median(cpu_seconds_of(START_EXPORT, "--help") for _ in range(3)) < 0.5


@pytest.mark.parametrize("start", ["import drnn_deploy", "import drnn_deploy.cli.export, drnn_deploy.cli.train"])
def test_import_does_not_load_the_heavy_packages(start: str) -> None:
    ran = python(
        f"{start}; import sys; print([n for n in ('torch', 'onnx', 'onnxruntime', 'scipy') if n in sys.modules])"
    )
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


def test_real_process_exports_and_refuses(model: Path) -> None:
    out = model.parent / "bundle"
    done = python(START_EXPORT, model, "--output", out, "--engine", "none", "--runtime", "torch", "--json", "-")
    assert (done.returncode, json.loads(done.stdout)["passed"]) == (0, True)
    (model.parent / "bad.pt").write_bytes(model.read_bytes()[:1000])
    refused = python(START_EXPORT, model.parent / "bad.pt", "--json", "-")
    assert (refused.returncode, json.loads(refused.stdout)["passed"]) == (2, False)
    assert re.search(r"^drnn-export: ", refused.stderr, re.MULTILINE)  # behind lines of progress on a slow machine
    assert "Traceback" not in refused.stderr


def test_help_lists_every_command(command: Command) -> None:
    ran = command("drnn-deploy", "--help")
    assert ran.code == 0
    assert set(re.findall(r"^  ([a-z]+)  +", ran.out, re.MULTILINE)) == set(_COMMANDS)


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_explains_itself(command: Command, name: str) -> None:
    ran = command("drnn-deploy", name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: drnn-deploy {name}")


def test_shortcut_is_the_export_command(command: Command) -> None:
    one, other = command("--help").out, command("drnn-deploy", "export", "--help").out
    assert one.replace("drnn-export", "drnn-deploy export").split() == other.split()


def test_help_states_the_defaults_that_hold(command: Command) -> None:
    text = " ".join(command("--help").out.split())
    for option, value in {
        "--node-budget": NODE_BUDGET,
        "--chunk": CHUNK,
        "--engine-seconds": f"{ExportOptions().engine_seconds:g}",
        "--max-noise": f"{NOISE_MULTIPLE:g}",
        "--reference-minutes": f"{REFERENCE_MINUTES:g}",
    }.items():
        assert re.search(rf" {option} [^\[]*(\[x>0\] ?)?\[default: {value}\]", text), option


def test_version(command: Command) -> None:
    assert re.fullmatch(r"drnn-deploy, version \d+\.\d+\.\d+\S*\n", command("drnn-deploy", "--version").out)


@pytest.mark.parametrize("words, says", [
    ((), "Missing argument 'MODEL'"),
    (("model.pt", "--batch", "0"), "'--batch': 0 is not in the range"),
    (("model.pt", "--batch", "many"), "'many' is not a valid int"),
    (("model.pt", "--batch", "1:2"), "'1:2' is not MIN:OPT:MAX in ascending order"),
    (("model.pt", "--batch", "4:2:8"), "'4:2:8' is not MIN:OPT:MAX"),
    (("model.pt", "--length", "-1"), "--length"),
    (("model.pt", "--emission", "scan"), "--emission"),
    (("model.pt", "--engine-seconds", "0"), "--engine-seconds"),
    (("model.pt", "--max-noise", "much"), "--max-noise"),
    (("model.pt", "--lenght", "5"), "--length"),
    (("drnn-deploy", "exprot"), "exprot"),
    (("drnn-deploy", "train", "copy-memory", "--device", "tpu"), "'cpu', 'cuda'"),
    (("drnn-deploy", "evaluate", "bundle", "--limit", "0"), "--limit"),
    (("drnn-deploy", "evaluate", "bundle", "--split", "train"), "--split"),
])  # fmt: skip
def test_usage_errors_name_the_option(command: Command, words: tuple[str, ...], says: str) -> None:
    ran = command(*words) if words else command("--output", "x")
    assert ran.code == 2
    assert says in ran.err


def test_doctor_says_what_is_here_and_what_to_install(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = command("drnn-deploy", "doctor", "--json", "-")
    assert ran.code == 0
    facts = json.loads(ran.out)
    assert facts["runtimes"]["reference"]["usable"]
    assert facts["runtimes"]["torch"] == {
        "usable": False, "detail": "PyTorch is not installed", "fix": "pip install 'drnn-deploy[train]'",
    }  # fmt: skip
    assert "'drnn-deploy[train]'" in ran.err  # brackets are no markup


def test_inspect_shows_the_bundle(command: Command, bundle: Path) -> None:
    ran = command("drnn-deploy", "inspect", bundle, "--json", bundle.parent / "facts.json")
    assert (ran.code, ran.err) == (0, "")
    assert "network  2 layers of GRU, units 4, 5, dilations 1, 2" in ran.out
    assert not set("[]{}()'") & set(ran.out.partition("made by")[0].replace(str(bundle), ""))  # of Python's own text
    assert "graph    model.onnx: sequence/fused, 8 steps, batch 1, pruned, fp32" in ran.out
    assert "intact   4 files have the sha256 that the manifest says" in ran.out
    facts = json.loads((bundle.parent / "facts.json").read_text(encoding="utf-8"))
    assert facts["passed"] is True
    assert facts["parameters"] == 12 * (2 + 4 + 2) + 15 * (4 + 5 + 2) + 3 * 5 + 3


@pytest.mark.parametrize("words", [("inspect",), ("evaluate",)])
def test_json_where_the_bundle_is_none(command: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = command("drnn-deploy", *words, tmp_path, "--json", "-")
    assert ran.code == 2
    assert "is not a bundle: it has no manifest.json" in ran.err
    assert "drnn-export model.pt --output DIR" in ran.err
    assert json.loads(ran.out)["exit_code"] == 2


def test_demo_needs_digits(command: Command, bundle: Path) -> None:
    ran = command("drnn-deploy", "demo", bundle)
    assert ran.code == 2
    assert "holds no example digits" in ran.err


@pytest.fixture(scope="module")
def copy_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of an untrained network for copy memory with delay 3, in both emissions."""
    spec = ModelSpec("rnn", (4, 3), (1, 2), Tokens(10), Head("last_k", 8, 10))
    task = {"name": "copy-memory", "length": 23, "options": {"delay": 3}}
    folder = tmp_path_factory.mktemp("copy memory") / "bundle"
    options = ExportOptions(batch=None, engines=())
    assert export(Checkpoint(spec, random_weights(spec, 0), task), folder, options).exit_code == 0
    return folder


def test_evaluate_counts_predictions_and_finds_none_changed(command: Command, copy_memory: Path) -> None:
    ran = command("drnn-deploy", "evaluate", copy_memory, "--limit", 600, "--json", "-")
    assert ran.code == 0
    written = json.loads(ran.out)
    assert written["passed"] is True
    found = [(e["runtime"], e["graph"], e["predictions"], e["changed"]) for e in written["evaluations"]]
    assert found == [("torch", "sequence", 6000, 0), ("onnxruntime-cpu", "sequence/fused", 6000, 0)]
    losses = [evaluation["metrics"]["cross_entropy"] for evaluation in written["evaluations"]]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert 1.5 < losses[0] < 6


def test_evaluate_fails_where_a_prediction_changes(
    command: Command, copy_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OnnxRuntimeSession.run

    def wrong(self: OnnxRuntimeSession, inputs: Any) -> Any:
        outputs = right(self, inputs)
        outputs["output"] = np.negative(outputs["output"])
        return outputs

    monkeypatch.setattr(OnnxRuntimeSession, "run", wrong)
    ran = command("drnn-deploy", "evaluate", copy_memory, "--limit", 5, "--json", "-")
    assert ran.code == 1
    assert json.loads(ran.out)["passed"] is False
    assert json.loads(ran.out)["evaluations"][1]["changed"] == 50


def test_evaluate_with_a_runtime_that_cannot_run_the_bundle(
    command: Command, copy_memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntime, "unsupported", lambda *_: "the bundle has no engine for model.onnx")
    ran = command("drnn-deploy", "evaluate", copy_memory, "--runtime", "onnxruntime-cpu", "--json", "-")
    assert ran.code == 3
    assert "the bundle has no engine for model.onnx" in ran.err
    assert json.loads(ran.out)["passed"] is False


@pytest.mark.parametrize("task, says", [
    ({}, "does not say which task"),
    ({"name": "speech"}, "there is no task 'speech'"),
    ({"name": ["copy-memory"]}, "there is no task ['copy-memory']"),
    ({"name": "copy-memory", "options": 5}, "must be a table"),
    ({"name": "copy-memory", "options": {"delay": "5"}}, "data.delay"),
    ({"name": "copy-memory", "options": {"dealy": 5}}, "no option 'dealy'"),
    ({"name": "pixel-mnist"}, "says that it is for task pixel-mnist, which takes Continuous(features=1"),
    ({"name": "copy-memory", "options": {"delay": 4}}, "'input' of sequence/fused must be int64 of shape (-1, 23)"),
])  # fmt: skip
def test_evaluate_a_bundle_that_does_not_fit_its_task(
    command: Command, copy_memory: Path, tmp_path: Path, task: dict[str, Any], says: str
) -> None:
    bundle = Path(shutil.copytree(copy_memory, tmp_path / "bundle"))
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["task"] = task
    (bundle / "manifest.json").write_text(
        json.dumps({**manifest, "checksum": manifest_checksum(manifest)}), encoding="utf-8"
    )
    ran = command("drnn-deploy", "evaluate", bundle)
    assert ran.code == 2
    assert says in ran.err


def test_suggest_names_the_papers_stack_for_the_papers_sequence(command: Command) -> None:
    ran = command("drnn-deploy", "suggest", "--length", 784, "--json", "-")
    stacks = json.loads(ran.out)["stacks"]
    assert ran.code == 0
    assert [len(stack["dilations"]) for stack in stacks] == list(range(1, 12))
    (best,) = (stack for stack in stacks if stack["suggested"])
    assert best["dilations"] == [2**layer for layer in range(9)]
    assert "start with 9 layers, dilations 1, 2, 4, 8, 16, 32, 64, 128, 256" in ran.err


def test_suggest_compares_the_stacks_that_it_is_given(command: Command) -> None:
    given = ("--dilations", "1,1,1", "--dilations", "1,4,16")
    ran = command("drnn-deploy", "suggest", "--length", 40, "--cell", "lstm", *given, "--json", "-")
    plain, dilated = json.loads(ran.out)["stacks"]
    assert (plain["dilations"], dilated["dilations"]) == ([1, 1, 1], [1, 4, 16])
    assert (plain["suggested"], dilated["suggested"]) == (False, True)
    assert (plain["longest_path"], dilated["longest_path"]) == (3 + 39, 3 + 7)  # 39 = 2 * 16 + 4 + 3: 7 edges
    for text, says in (("1,x", "is not a list of whole numbers"), ("1,0", "spec.dilations[1]"), ("", "not a list")):
        refused = command("drnn-deploy", "suggest", "--length", 40, "--dilations", text)
        assert (refused.code, says in refused.err) == (2, True)


def test_evaluate_a_checkpoint_through_torch(command: Command, copy_memory: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(copy_memory)
    path = tmp_path / "model.pt"
    save_checkpoint(path, Checkpoint(bundle.spec, bundle.weights, bundle.task))
    ran = command("drnn-deploy", "evaluate", path, "--limit", 600, "--json", "-")
    assert ran.code == 0
    (found,) = json.loads(ran.out)["evaluations"]
    assert (found["runtime"], found["graph"], found["predictions"]) == ("torch", "checkpoint", 6000)
    of_bundle = command("drnn-deploy", "evaluate", copy_memory, "--limit", 600, "--runtime", "torch", "--json", "-")
    assert found["metrics"] == pytest.approx(json.loads(of_bundle.out)["evaluations"][0]["metrics"], rel=1e-6)
    refused = command("drnn-deploy", "evaluate", path, "--runtime", "onnxruntime-cpu")
    assert (refused.code, "Export it first: drnn-export" in refused.err) == (2, True)
    save_checkpoint(path, Checkpoint(bundle.spec, bundle.weights, {"name": "pixel-mnist"}))
    assert command("drnn-deploy", "evaluate", path).code == 2


def test_demo_shows_every_runtime_right_or_wrong(command: Command, tmp_path: Path) -> None:
    from drnn_models.checkpoint import Examples

    spec = ModelSpec("gru", (3,), (64,), Continuous(1), Head("last", 10), fusion=False)
    images = np.linspace(0, 1, 2 * 784, dtype=np.float32).reshape(2, 784, 1)
    checkpoint = Checkpoint(
        spec,
        random_weights(spec, 0),
        {"name": "pixel-mnist", "length": 784, "options": {"permuted": False}},
        examples=Examples(images, np.array([3, 8]), "two [grey] ramps"),
    )
    assert export(checkpoint, tmp_path / "bundle", ExportOptions(engines=())).exit_code == 0
    ran = command("drnn-deploy", "demo", tmp_path / "bundle")
    assert ran.code == 0
    assert "Source: two [grey] ramps." in ran.out
    assert ran.out.count("true 3") == ran.out.count("true 8") == 1
    assert "PASSED every runtime predicts the same" in ran.out
    assert ran.out.splitlines()[-1] == f"next    drnn-deploy evaluate {tmp_path / 'bundle'}"
    for name in ("reference", "torch", "onnxruntime-cpu"):
        assert re.search(rf"^{name}: \d of 2 right$", ran.out, re.MULTILINE)

"""The commands as people type them: help, usage errors, exit codes, and what small commands show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from drnn_deploy import ExportOptions, export
from drnn_deploy.cli import _COMMANDS
from drnn_deploy.exporter.options import CHUNK
from drnn_deploy.parity.known_answers import REFERENCE_MINUTES
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_export.emitter.emit import NODE_BUDGET
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.drnn_deploy.conftest import Command
from tests.networks import random_weights


def test_help_lists_every_command(command: Command) -> None:
    ran = command("drnn-deploy", "--help")
    assert ran.code == 0
    assert set(re.findall(r"^  ([a-z]+)  +", ran.out, re.MULTILINE)) == set(_COMMANDS)


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_command_explains_itself(command: Command, name: str) -> None:
    ran = command("drnn-deploy", name, "--help")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: drnn-deploy {name}")
    assert "emission" not in ran.out, "the glossary's word is graph style"


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

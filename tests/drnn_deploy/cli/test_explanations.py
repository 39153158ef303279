"""`drnn-parity --explain`: what it prints and writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from drnn_deploy.debug.repro import Reproduction
from drnn_runtimes.bundle import Bundle
from tests.drnn_deploy.cli.test_parity import flip_a_weight

Command = Any  # see conftest
HERE = ("--runtime", "torch", "--runtime", "onnxruntime-cpu")


def test_failure_is_explained_everywhere(command: Command, bundle: Path, tmp_path: Path) -> None:
    flip_a_weight(bundle)
    files = tmp_path / "p.json", tmp_path / "p.md"
    ran = command(
        "drnn-deploy", "parity", bundle, *HERE, "--explain", "--repro", tmp_path / "repro",
        "--json", files[0], "--markdown", files[1],
    )  # fmt: skip
    assert ran.code == 1
    verdict = "head: initializer head/W differs from the weights in 1 of 15 values, first at [0, 0]: "
    again = f"drnn-parity {bundle} --runtime onnxruntime-cpu --explain"
    assert f"explained onnxruntime-cpu sequence/fused: {verdict}" in ran.out
    assert f"again   {again}" in ran.out
    assert "OFF" in ran.out
    (report,) = json.loads(files[0].read_text(encoding="utf-8"))["reports"]
    (explanation,) = report["explanations"]
    assert (explanation["culprit"], explanation["command"]) == ("head", again)
    assert [part["part"] for part in explanation["parts"]] == ["layer 0", "layer 1", "head"]
    text = files[1].read_text(encoding="utf-8")
    assert f"#### {bundle}: onnxruntime-cpu sequence/fused" in text
    assert f"**{verdict}".replace("[", r"\[").replace("]", r"\]") in text  # Markdown of the same letters
    written = tmp_path / "repro" / "onnxruntime-cpu-sequence-fused.npz"
    assert explanation["reproduction"] == str(written)
    assert f"wrote   {written}" in ran.out
    assert not Reproduction.load(written).run(Bundle.open(bundle)).passed
    assert command("drnn-deploy", *again.split()[1:]).code == 2  # without "parity": the shortcut's own words
    assert command("drnn-deploy", "parity", *again.split()[1:]).code == 1


def test_what_was_typed_is_in_the_command_that_shows_it_again(command: Command, bundle: Path, tmp_path: Path) -> None:
    flip_a_weight(bundle)
    chosen = ("--form", "sequence", "--style", "fused", "--precision", "fp32", "--golden", "--threads", "1")
    ran = command("drnn-deploy", "parity", *HERE, *chosen, "--explain", "--html", tmp_path / "p.html", bundle)
    again = f"drnn-parity {bundle} --runtime onnxruntime-cpu --explain"
    (line,) = [line for line in ran.out.splitlines() if again in line]
    words = line.split()[line.split().index("drnn-parity") + 1 :]
    assert sorted(words[4:]) == sorted(chosen)
    assert command("drnn-deploy", "parity", *words).code == 1


def test_nothing_is_explained_unless_asked_or_where_nothing_fails(
    command: Command, bundle: Path, tmp_path: Path
) -> None:
    file = tmp_path / "p.json"
    ran = command("drnn-deploy", "parity", bundle, *HERE, "--explain", "--repro", tmp_path / "repro", "--json", file)
    assert (ran.code, "explained onnx" in ran.out, (tmp_path / "repro").exists()) == (0, False, False)
    assert json.loads(file.read_text(encoding="utf-8"))["reports"][0]["explanations"] == []
    flip_a_weight(bundle)
    ran = command("drnn-deploy", "parity", bundle, *HERE, "--json", file)
    assert (ran.code, "explained onnx" in ran.out) == (1, False)
    assert "explanations" not in json.loads(file.read_text(encoding="utf-8"))["reports"][0]


def test_each_of_several_has_its_own_folder(command: Command, bundle: Path, model: Path, tmp_path: Path) -> None:
    """The checkpoint fails as well, by a limit that no arithmetic keeps, and its bundle is gone afterwards."""
    flip_a_weight(bundle)
    ran = command(
        "drnn-deploy", "parity", model, bundle, "--runtime", "onnxruntime-cpu", "--max-noise", "1e-9",
        "--repro", tmp_path / "repro",
    )  # fmt: skip
    assert ran.code == 1
    name = "onnxruntime-cpu-sequence-fused.npz"
    folders = [tmp_path / "repro" / "01-model.pt", tmp_path / "repro" / "02-bundle"]
    assert [path.name for path in sorted((tmp_path / "repro").iterdir())] == ["01-model.pt", "02-bundle"]
    assert all((folder / name).is_file() for folder in folders)
    assert list(folders[1].rglob("*.npz")) == [folders[1] / name]
    assert len(list(folders[0].rglob("*.npz"))) > 5  # one for each graph of the checkpoint
    assert "explained onnxruntime-cpu sequence/fused: every part is within its limit" in ran.out
    assert f"drnn-parity {model} --runtime onnxruntime-cpu --explain --max-noise 1e-09" in ran.out


def test_folder_that_cannot_be_written_is_one_message(command: Command, bundle: Path, tmp_path: Path) -> None:
    flip_a_weight(bundle)
    (tmp_path / "file").write_text("", encoding="utf-8")
    ran = command("drnn-deploy", "parity", bundle, *HERE, "--repro", tmp_path / "file" / "in it")
    assert (ran.code, "cannot write" in ran.err) == (2, True)

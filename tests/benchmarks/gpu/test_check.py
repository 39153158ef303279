"""The command that checks a GPU, with stand-ins for its parts: its file is whole, whatever they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu import check
from benchmarks.gpu.check import load_results, main, slug
from benchmarks.gpu.plan import SURVEY, Part, all_parts
from drnn_core import gpu

STAND_INS = "tests.benchmarks.gpu.stand_ins"


def test_file_is_written_after_each_part_with_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "deep" / "result.json"
    words = ["--device", "cpu", "--quick", "--output", str(output), "--parts", "export/gru"]
    assert main(words, module=STAND_INS) == 0
    result = json.loads(output.read_text(encoding="utf-8"))
    assert [part["part"] for part in result["parts"]] == [SURVEY, "export/gru"]
    assert result["device"] == {"name": "cpu", "compute_capability": "", "cuda": "", "driver": "", "kind": "cpu"}
    assert result["quick"] is True
    assert {"numpy", "drnn-deploy", "torch"} <= set(result["machine"]["versions"])
    assert "ok" in capsys.readouterr().out
    assert load_results(output.parent) == []


@pytest.mark.parametrize(
    ("kind", "name", "rows", "left_out"),
    [
        ("smoke", "smoke", 3, set()),
        pytest.param("parity", "copy-memory", 9, {"bf16"}, marks=pytest.mark.nightly),
    ],
)
def test_real_parts_run_in_real_children(kind: str, name: str, rows: int, left_out: set[str], tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    part = "/".join(dict.fromkeys((kind, name, "onnxruntime-cpu")))
    assert main(["--device", "cpu", "--quick", "--output", str(output), "--parts", part]) == 0
    survey, exported, parity = json.loads(output.read_text(encoding="utf-8"))["parts"]
    assert survey["runtimes"]["onnxruntime-cpu"]["usable"]
    assert (exported["part"], parity["part"]) == (f"export/{name}", part)
    assert len(parity["rows"]) == rows
    assert all(row["passed"] for row in parity["rows"])
    assert {entry["graph"].rpartition("/")[2] for entry in parity["left_out"]} == left_out


def test_a_part_that_failed_is_in_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "all_parts", lambda *_, **__: [Part(SURVEY, 60), Part("kind/bad", 60)])
    assert main(["--device", "cpu", "--output", str(tmp_path / "result.json")], module=STAND_INS) == 1


@pytest.mark.skipif(gpu.gpu() is not None, reason="this machine has a GPU")
def test_without_a_gpu_nothing_is_run_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "result.json"
    assert main(["--output", str(output)], module="no.such.module") == 3
    said = capsys.readouterr()
    assert "there is no GPU to check" in said.err
    assert said.out == ""
    assert not output.exists()


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    words = ["--device", "cpu", "--output", str(tmp_path / "file" / "result.json"), "--parts", "export/gru"]
    assert main(words, module=STAND_INS) == 2
    assert "cannot write" in capsys.readouterr().err


def test_bundles_are_prepared_without_a_gpu_and_then_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work, output = tmp_path / "work", tmp_path / "result.json"
    assert main(["--prepare", str(work)], module=STAND_INS) == 0
    said = capsys.readouterr().out
    assert f"--work {work}" in said
    assert [line.split()[3] for line in said.splitlines()[:-1]] == [
        part.name for part in all_parts("cpu", quick=True) if part.name.startswith("export/")
    ]
    words = ["--device", "cpu", "--work", str(work), "--output", str(output), "--parts", "kind"]
    assert main([*words[:-1], "export/gru"], module=STAND_INS) == 0
    assert json.loads(output.read_text(encoding="utf-8"))["parts"][1]["seen"] == ["cpu", True, "work"]


def test_a_killed_check_leaves_a_whole_file_and_no_process(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    program = (
        "import sys; from benchmarks.gpu import check; from benchmarks.gpu.plan import Part, SURVEY\n"
        "parts = [Part(name, 60) for name in (SURVEY, 'kind/fine', 'kind/rows-then-tell')]\n"
        "check.all_parts = lambda *_, **__: parts\n"
        f"check.main(['--device', 'cpu', '--output', {str(output)!r}], module={STAND_INS!r})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (output.exists() and '"row": 1' in output.read_text(encoding="utf-8")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    *ended, broken = json.loads(output.read_text(encoding="utf-8"))["parts"]
    assert [entry["status"] for entry in ended] == ["ok", "ok"]
    assert (broken["status"], len(broken["rows"])) == ("unfinished", 2)
    child = broken["rows"][0]["process"]
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_names_of_files_are_plain() -> None:
    assert slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
    assert slug("../Orin (nvgpu)/") == "orin-nvgpu"

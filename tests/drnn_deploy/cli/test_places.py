"""What a command writes takes the place of nothing that anyone would miss; streams that are closed end it in order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from drnn_deploy.cli.command import BROKEN_PIPE
from tests.drnn_deploy.conftest import Command

Words = Callable[[Path], tuple[object, ...]]
OVER_A_MODEL: dict[str, Words] = {
    "parity": lambda model: ("drnn-deploy", "parity", "--json", model),
    "export": lambda model: ("--json", model),
    "plan": lambda model: ("drnn-deploy", "plan", model, "--length", 8, "--json", model),
    "inspect": lambda model: ("drnn-deploy", "inspect", model, f"--json={model}"),
    "native": lambda model: ("drnn-deploy", "bench", model, "--picture", model),
}


@pytest.mark.parametrize("words", OVER_A_MODEL.values(), ids=OVER_A_MODEL)
def test_no_command_writes_over_a_model(words: Words, model: Path, command: Command) -> None:
    before = model.read_bytes()
    assert command(*words(model)).code == 2
    assert model.read_bytes() == before


def test_a_report_may_be_written_again_and_nothing_else(model: Path, tmp_path: Path, command: Command) -> None:
    report = tmp_path / "plan.json"
    for before in ("", '{"passed": false}', None):
        if before is not None:
            report.write_text(before, encoding="utf-8")
        assert command("drnn-deploy", "plan", model, "--length", 8, "--json", report).code == 0
    report.write_text("notes", encoding="utf-8")
    ran = command("drnn-deploy", "plan", model, "--length", 8, "--json", report)
    assert (ran.code, f"{report} is there, and is no report" in ran.err) == (2, True)
    assert report.read_text(encoding="utf-8") == "notes"


@pytest.mark.parametrize("place", ["parity.json", "mine.json", "engines/mine.json"])
def test_nothing_is_written_into_a_bundle_that_is_read(place: str, bundle: Path, command: Command) -> None:
    before = sorted(bundle.rglob("*")), (bundle / "parity.json").read_bytes()
    ran = command("drnn-deploy", "inspect", bundle, "--json", bundle / place)
    assert (ran.code, f"--json would write into {bundle}, which is read" in ran.err) == (2, True)
    assert (sorted(bundle.rglob("*")), (bundle / "parity.json").read_bytes()) == before


def test_the_current_folder_is_not_replaced(
    model: Path, bundle: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundle)
    ran = command(model, "--length", 8, "--engine", "none", "--no-check", "--output", ".")
    assert (ran.code, ". is the current folder" in ran.err) == (2, True)


def test_a_file_that_may_not_be_read_is_said(bundle: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here not by its permissions, for root may read all."""

    def closed(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("drnn_runtimes.bundle.bundle.sha256", closed)
    ran = command("drnn-deploy", "inspect", bundle, "--json", "-")
    assert (ran.code, '"passed": false' in ran.out) == (2, True)
    assert f"cannot use {bundle}" in ran.err
    assert "Permission denied" in ran.err


def test_a_name_with_a_dash_can_be_typed_again(model: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    odd = model.rename(model.with_name("-m.pt"))
    assert command("drnn-deploy", "plan", "--length", 8, "--", "-m.pt").out.splitlines()[-1] == (
        f"next    drnn-export {odd} --length 8"
    )


def test_triton_refuses_before_the_export(model: Path, tmp_path: Path, command: Command) -> None:
    odd = model.rename(model.with_name("my net.pt"))
    words = ("--batch", "dynamic", "--engine", "none", "--no-check", "--triton", tmp_path / "models")
    ran = command(odd, "--length", 6, *words, "--output", tmp_path / "out")
    assert (ran.code, "'my net' cannot be a model's name in Triton\nRename the file" in ran.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_picture_of_nothing_leaves_the_report_and_its_code(model: Path, tmp_path: Path, command: Command) -> None:
    words = ("drnn-deploy", "bench", model, "--contender", "onnxruntime-cpu", "--form", "step", "--quick")
    ran = command(
        *words, "--limit", 1e-9, "--seconds", 1e-10, "--json", tmp_path / "report.json", "--picture", tmp_path / "p.svg"
    )
    assert (ran.code, "p.svg is not drawn: no contender was timed" in ran.out.replace("\n", " ")) == (3, True)
    assert '"rows"' in (tmp_path / "report.json").read_text(encoding="utf-8")
    ran = command(*words, "--picture", tmp_path / "p.pdf")
    assert (ran.code, "cannot be written as p.pdf" in ran.err) == (2, True)


def typed(line: str) -> int:
    """The code of a line of the shell, in which PROGRAM is the program of its first word."""
    program = f'"{sys.executable}" -c "import drnn_deploy.cli as c; c.main()"'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["bash", "-c", line.replace("PROGRAM", program)], env=environment, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    return int(done.stdout or done.returncode)


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
@pytest.mark.parametrize("line, code", [
    ("PROGRAM suggest --length 10 >&-", 0),
    ("PROGRAM --help | true; exit ${PIPESTATUS[0]}", BROKEN_PIPE),
    ("PROGRAM suggest --help | true; exit ${PIPESTATUS[0]}", BROKEN_PIPE),
    ("{ PROGRAM inspect nothing; echo $? >&3; } 3>&1 2> >(true)", None),
])  # fmt: skip
def test_closed_streams(line: str, code: int | None) -> None:
    """Whether a pipe is closed already when the program writes is chance: then it ends as if it were open."""
    assert typed(line) in (BROKEN_PIPE, 0 if code == BROKEN_PIPE else 2 if code is None else code)

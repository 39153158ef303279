"""The lint's own process: it survives what graphs do to it, or starts again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnx
import pytest
from onnx import helper

from drnn_core.errors import InputError
from drnn_core.worker_process import Child
from drnn_export.lint import process, worker
from drnn_export.lint.linter import lint_file, lint_model
from tests.export.lint.graphs import model, one


@pytest.fixture
def file(tmp_path: Path) -> Path:
    onnx.save(one("Tanh"), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> process._KeptChild:
    other = process._KeptChild()
    monkeypatch.setattr(process, "_KEPT", other)
    return other


def child(kept: process._KeptChild) -> Child:
    assert kept._child is not None
    return kept._child


def test_one_process_checks_many_files_and_models(file: Path, kept: process._KeptChild) -> None:
    for _ in range(3):
        assert lint_file(file, ["tensorrt-11"]) == {"tensorrt-11": ()}
        assert lint_model(onnx.load(file), "tensorrt-11", file.parent) == ()
    first = child(kept)
    assert {finding.rule for finding in lint_model(one("Det"), "tensorrt-11", file.parent)} == {"operator"}
    assert child(kept) is first
    kept.close()
    assert first.ended


def test_a_process_that_ended_is_started_again(file: Path, kept: process._KeptChild) -> None:
    lint_file(file)
    child(kept).kill()
    child(kept)._process.wait()
    assert lint_file(file, ["tensorrt-11"]) == {"tensorrt-11": ()}
    kept.close()


def test_a_file_that_takes_too_long_is_refused_and_the_next_is_checked(
    file: Path, kept: process._KeptChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_SECONDS", 0.01)
    with pytest.raises(InputError, match=r"model\.onnx cannot be checked: it takes over 0\.01 s"):
        lint_file(file)
    monkeypatch.undo()
    monkeypatch.setattr(process, "_KEPT", kept)
    assert lint_file(file, ["tensorrt-11"]) == {"tensorrt-11": ()}
    kept.close()


def test_a_process_that_crashes_is_told_without_its_words(
    file: Path, kept: process._KeptChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "Child", lambda _: Child("tests.core.worker_stand_in"))
    with pytest.raises(
        InputError, match=r"model\.onnx cannot be checked: the process that did so ended \(exit code 1\)"
    ):
        lint_file(file)  # a request that the stand-in does not know
    kept.close()


def test_a_file_too_large_to_check_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "model.onnx").open("wb") as file:
        file.truncate(process.MOST_BYTES + 1)
    with pytest.raises(InputError, match="has 400 MB, more than the 400 MB that are read") as refused:
        lint_file(tmp_path / "model.onnx")
    assert "external data" in refused.value.fix


def test_of_very_many_findings_the_first_are_told_and_all_are_counted(
    file: Path, kept: process._KeptChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(model([helper.make_node("Det", ["x"], [name]) for name in "yzuv"], ir=99), file)
    monkeypatch.setattr(worker, "_MOST", 3)
    monkeypatch.setattr(kept, "ask", lambda request: json.loads(json.dumps(worker._reply(request))))
    found = lint_file(file, ["tensorrt-11"])["tensorrt-11"]
    assert [finding.rule for finding in found] == ["operator"] * 3
    assert (found.errors, found.warnings, found.left_out) == (4, 1, 2)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited where the system can")
def test_the_process_has_no_more_memory_than_its_limit(file: Path, kept: process._KeptChild) -> None:
    lint_file(file)
    limits = Path(f"/proc/{child(kept)._process.pid}/limits").read_text(encoding="utf-8").splitlines()
    (data,) = (line.split() for line in limits if line.startswith("Max data size"))
    assert data[3] == str(process.MEMORY)
    kept.close()

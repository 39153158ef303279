"""Where a bundle goes: nobody's files are lost, and an export that fails leaves nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from drnn_core.errors import InputError
from drnn_deploy.cli import main
from drnn_deploy.exporter import pipeline
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.exporter.exports import QUICK, names
from tests.networks import random_weights


def test_folder_that_is_not_a_bundle_is_left_alone(command: Command, model: Path) -> None:
    mine = model.parent / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work", encoding="utf-8")
    ran = command(model, "--output", mine, *QUICK)
    assert ran.code == 2
    assert "is not empty and not a bundle" in ran.err
    assert "--output" in ran.err
    assert names(model.parent) == ["mine", "mine/thesis.tex", "model.pt"]
    assert (mine / "thesis.tex").read_text(encoding="utf-8") == "years of work"


def test_empty_folder_is_taken(command: Command, model: Path) -> None:
    (model.parent / "empty").mkdir()
    assert command(model, "--output", model.parent / "empty", *QUICK).code == 0
    assert (model.parent / "empty" / "manifest.json").is_file()


def test_earlier_bundle_is_replaced_as_a_whole(command: Command, model: Path, bundle: Path) -> None:
    before = names(bundle.parent)
    assert command(model, "--output", bundle, "--emission", "fused", "--emission", "unrolled", *QUICK).code == 0
    assert len(names(bundle.parent)) == len(before) + 1
    assert command(model, "--output", bundle, "--length", 5, *QUICK).code == 0
    assert Bundle.open(bundle).graphs[0].steps == 5
    assert names(bundle.parent) == before


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"files": 3}'])
def test_own_files_in_a_bundle_are_named_and_stay(command: Command, model: Path, bundle: Path, damage: str) -> None:
    (bundle / "notes.md").write_text("mine", encoding="utf-8")
    if damage:
        (bundle / "manifest.json").write_text(damage, encoding="utf-8")
    before = {name: (bundle.parent / name).read_bytes() for name in names(bundle.parent) if "." in name}
    ran = command(model, "--output", bundle, *QUICK)
    assert ran.code == 2
    assert "files that would be deleted" in ran.err
    assert "notes.md" in ran.err
    assert ("model.onnx" in ran.err) == bool(damage)  # what a damaged manifest does not name may be anyone's
    assert {name: (bundle.parent / name).read_bytes() for name in names(bundle.parent) if "." in name} == before


def test_earlier_bundle_stays_when_the_export_fails(command: Command, model: Path, bundle: Path) -> None:
    before = {name: (bundle.parent / name).read_bytes() for name in names(bundle.parent) if "." in name}
    assert command(model, "--output", bundle, "--emission", "unrolled", "--node-budget", 3, *QUICK).code == 2
    assert {name: (bundle.parent / name).read_bytes() for name in names(bundle.parent) if "." in name} == before


@pytest.mark.parametrize("output, says", [("model.pt", "which is read"), ("model.pt/bundle", "cannot write")])
def test_output_at_or_below_a_file(command: Command, model: Path, output: str, says: str) -> None:
    before = model.read_bytes()
    ran = command(model, "--output", model.parent / output, *QUICK)
    assert ran.code == 2
    assert says in ran.err
    assert "--output" in ran.err
    assert names(model.parent) == ["model.pt"]
    assert model.read_bytes() == before


@pytest.mark.parametrize("kilobytes", [4, 8, 12, 16, 20])
def test_disk_that_fills_up_at_any_point(
    command: Command, model: Path, small_disk: Callable[[int], Path], kilobytes: int
) -> None:
    disk = small_disk(kilobytes)
    ran = command(model, "--output", disk / "new" / "bundle", *QUICK)
    assert ran.code == 2
    assert "No space left on device" in ran.err
    assert "free space" in ran.err
    assert names(disk) == []


def test_checkpoint_on_a_full_disk(small_disk: Callable[[int], Path]) -> None:
    spec, disk = ModelSpec("lstm", (40,), (1,), Continuous(1), Head("last", 1)), small_disk(8)
    with pytest.raises(InputError, match="No space left"):
        save_checkpoint(disk / "model.pt", Checkpoint(spec, random_weights(spec, 0)))
    assert names(disk) == []


def test_write_that_fails_leaves_nothing(command: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pipeline, "write_golden", no_space)
    ran = command(model, "--output", model.parent / "new" / "bundle", *QUICK)
    assert ran.code == 2
    assert "No space left on device" in ran.err
    assert names(model.parent) == ["model.pt"]


def test_interrupt_leaves_nothing(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "write_golden", interrupt)
    monkeypatch.setattr("sys.argv", ["drnn-deploy", "export", str(model), "--output", str(model.parent / "bundle")])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 130
    assert capsys.readouterr().err.strip() == "drnn-deploy: stopped"
    assert names(model.parent) == ["model.pt"]

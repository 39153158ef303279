"""Runs of an agenda: what one of them lacks ends no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from drnn_deploy.training.outputs import open_run
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.training_run import TrainingRun
from tests.drnn_deploy.conftest import Command

TWO = """
task = "copy-memory"
title = "Two"
metric = "cross_entropy"
set = ["data.delay=3", "training.batch=4", "training.iterations=3", "model.hidden=[3]", "model.dilations=[2]"]

[runs]
rnn = ["model.cell=rnn"]
gru = ["model.cell=gru"]
"""


def test_a_package_that_a_run_lacks_ends_no_other(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(recipe: Recipe, *more: Any) -> TrainingRun:
        if recipe.spec.cell == "rnn":
            raise ModuleNotFoundError("No module named 'soundfile'", name="soundfile")
        return open_run(recipe, *more)

    monkeypatch.setattr("drnn_deploy.training.outputs.open_run", opened)
    path, output = tmp_path / "two.toml", tmp_path / "runs"
    path.write_text(TWO, encoding="utf-8")
    ran = command("drnn-deploy", "experiment", path, "--output", output)
    assert ran.code == 2
    assert "1 failed: two/rnn: this command needs soundfile" in ran.err
    assert "pip install 'drnn-deploy[audio]'" in ran.err
    assert [file.stem for file in (output / "results" / "two").iterdir()] == ["gru"]

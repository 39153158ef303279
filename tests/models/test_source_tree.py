"""The source tree as it is, without having been installed: its zoo is found and its commands start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drnn_zoo import ZOO, experiment_names

REPOSITORY = Path(__file__).parents[2]
ROOTS = [REPOSITORY, *(REPOSITORY / name for name in ("export", "models", "runtimes"))]


def test_the_zoo_is_that_of_the_tree_that_runs() -> None:
    assert ZOO == REPOSITORY / "models" / "zoo"


@pytest.fixture
def uninstalled() -> dict[str, str]:
    """Python with the tree's folders, and the packages of others, but without this project's installation."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, ROOTS))}


def ran(environment: dict[str, str], *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`python -m drnn_deploy WORDS`, where the distribution cannot be found."""
    program = (
        "import importlib.metadata, runpy, sys\n"
        "def missing(name): raise importlib.metadata.PackageNotFoundError(name)\n"
        "importlib.metadata.version = missing\n"
        "runpy.run_module('drnn_deploy', run_name='__main__', alter_sys=True)\n"
    )
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=120)


@pytest.mark.parametrize("command", ["experiment", pytest.param("train", marks=pytest.mark.nightly), "doctor"])
def test_commands_run_from_the_tree(command: str, uninstalled: dict[str, str], tmp_path: Path) -> None:
    words = {
        "experiment": ["experiment"],
        "train": ["train", "copy-memory", "--output", "o", "--set=training.iterations=1", "--set=data.delay=3"],
        "doctor": ["doctor", "--json", "-"],
    }[command]
    done = ran(uninstalled, *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    if command == "experiment":
        *listed, last = done.stdout.splitlines()
        assert [line.partition(":")[0] for line in listed] == experiment_names()
        assert last == "next    drnn-deploy experiment NAME"
    if command == "train":
        assert (tmp_path / "o" / "model.pt").is_file()
    if command == "doctor":
        assert json.loads(done.stdout)["runtimes"]["reference"]["usable"]


def test_the_version_and_the_name_of_the_command(uninstalled: dict[str, str], tmp_path: Path) -> None:
    assert ran(uninstalled, "--version", folder=tmp_path).stdout.startswith("drnn-deploy, version 0.")
    help_ = ran(uninstalled, "--help", folder=tmp_path)
    assert help_.stdout.startswith("Usage: drnn-deploy ")

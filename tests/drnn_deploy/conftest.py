"""A tiny trained network, its file and its bundle, and the commands run in this process."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from drnn_deploy import ExportOptions, datasets, export
from drnn_deploy.cli import main, main_export
from drnn_deploy.tasks import ptb_char
from drnn_models.checkpoint import Checkpoint, Examples, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import random_inputs, random_weights

LENGTH = 8
TEXTS = {
    "train": " the cat sat on the mat \n a dog & a $ N bill \n" * 7,
    "validation": " once upon a time there were N bears \n the end \n",
    "test": " seven birds & N boats went up the river \n and then the <unk> said it could n't see them \n",
}


@dataclasses.dataclass(frozen=True)
class Ran:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run `drnn-export ...`, or `drnn-deploy ...` where the first word is "drnn-deploy"."""

    def run(*words: object, columns: str | None = None) -> Ran:
        name, entry = ("drnn-export", main_export)
        if words[0] == "drnn-deploy":
            name, entry, words = "drnn-deploy", main, words[1:]
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        monkeypatch.delenv("COLUMNS", raising=False)  # the width of a log, not of the terminal that runs the tests
        if columns:
            monkeypatch.setenv("COLUMNS", columns)
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            entry()
        ran = Ran(int(exit_.value.code or 0), *capfd.readouterr())
        assert "Traceback" not in ran.out + ran.err
        return ran

    return run


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `TEXTS` as the Penn Treebank, which is taken for the real one."""
    folder = tmp_path / "ptb-char"
    folder.mkdir()
    for split, text in TEXTS.items():
        (folder / ptb_char._FILES[split]).write_text(text, encoding="utf-8")
    monkeypatch.setattr(datasets, "folder", lambda name: tmp_path / name)
    return folder


@pytest.fixture(scope="session")
def network() -> Checkpoint:
    """Two GRU layers on eight steps of two features, with three labelled examples."""
    spec = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
    examples = Examples(random_inputs(spec, 3, LENGTH, 1), np.array([0, 1, 2]), "made up")
    return Checkpoint(spec, random_weights(spec, 0), {"length": LENGTH}, examples=examples)


@pytest.fixture
def model(network: Checkpoint, tmp_path: Path) -> Path:
    """The network's checkpoint, alone in a folder of its own."""
    path = tmp_path / "here" / "model.pt"
    save_checkpoint(path, network)
    return path


@pytest.fixture(scope="session")
def pristine(network: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's bundle, exported once; `bundle` copies it."""
    folder = tmp_path_factory.mktemp("pristine") / "bundle"
    result = export(network, folder, ExportOptions(engines=(), runtimes=("reference", "torch", "onnxruntime-cpu")))
    assert result.exit_code == 0
    return folder


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    """A bundle of the network that the test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of so many kB; the test is skipped where it may not."""
    mount = shutil.which("mount")
    with contextlib.ExitStack() as mounted:

        def make(kilobytes: int) -> Path:
            folder = tmp_path / f"disk of {kilobytes} kB"
            folder.mkdir()
            command = [mount or "", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
            if mount is None or subprocess.run(command, capture_output=True).returncode:
                pytest.skip("needs the right to mount a small file system")
            mounted.callback(subprocess.run, ["umount", str(folder)], check=True)
            return folder

        yield make

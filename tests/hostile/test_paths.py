"""Names of files that nobody should have given: every public function and every command refuses them in words.

Nothing is read that never ends, no device, socket or pipe is replaced, and nothing is left behind.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import drnn_deploy
import drnn_export
import drnn_models
import drnn_runtimes
from drnn_core.errors import DeployError
from drnn_deploy import Bundle, MatrixOptions, export
from drnn_models import DilatedRNN, ModelSpec
from drnn_models.spec import Continuous, Head

NAMES = {
    "long": "a" * 300,
    "deep": "a/" * 3000 + "b",
    "many bytes": "ü" * 200,
    "NUL": "nul\0name",
    "no UTF-8": "\ud800",
    "nothing": "",
    "here": ".",
    "above": "..",
    "root": "/",
    "folder": "folder",
    "slash": "new/",
    "below a file": "file/below",
    "loop": "loop",
    "dangling": "dangling",
    "socket": "socket",
    "pipe": "pipe",
    "device": "device",
    "lines": "a\nb\x1b[31m",
    "dash": "-",
}
BY_DAY = [
    pytest.param(name, id=name, marks=() if name in ("long", "NUL", "pipe", "device") else pytest.mark.nightly)
    for name in NAMES
]
SECONDS = 10  # that reading a pipe or a device would take, and more


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Iterator[types.SimpleNamespace]:
    """A network in every shape that functions take one, and a folder with hostile names, which is the current one."""
    spec = ModelSpec("gru", (3,), (2,), Continuous(2), Head("last", 3))
    folder = tmp_path_factory.mktemp("good")
    module = DilatedRNN(spec)
    drnn_models.save_checkpoint(folder / "model.pt", module)
    settings: dict[str, Any] = {"engines": (), "check": "none"}
    bundle = export(module, folder / "bundle", length=8, **settings).bundle
    stream = export(module, folder / "stream", forms=("chunk",), chunk=4, **settings).bundle
    changes = ("model.cell=rnn", "model.hidden=[2]", "model.dilations=[2]")
    training = drnn_deploy.TrainingRun.start(drnn_deploy.load_recipe("copy-memory", None, changes))
    np.save(folder / "x.npy", np.zeros((1, 8, 2), np.float32))
    yield types.SimpleNamespace(
        spec=spec, module=module, bundle=bundle, stream=stream, training=training, folder=folder
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    place = tmp_path / "hostile"
    (place / "folder").mkdir(parents=True)
    (place / "folder" / "file").write_bytes(b"x")
    (place / "file").write_bytes(b"x")
    (place / "loop").symlink_to("loop")
    (place / "dangling").symlink_to("nowhere")
    os.mkfifo(place / "pipe")
    (place / "device").symlink_to("/dev/zero")
    monkeypatch.chdir(place)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        yield place


class Endless(BaseException):
    """Which no `except OSError` takes for an error of the system."""


def too_long(*_: object) -> None:
    raise Endless("it reads what never ends")


def reads(things: types.SimpleNamespace) -> dict[str, Callable[[str], object]]:
    """What reads a file or folder, by name."""
    bundle, good = things.bundle, things.folder

    def state(path: str) -> None:
        with drnn_runtimes.find_runtime("reference").stream(things.stream) as stream:
            stream.load_state(path)

    def checked(**files: Any) -> Callable[[str], object]:
        (name, make), *_ = files.items()
        more = {"inputs": good / "x.npy"} if name == "outputs" else {}
        return lambda path: drnn_deploy.check_bundle(
            bundle, MatrixOptions(("reference",), **{name: make(path)}, **more)
        )

    return {
        "load_checkpoint": drnn_models.load_checkpoint,
        "Bundle.open": Bundle.open,
        "export": lambda path: export(path, good / "out", length=8, engines=(), check="none"),
        "check_path": drnn_deploy.check_path,
        "plan_checkpoint": lambda path: drnn_deploy.plan_checkpoint(path),
        "evaluate_checkpoint": lambda path: drnn_deploy.evaluate_checkpoint(path, "it"),
        "lint_file": drnn_export.lint_file,
        "import_file": lambda path: drnn_models.import_file(path, good / "out.pt"),
        "import_network": lambda path: drnn_deploy.import_network(path, good / "out.pt"),
        "import_network compare": lambda path: drnn_deploy.import_network(
            good / "model.pt", good / "out.pt", "torch", compare=path
        ),
        "load_recipe": lambda path: drnn_deploy.load_recipe("copy-memory", path) if path else too_few(),
        "TrainingRun.resume": drnn_deploy.TrainingRun.resume,
        "StreamState.load": drnn_runtimes.StreamState.load,
        "Stream.load_state": state,
        "Reproduction.load": drnn_deploy.Reproduction.load,
        "MatrixOptions.inputs": checked(inputs=str),
        "MatrixOptions.outputs": checked(outputs=str),
        "MatrixOptions.against": checked(against=Path),
        "MatrixOptions.graph": checked(graph=str),
        "build_engine": lambda path: drnn_export.build_engine(
            path, good / "out.engine", "tensorrt-rtx", compute_capabilities=("8.6",)
        ),
    }


def too_few() -> None:
    """The empty name of a recipe is the default's, in any language."""
    raise DeployError("as if it were refused")


def writes(things: types.SimpleNamespace) -> dict[str, Callable[[str], object]]:
    """What writes a file or folder, by name."""
    module, good = things.module, things.folder

    def saved(path: str) -> None:
        with drnn_runtimes.find_runtime("reference").stream(things.stream) as stream:
            stream.save_state(path)
            stream.state().save(path)

    return {
        "save_checkpoint": lambda path: drnn_models.save_checkpoint(path, module),
        "export": lambda path: export(module, path, length=8, engines=(), check="none"),
        "Stream.save_state": saved,
        "import_network": lambda path: drnn_deploy.import_network(good / "model.pt", path, "torch", force=True),
        "TrainingRun.save": things.training.save,
    }


def attempt(function: Callable[[str], object], path: str) -> str:
    """What a function says of a path; "" where it takes it."""
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        function(path)
    except DeployError as error:
        assert error.message and "\x1b" not in str(error) and "\0" not in str(error) and len(str(error)) < 2000
        return error.message
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return ""


def kinds(place: Path) -> dict[str, int]:
    return {str(path): stat.S_IFMT(path.lstat().st_mode) for path in [place, *sorted(place.rglob("*"))]}


@pytest.mark.parametrize("name", BY_DAY)
def test_what_reads_refuses_every_name(things: types.SimpleNamespace, place: Path, name: str) -> None:
    before = kinds(place)
    wrong = {}
    for called, function in reads(things).items():
        try:
            said = attempt(function, NAMES[name])
            if not said:
                wrong[called] = "taken"
        except Exception as error:  # whatever it is, it is none of ours
            wrong[called] = f"{type(error).__name__}: {error!s:.200}"
    assert not wrong
    assert kinds(place) == before


@pytest.mark.parametrize("name", BY_DAY)
def test_what_writes_refuses_or_writes_and_replaces_nothing_else(
    things: types.SimpleNamespace, place: Path, name: str
) -> None:
    wrong = {}
    for called, function in writes(things).items():
        before = kinds(place)
        try:
            said = attempt(function, NAMES[name])
        except Exception as error:
            wrong[called] = f"{type(error).__name__}: {error!s:.200}"
            continue
        after = kinds(place)
        if said and after != before:
            wrong[called] = f"refused, and changed {before.keys() ^ after.keys()}"
        if {path: kind for path, kind in after.items() if path in before and name != "dangling"} != {
            path: kind for path, kind in before.items() if name != "dangling"
        }:
            wrong[called] = "replaced something of another kind"
    assert not wrong

"""The last line of every command says what to type next, and what it says can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import onnx
import pytest

from drnn_deploy.cli import drnn_deploy
from tests.drnn_deploy.cli.leaves import leaves
from tests.drnn_deploy.conftest import Command, Ran
from tests.export.lint.graphs import one, recurrent

CPU = ("--runtime", "onnxruntime-cpu")
RUNS: dict[str, tuple[str, ...]] = {  # of each command, with places of the fixture in capitals
    "cache show": (),
    "cache clear": ("references",),
    "completion": ("bash",),
    "data fetch": ("pixel-mnist",),
    "data verify": ("pixel-mnist",),
    "doctor": (),
    "evaluate": ("ZOO", "--limit", "1"),
    "experiment": (),
    "export": ("MODEL", "--output", "made", "--engine", "none", "--quick"),
    "export --no-check": ("MODEL", "--output", "made", "--engine", "none"),
    "import": ("WEIGHTS", "--layout", "zalando", "--output", "imported.pt"),
    "inspect": ("BUNDLE",),
    "lint": ("GRAPH",),
    "lint --target tensorrt-rtx": ("GRAPH",),
    "parity": ("BUNDLE", *CPU),
    "parity MODEL": (*CPU, "--form", "step"),
    "parity BUNDLE --inputs x.npy": (*CPU,),
    "plan": ("MODEL",),
    "run": ("BUNDLE", "--input", "x.npy", "--output", "y.npy"),
    "suggest": ("--length", "784"),
}
ELSEWHERE = {  # they need a sound, a training or the like, which tests of their own have; these see the last line
    "bench": "cli/test_bench.py",
    "demo": "cli/test_cli.py",
    "report": "training/test_experiments.py",
    "stream": "test_audio_classifier.py",
    "train": "cli/test_commands.py",
}
OF_OTHERS = {  # what the last line has typed that no command of this package is
    "completion": "or type: exec bash",
    "lint": "trtexec '--onnx=",
    "lint --target tensorrt-rtx": "tensorrt_rtx '--onnx=",
}
PROGRAM = re.compile(r"drnn-(?:deploy|export|parity) .*")


@pytest.fixture
def place(model: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    onnx.save(one("Tanh"), tmp_path / "my graph.onnx")
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 2), np.float32))
    for name in ("fetch", "verify"):
        monkeypatch.setattr(f"drnn_deploy.datasets.{name}", lambda *_, **__: [])
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "DRNN_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    root = Path(__file__).parents[3]
    places = {
        "MODEL": model,
        "BUNDLE": bundle,
        "GRAPH": tmp_path / "my graph.onnx",
        "WEIGHTS": root / "tests" / "models" / "fixtures" / "zalando-lstm-classifier.pt",
        "ZOO": root / "models" / "zoo" / "copy-memory" / "model.pt",
    }
    return lambda word: str(places.get(word, word))


def says_what_to_type(ran: Ran) -> str:
    """The command in the last line, of which every option must be there."""
    last = ran.out.splitlines()[-1]
    assert last.startswith("next    "), ran.out
    found = PROGRAM.search(last)
    assert found, last
    program, *words = shlex.split(found[0])
    words = words if program == "drnn-deploy" else [program.removeprefix("drnn-"), *words]
    command: click.Command = drnn_deploy
    while isinstance(command, click.Group) and words:
        inner = command.get_command(click.Context(command), words[0])
        assert inner is not None, last
        command, words = inner, words[1:]
    assert not isinstance(command, click.Group), last
    command.make_parser(click.Context(command)).parse_args(list(words))  # an option that there is not raises
    return found[0]


def test_every_command_is_here() -> None:
    commands = {" ".join(words) for words in leaves()}
    assert {
        name for name in commands if any(f"{run} ".startswith(f"{name} ") for run in (*RUNS, *ELSEWHERE))
    } == commands


@pytest.mark.parametrize("name", RUNS)
def test_the_last_line_of_a_pass_says_what_to_type(command: Command, place: Callable[[str], str], name: str) -> None:
    ran = command("drnn-deploy", *map(place, (*name.split(), *RUNS[name])))
    assert ran.code == 0, ran.err
    if name in OF_OTHERS:
        assert re.fullmatch(rf"next    .*{re.escape(OF_OTHERS[name])}.*", ran.out.splitlines()[-1])
    else:
        says_what_to_type(ran)
    quiet = name in ("doctor", "plan", "inspect", "suggest") and command(
        "drnn-deploy", *map(place, (*name.split(), *RUNS[name])), "--quiet"
    )
    assert not quiet or "next" not in quiet.out


def test_a_failure_is_led_on_step_by_step(command: Command, place: Callable[[str], str], bundle: Path) -> None:
    """From the check to the layer, from there to the smallest file, and to a page; nothing that was typed is lost."""
    words = ["drnn-parity", place("BUNDLE"), *CPU, "--max-noise", "1e-09", "--threads", "1"]
    for option in ("--explain", "--repro", "--html"):
        typed = words[1:]
        ran = command("drnn-deploy", "parity", *typed)
        assert ran.code == 1
        words = shlex.split(says_what_to_type(ran))
        assert option in words and set(typed) - {"--explain", "--repro", "repro"} <= set(words)


def test_what_is_missing_is_the_doctors(command: Command, place: Callable[[str], str]) -> None:
    ran = command("drnn-deploy", "parity", place("BUNDLE"), *CPU, "--require", "tensorrt")
    assert ran.code == 3
    assert says_what_to_type(ran) == "drnn-deploy doctor"


def test_a_graph_with_errors_is_checked_again(command: Command, tmp_path: Path) -> None:
    onnx.save(recurrent("GRU", layout=1), tmp_path / "my graph.onnx")
    ran = command("drnn-deploy", "lint", tmp_path / "my graph.onnx")
    assert ran.code == 4
    assert shlex.split(says_what_to_type(ran)) == ["drnn-deploy", "lint", str(tmp_path / "my graph.onnx")]

"""No option is ignored in silence: alone it changes what the command is about to do, or it is refused.

The work itself is left out: what is compared is what it would be asked for.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import pytest

from drnn_core.errors import InputError
from drnn_deploy.cli import drnn_deploy
from drnn_deploy.cli.values import Checked
from drnn_models.checkpoint import Checkpoint
from tests.drnn_deploy.cli.leaves import leaves
from tests.drnn_deploy.conftest import Command
from tests.export.lint.graphs import one

WORK = (  # what a command calls for its work
    "drnn_deploy.bench.run.bench",
    "drnn_deploy.datasets.fetch",
    "drnn_deploy.evaluation.evaluate_bundle",
    "drnn_deploy.exporter.pipeline.export",
    "drnn_deploy.importing.import_network.import_network",
    "drnn_deploy.matrix.run.check_path",
    "drnn_deploy.planner.plan.plan_checkpoint",
    "drnn_deploy.training.experiments.load_experiment",
    "drnn_deploy.training.loop.TrainingRun.start",
    "drnn_deploy.training.recipe.load_recipe",
    "drnn_export.lint.linter.lint_file",
    "drnn_models.path_lengths.analyse",
    "drnn_runtimes.runtime.StreamingRuntime.stream",
    "drnn_runtimes.whole_runs.run_sequences",
    "drnn_deploy.cli.doctor.examine",
    "drnn_deploy.cli.demo._digits",
)
BASES: dict[str, tuple[str, ...]] = {  # of each command with options of its own: what must be typed
    "bench": ("MODEL",),
    "data fetch": ("pixel-mnist",),
    "evaluate": ("BUNDLE",),
    "experiment": ("start-dilation",),
    "export": ("MODEL",),
    "import": ("MODEL",),
    "lint": ("GRAPH",),
    "parity": ("BUNDLE",),
    "plan": ("MODEL",),
    "report": ("--results", "FOLDER"),
    "run": ("BUNDLE", "--input", "INPUT", "--output", "y.npy"),
    "demo": ("BUNDLE",),
    "doctor": (),
    "stream": ("-", "--model", "BUNDLE", "--rate", "8000"),
    "suggest": ("--length", "8"),
    "train": ("copy-memory",),
}
VALUES: dict[str, tuple[str, ...]] = {  # of an option: what is typed behind it, and what else must be typed
    "--activation": ("relu",),
    "--against": ("MODEL",),
    "--atol": ("0.5",),
    "--baseline": ("BASELINE",),
    "--batch": ("3",),
    "--block": ("4", "--style", "blocked"),
    "--cell": ("lstm",),
    "--chunk": ("4", "--form", "chunk"),
    "--compare": ("INPUT",),
    "--compute-capability": ("8.6", "--engine", "tensorrt-rtx"),
    "--config": ("RECIPE",),
    "--contender": ("torch-eager",),
    "--dilations": ("1,3",),
    "--embedding": ("x",),
    "--engine": ("none",),
    "--engine-seconds": ("7",),
    "--every": ("0.5",),
    "--experiment": ("start-dilation",),
    "--features": ("3",),
    "--first": ("2",),
    "--form": ("step",),
    "--from": ("FOLDER",),
    "--graph": ("GRAPH",),
    "--hardware": ("ampere+",),
    "--head": ("last",),
    "--head-weight": ("x",),
    "--hidden": ("3",),
    "--ignore": ("x",),
    "--inputs": ("INPUT",),
    "--input": ("OTHER",),
    "--layer": ("x",),
    "--layout": ("torch",),
    "--length": ("9",),
    "--limit": ("9",),
    "--max-noise": ("7",),
    "--minutes": ("3",),
    "--max-slowdown": ("2",),
    "--native-name": ("net",),
    "--native-precision": ("int8",),
    "--native-target": ("aarch64-linux-gnu",),
    "--node-budget": ("30",),
    "--optimization-level": ("2",),
    "--outputs": ("3",),
    "--parallel": ("2",),
    "--precision": ("fp16",),
    "--rate": ("8000", "--latency"),
    "--reference-minutes": ("3",),
    "--rename": ("x=input",),
    "--require": ("torch",),
    "--reset": ("before",),
    "--results": ("FOLDER",),
    "--rtol": ("0.5",),
    "--run": ("x",),
    "--runtime": ("reference",),
    "--scheduler": ("tcp://127.0.0.1:1",),
    "--sample-format": ("f32",),
    "--seconds": ("2",),
    "--set": ("seed=9",),
    "--split": ("validation",),
    "--device": ("0",),
    "--steps": ("3",),
    "--style": ("operator",),
    "--target": ("tensorrt",),
    "--task": ("pixel-mnist",),
    "--task-data": ("3",),
    "--threads": ("2",),
    "--workspace": ("9",),
}
SPECIAL: dict[tuple[str, str], tuple[str, ...]] = {  # where a command's option takes something else
    ("lint", "--target"): ("tensorrt-11",),
    ("lint", "--compute-capability"): ("8.6",),
    ("import", "--steps"): ("3", "--head", "last_k"),
    ("parity", "--outputs"): ("INPUT", "--inputs", "INPUT"),
    ("parity", "--rename"): ("x=input", "--graph", "GRAPH"),
    ("bench", "--style"): ("unrolled",),
    ("export", "--ring"): ("--form", "step"),
    ("suggest", "--dilations"): ("1,3",),
}
ELSEWHERE = {  # their work is not to be left out, and tests of their own see what they do
    **dict.fromkeys((("stream", f"--{name}") for name in ("model", "every", "rate")), "test_audio_classifier.py"),
    ("stream", "--sample-format"): "test_audio_classifier.py",
    **dict.fromkeys((("experiment", f"--{name}") for name in ("run", "device", "threads")), "test_experiments.py"),
    **dict.fromkeys((("experiment", f"--{name}") for name in ("parallel", "minutes")), "test_side_by_side.py"),
    ("experiment", "--scheduler"): "test_on_cluster.py",
    **dict.fromkeys((("train", f"--{name}") for name in ("device", "resume", "threads")), "test_train_command.py"),
    ("demo", "--threads"): "test_zoo.py",
    ("parity", "--explain"): "test_explanations.py",
    ("parity", "--baseline"): "test_parity.py",
    ("parity", "--max-slowdown"): "test_parity.py",
    ("completion", "--print"): "test_completion.py",
    ("report", "--experiment"): "test_experiments.py",
    ("report", "--results"): "test_experiments.py",
}  # fmt: skip


def options() -> Iterator[tuple[str, str, click.Option]]:
    """Every option of every command, but those that name a file to write, which are there or not."""
    for words in leaves():
        command: click.Command = drnn_deploy
        for word in words:
            assert isinstance(command, click.Group)
            command = command.get_command(click.Context(command), word) or command
        for option in command.params:
            shown = isinstance(option, click.Option) and not {"-q", "-v", "--version"} & {*option.opts}
            if isinstance(option, click.Option) and shown and not _writes(option):
                yield " ".join(words), option.opts[0], option


def _writes(option: click.Option) -> bool:
    return isinstance(option.type, Checked) and option.type.writes


@pytest.fixture
def asked_for(
    command: Command, network: Checkpoint, pristine: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """What a command is about to do: how it was refused, or what it calls for its work, and in which environment."""
    onnx.save(one("Tanh"), tmp_path / "graph.onnx")
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 2), np.float32))
    np.save(tmp_path / "other.npy", np.ones((2, 8, 2), np.float32))
    (tmp_path / "recipe.toml").write_text("seed = 9", encoding="utf-8")
    places = {"MODEL": model, "BUNDLE": pristine, "GRAPH": tmp_path / "graph.onnx", "INPUT": tmp_path / "x.npy"}
    places |= {"OTHER": tmp_path / "other.npy", "RECIPE": tmp_path / "recipe.toml", "FOLDER": tmp_path}
    monkeypatch.chdir(tmp_path)
    sound = types.SimpleNamespace(rate=8000)
    monkeypatch.setattr("drnn_deploy.audio_classifier.AudioFormat.of", lambda _: sound)
    calls: list[str] = []

    def instead(name: str) -> Callable[..., Any]:
        def called(*given: Any, **named: Any) -> Any:
            environment = [os.environ.get(variable) for variable in ("CUDA_VISIBLE_DEVICES", "DRNN_TRUST_IMAGES")]
            calls.append(f"{name} {_described([given, named])} {environment}")
            raise InputError("no work is done here")

        return called

    for name in WORK:
        monkeypatch.setattr(name, instead(name))

    def run(*words: str) -> str:
        calls.clear()
        ran = command("drnn-deploy", *(places.get(word, word) for word in words))
        assert ran.code == 2
        return " ".join(calls) or f"refused: {ran.err}"

    return run


def _described(value: Any) -> Any:
    """A value without what differs from one run to the next."""
    if isinstance(value, dict):
        return {name: _described(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_described(one) for one in value]
    if hasattr(value, "with_threads"):
        return value.name, value._threads
    return type(value).__name__ if callable(value) or isinstance(value, Checkpoint) else str(value)


@pytest.mark.parametrize(
    "name, word, option", list(options()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_option_changes_something_or_is_refused(
    name: str, word: str, option: click.Option, asked_for: Callable[..., str]
) -> None:
    if (name, word) in ELSEWHERE:
        return
    value = SPECIAL.get((name, word), () if option.is_flag else VALUES[word])
    split = 0 if option.is_flag else 1
    typed, more = value[:split], value[split:]
    if option.is_flag and option.default is True:
        word = option.secondary_opts[0]
    base = (*name.split(), *BASES[name], *more)
    without, given = asked_for(*base), asked_for(*base, word, *typed)
    assert asked_for(*base) == without
    assert not without.startswith("refused"), without
    assert given != without
    assert not given.startswith("refused") or "ignored" in given or "is for" in given, given


def test_the_tables_name_options_that_there_are_and_files_that_type_them() -> None:
    known = {(name, word) for name, word, _ in options()}
    assert {*SPECIAL, *ELSEWHERE} <= known
    assert {*VALUES} <= {word for _, word in known}
    assert {name for name, _ in known} <= {*BASES, *(name for name, _ in ELSEWHERE)}
    folder = Path(__file__).parent.parent
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.rglob("test_*.py")}
    for (name, word), file in ELSEWHERE.items():
        assert f'"{name}"' in texts[file] and f'"{word}"' in texts[file], (name, word, file)


@pytest.mark.parametrize("option", ["--set", "--config"])
def test_what_is_resumed_without_a_task_is_what_the_state_holds(option: str, tmp_path: Path, command: Command) -> None:
    for name in ("state.pt", "recipe.toml"):
        (tmp_path / name).write_text('task = "copy-memory"', encoding="utf-8")
    value = "seed=4" if option == "--set" else tmp_path / "recipe.toml"
    ran = command("drnn-deploy", "train", "--resume", "--output", tmp_path, option, value)
    assert (ran.code, f"{option} would be ignored: it needs TASK" in ran.err) == (2, True)

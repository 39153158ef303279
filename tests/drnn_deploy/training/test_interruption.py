"""What an interruption of any kind leaves behind, and that going on from it changes nothing."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from drnn_deploy.training import loop
from drnn_deploy.training.loop import evaluate, train
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.stops import terminable
from drnn_deploy.training.training_run import TrainingRun
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.training.tiny import RECIPES, SET, assert_same_end, finished, lines, recipe_of
from tests.nightly import some_by_day
from tests.waiting import wait_for

pytestmark = pytest.mark.usefixtures("ctrl_c")


@RECIPES
@pytest.mark.parametrize("after", some_by_day([1, 2, 3, 4], 3))
def test_stopping_after_a_line_and_going_on_changes_nothing(
    recipe: Recipe, state: Path, after: int, whole_of: Callable[[Recipe], TrainingRun]
) -> None:
    run = TrainingRun.start(recipe)
    steps = train(run, state)
    for _ in range(after):
        next(steps)
    steps.close()
    resumed = finished(TrainingRun.resume(state, recipe), state)
    assert_same_end(resumed, whole_of(recipe))


class Interrupt:
    """Calls a function, with Ctrl-C on its `at`-th call: before it, or in the middle where that is what it does."""

    def __init__(
        self, function: Callable[..., Any], at: int, *, before: bool, stop: signal.Signals = signal.SIGINT
    ) -> None:
        self.function, self.at, self.before, self.stop, self.calls = function, at, before, stop, 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls == self.at and self.before:
            raise KeyboardInterrupt
        result = self.function(*arguments, **named)
        if self.calls == self.at:
            signal.raise_signal(self.stop)
        return result


def interrupted(run: TrainingRun, state: Path) -> TrainingRun:
    with pytest.raises(KeyboardInterrupt):
        finished(run, state)
    return TrainingRun.resume(state, run.recipe)


@pytest.mark.parametrize("at", [1, 20, 21, 27, 30, 31, 50])
def test_ctrl_c_before_a_step_loses_nothing(
    state: Path, whole: TrainingRun, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", Interrupt(loop.take_step, at, before=True))
        resumed = interrupted(TrainingRun.start(recipe_of()), state)
    assert resumed.iteration == at - 1
    assert_same_end(finished(resumed, state), whole)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [1, 20, 27, 50])
def test_a_stop_in_the_middle_of_a_step_waits_for_its_end(
    state: Path, whole: TrainingRun, stop: signal.Signals, at: int
) -> None:
    """The weights have changed and the iteration is not counted: saved like this, the step would be taken twice."""
    run = TrainingRun.start(recipe_of())
    run.optimizer.step = Interrupt(run.optimizer.step, at, before=False, stop=stop)  # type: ignore[method-assign]
    with terminable():
        resumed = interrupted(run, state)
    assert resumed.iteration == at
    assert_same_end(finished(resumed, state), whole)


def test_ctrl_c_works_again_after_training(state: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with terminable():
        finished(TrainingRun.start(recipe_of()), state)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_ctrl_c_while_validating_loses_nothing(
    state: Path, whole: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", Interrupt(evaluate, 1, before=True))
        resumed = interrupted(TrainingRun.start(recipe_of()), state)
    assert (resumed.iteration, len(resumed.log)) == (30, 1)
    assert_same_end(finished(resumed, state), whole)


def test_training_goes_on_from_every_state_that_is_saved(
    state: Path, whole: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SAVE_SECONDS", 0.0)
    saved: list[bytes] = []
    for _ in train(TrainingRun.start(recipe_of()), state):
        saved += [state.read_bytes()] if state.exists() else []
    assert len(saved) == 4
    for content in saved:
        state.write_bytes(content)
        assert_same_end(finished(TrainingRun.resume(state, recipe_of()), state), whole)


def test_state_is_saved_before_a_validation_and_between_slow_steps(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validation of minutes, or twenty steps of a minute each, must not be lost work."""
    seen: list[int] = []

    def validate(*_: object) -> dict[str, float]:
        seen.append(TrainingRun.resume(state, recipe_of()).iteration)
        return {"accuracy": 0.0, "cross_entropy": 1.0}

    monkeypatch.setattr(loop, "evaluate", validate)
    next(line for line in train(TrainingRun.start(recipe_of()), state) if line.validation)
    assert seen == [30]
    monkeypatch.setattr(loop, "_SAVE_SECONDS", 0.0)
    step, run = loop.take_step, TrainingRun.start(recipe_of())

    def watched(run: TrainingRun, task: Any) -> torch.Tensor:
        seen.append(TrainingRun.resume(state, recipe_of()).iteration if run.iteration else 0)
        return step(run, task)

    monkeypatch.setattr(loop, "take_step", watched)
    next(train(run, state))
    assert seen[1:] == list(range(20))


# processes that end before their time

LONG = [*SET, "--set", "training.iterations=100000", "--threads", "1"]


def start(tmp_path: Path, code: str, *words: str) -> subprocess.Popen[str]:
    """`drnn-deploy WORDS` in a process of its own, after running `code` in it."""
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from drnn_deploy.training import loop\n{code}\n"
        "from drnn_deploy.cli import main\nmain()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip


def wait_for_file(path: Path, process: subprocess.Popen[str]) -> None:
    def is_there() -> bool:
        assert process.poll() is None, process.communicate()
        return path.exists()

    wait_for(is_there, 300)  # machines may be busy


def test_killed_process_leaves_a_state_that_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with start(tmp_path, "loop._SAVE_SECONDS = 0", "train", "copy-memory", *LONG, "--output", "out") as process:
        wait_for_file(out / "state.pt", process)
        time.sleep(0.3)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    recipe = recipe_of("training.iterations=100000")
    resumed = TrainingRun.resume(out / "state.pt", recipe)
    assert 0 < resumed.iteration < 100_000
    whole = TrainingRun.start(recipe)
    until = resumed.iteration + 100
    for run in (resumed, whole):
        for line in train(run, tmp_path / "other.pt"):
            if line.iteration >= until:
                break
    assert_same_end(resumed, whole)


@pytest.mark.nightly  # by day in this process, above
@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_have_exit_codes_and_name_the_command_that_goes_on(
    stop: signal.Signals,
    code: int,
    command: Command,
    tmp_path: Path,
    whole: TrainingRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = (
        "import pathlib, time; step = loop.take_step\n"
        "def slow(*a): time.sleep(0.05); pathlib.Path('started').touch(); return step(*a)\n"
        "loop.take_step = slow"
    )
    with start(tmp_path, slow, "train", "copy-memory", *SET, "--output", "my run") as process:
        wait_for_file(tmp_path / "started", process)
        process.send_signal(stop)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, "")
    stopped, message = out.strip().splitlines()[-2:]
    assert stopped.startswith("stopped at iteration ")
    assert (tmp_path / "my run" / "state.pt").is_file()
    assert not (tmp_path / "my run" / "model.pt").exists()
    name, *words = shlex.split(message.partition("go on with: ")[2])
    assert name == "drnn-deploy"
    monkeypatch.chdir(tmp_path)
    assert command(name, *words).code == 0
    log = json.loads((tmp_path / "my run" / "log.json").read_text(encoding="utf-8"))["log"]
    assert [(line["iteration"], line["loss"], line["validation"]) for line in log] == lines(whole)

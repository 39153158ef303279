"""A stop that is held back is raised when the block is through, whichever of them does something."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drnn_core.errors import InputError
from drnn_deploy.training.outputs import train_in
from drnn_deploy.training.stops import Terminated, terminable, whole
from drnn_deploy.training.training_run import TrainingRun
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.training.tiny import SET, recipe_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
FULL = "cannot write state.pt: No space left on device"


@pytest.fixture
def ignored_ctrl_c() -> Iterator[None]:
    """As in a command that a script starts in the background, and in every worker."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_ignored_hides_no_other(first: signal.Signals, ignored_ctrl_c: None) -> None:
    done = []
    with terminable(), pytest.raises(Terminated), whole():
        for stop in (first, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(stop)
        done.append("the block")
    assert done == ["the block"]


def fail_to_save(monkeypatch: pytest.MonkeyPatch) -> None:
    def save(run: TrainingRun, path: Path) -> None:
        raise InputError(FULL)

    monkeypatch.setattr(TrainingRun, "save", save)


def test_a_state_that_cannot_be_saved_at_the_end_is_told(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = TrainingRun.start(recipe_of())
    with pytest.raises(InputError, match="No space left"), contextlib.closing(train_in(run, state.parent)) as lines:
        for _ in lines:
            fail_to_save(monkeypatch)
            raise KeyboardInterrupt


def test_the_command_tells_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    """Where Ctrl-C comes while it shows a line."""

    def shown(metrics: object) -> str:
        fail_to_save(monkeypatch)
        raise KeyboardInterrupt

    monkeypatch.setattr("drnn_deploy.cli.train.shown_metrics", shown)
    ran = command("drnn-deploy", "train", "copy-memory", *SET, "--output", tmp_path / "run")
    assert (ran.code, FULL in ran.err, "--resume" in ran.out) == (2, True, False)

"""Several runs at once: the same numbers as one by one, whatever stops them, and whichever of them fails."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from drnn_deploy.training import jobs
from drnn_deploy.training.agenda import Item, load_agenda
from drnn_deploy.training.jobs import Job, Outcome
from drnn_deploy.training.results import Result
from drnn_deploy.training.side_by_side import threads_each, train_side_by_side
from drnn_deploy.training.train_agenda import Setup, train_agenda
from drnn_deploy.training.training_run import TrainingRun
from tests.drnn_deploy.conftest import Command
from tests.nightly import NIGHTLY
from tests.waiting import wait_for

Ends = Generator[tuple[Job, Outcome], None, None]
ITERATIONS = 400 if NIGHTLY else 40  # many at night, when they are stopped on the way
TWO = f"""
task = "copy-memory"
title = "Two"
metric = "cross_entropy"
set = ["data.delay=3", "training.batch=4", "training.iterations={ITERATIONS}", "training.evaluate_every=20",
       "training.stop_below=0", "model.hidden=[3]", "model.dilations=[2]"]
[runs]
rnn = ["model.cell=rnn"]
gru = ["model.cell=gru"]
"""


def experiment(folder: Path, text: str = TWO) -> Path:
    path = folder / "two.toml"
    path.write_text(text, encoding="utf-8")
    return path


def started(path: Path, output: Path, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "drnn_deploy", "experiment", path, "--parallel", 2, "--output", output, *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, env=environment)


def results(items: list[Item], output: Path) -> list[Result]:
    """Those that are there, without their times."""
    found = [result for item in items if (result := item.result(output / "results"))]
    logs = [[{**line, "seconds": 0} for line in result.log] for result in found]
    return [dataclasses.replace(result, seconds=0, log=log) for result, log in zip(found, logs, strict=True)]


def iterations(path: Path, output: Path) -> list[int]:
    """Where the states in the folder are."""
    states = [output / "two" / item.run / "state.pt" for item in load_agenda([str(path)])]
    return [TrainingRun.resume(state).iteration if state.exists() else 0 for state in states]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """The results of both runs, one by one in this process."""
    from drnn_deploy.training.loop import train
    from drnn_deploy.training.outputs import STATE, finish, open_run
    from drnn_deploy.training.results import result_of, save_result

    folder = tmp_path_factory.mktemp("whole")
    items = load_agenda([str(experiment(folder))])
    for item in items:
        run = open_run(item.recipe, folder / item.name)
        for _ in train(run, folder / item.name / STATE):
            pass
        save_result(item.result_path(folder / "results"), result_of(run, finish(run, folder / item.name)))
    return results(items, folder)


def two_in(output: Path) -> list[Path]:
    return sorted(output.glob("two/*/state.pt"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.nightly
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_saves_both_runs_and_the_same_command_ends_with_the_same_numbers(
    tmp_path: Path,
    whole: list[Result],
    stop: signal.Signals,
    command: Command,
    record_property: Callable[[str, Any], None],
) -> None:
    path, output = experiment(tmp_path), tmp_path / "runs"
    process = started(path, output)
    wait_for(lambda: len(two_in(output)) == 2)
    time.sleep(random.random() / 10)
    process.send_signal(stop)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, "type the same command" in out) == ({2: 130, 15: 143}[stop], True)
    kept = iterations(path, output)
    assert all(kept)
    record_property(f"two runs of {ITERATIONS} iterations, {stop.name} at a random moment: kept", str(kept))
    assert command("drnn-deploy", "experiment", path, "--output", output, "--threads", 1).code == 0
    assert results(load_agenda([str(path)]), output) == whole


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_kill_loses_at_most_what_was_not_saved_and_leaves_no_process(
    tmp_path: Path, whole: list[Result], record_property: Callable[[str, Any], None]
) -> None:
    path, output = experiment(tmp_path), tmp_path / "runs"
    process = started(path, output)
    wait_for(lambda: len(two_in(output)) == 2)
    time.sleep(random.random() / 10)
    process.kill()
    process.communicate()
    time.sleep(2)
    kept = iterations(path, output)
    time.sleep(1)
    assert iterations(path, output) == kept, "a child of the killed process still trains"
    assert all(kept)
    record_property(f"two runs of {ITERATIONS} iterations, SIGKILL at a random moment: kept", str(kept))
    with started(path, output) as again:
        assert again.communicate(timeout=60) is not None
    assert results(load_agenda([str(path)]), output) == whole


@pytest.mark.parametrize("parallel", [1, pytest.param(3, marks=pytest.mark.nightly)])
def test_a_run_that_fails_ends_no_other(tmp_path: Path, command: Command, parallel: int) -> None:
    text = TWO.replace(f"iterations={ITERATIONS}", "iterations=40")
    diverges = ["model.activation=relu", "model.hidden=[9,9]", "model.dilations=[1,2]", "training.learning_rate=1e6"]
    bad = f"bad = {json.dumps(diverges)}"
    path, output = experiment(tmp_path, text.replace("[runs]", f"[runs]\n{bad}")), tmp_path / "runs"
    ran = command("drnn-deploy", "experiment", path, "--parallel", parallel, "--output", output)
    assert ran.code == 2
    assert "1 failed: two/bad: the training diverged" in ran.err
    assert sorted(file.stem for file in (output / "results" / "two").iterdir()) == ["gru", "rnn"]
    assert "order: two/bad, two/rnn, two/gru" in ran.out
    if parallel > 1:
        assert "two/gru: iteration 20 of 40, loss" in ran.out


@pytest.mark.parametrize(
    "parallel, threads, cores, each", [(2, 8, 1, 4), (2, None, 5, 2), (4, None, 2, 1), (1, 3, 9, 3)]
)
def test_threads_are_divided(
    monkeypatch: pytest.MonkeyPatch, parallel: int, threads: int | None, cores: int, each: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert threads_each(parallel, threads) == each


class Fake:
    """In place of a process: does its job when it is let."""

    begun: ClassVar[list[str]] = []

    def __init__(self) -> None:
        self.stopped = False

    def do(self, job: Job, tell: Any) -> Outcome:
        Fake.begun.append(job.name)
        wait_for(lambda: self.stopped, 5)
        return Outcome(stopped=7)

    def stop(self) -> None:
        self.stopped = True


def test_at_the_end_of_the_time_what_runs_is_stopped_and_nothing_else_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from drnn_deploy.training import side_by_side

    monkeypatch.setattr(side_by_side, "Process", Fake)
    Fake.begun = []
    recipe = load_agenda([str(experiment(tmp_path))])[0].recipe
    jobs = [Job(name, recipe, tmp_path) for name in ("first", "second", "third")]
    ends = list(train_side_by_side(jobs, 2, lambda job, line: None, over=lambda: len(Fake.begun) == 2))
    assert sorted(Fake.begun) == ["first", "second"]
    assert [(job.name, outcome.stopped) for job, outcome in sorted(ends, key=lambda end: end[0].name)] == [
        ("first", 7), ("second", 7),
    ]  # fmt: skip


def test_after_the_time_nothing_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from drnn_deploy.training import side_by_side

    monkeypatch.setattr(side_by_side, "Process", Fake)
    Fake.begun = []
    job = Job("late", load_agenda([str(experiment(tmp_path))])[0].recipe, tmp_path)
    assert list(train_side_by_side([job], 2, lambda job, line: None, over=lambda: True)) == []
    assert Fake.begun == []


def test_the_command_gives_each_run_its_share_of_the_threads_and_all_the_minutes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command
) -> None:
    from drnn_deploy.training import side_by_side

    now, seen = [1000.0], list[object]()

    def asked(jobs: Sequence[Job], parallel: int, tell: object, *, over: Callable[[], bool]) -> Ends:
        seen.extend([[job.threads for job in jobs], parallel])
        for seconds in (0, 119, 2):
            now[0] += seconds
            seen.append(over())
        yield from ()

    monkeypatch.setattr(side_by_side, "train_side_by_side", asked)
    monkeypatch.setattr("drnn_deploy.cli.experiment.time", types.SimpleNamespace(monotonic=lambda: now[0]))
    words = ("drnn-deploy", "experiment", experiment(tmp_path), "--output", tmp_path / "runs", "--minutes", 2)
    ran = command(*words, "--parallel", 2, "--threads", 6)
    assert (ran.code, "2 left" in ran.out, seen[:5]) == (0, True, [[3, 3], 2, False, False, True])


def test_a_process_that_cannot_be_started_or_is_stopped_before_it_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def none_left(module: str) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    job = Job("small", load_agenda([str(experiment(tmp_path))])[0].recipe, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "Child", none_left)
        outcome = jobs.Process().do(job, lambda line: None)
    assert outcome.failure == "no process can be started: Resource temporarily unavailable"
    process = jobs.Process()
    threading.Timer(0.2, process.stop).start()
    assert process.do(job, lambda line: None) == Outcome()


def test_a_result_that_cannot_be_written_ends_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: list[Result]
) -> None:
    items = load_agenda([str(experiment(tmp_path))])
    items[0].result_path(tmp_path / "results").mkdir(parents=True)

    def trainer(jobs: Sequence[Job]) -> Ends:
        yield from ((job, Outcome(result)) for job, result in zip(jobs, whole, strict=False))

    ends = list(train_agenda(items, Setup(tmp_path, tmp_path / "results"), trainer))
    assert [bool(outcome.failure) for _, outcome in ends] == [True, False]
    assert items[1].result(tmp_path / "results") == whole[1]


def test_an_interruption_stops_all_that_run_and_begins_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from drnn_deploy.training import side_by_side

    made: list[Fake] = []

    def make() -> Fake:
        made.append(Fake())
        return made[-1]

    def interrupted() -> bool:
        if len(Fake.begun) == 2:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(side_by_side, "Process", make)
    Fake.begun = []
    recipe = load_agenda([str(experiment(tmp_path))])[0].recipe
    jobs = [Job(name, recipe, tmp_path) for name in ("first", "second", "third")]
    with pytest.raises(KeyboardInterrupt):
        list(train_side_by_side(jobs, 2, lambda job, line: None, over=interrupted))
    assert [process.stopped for process in made] == [True, True, True]
    assert len(Fake.begun) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_stop_while_a_line_is_on_its_way_is_answered(tmp_path: Path) -> None:
    """The worker is not in the training then: the signal waits until it is."""
    from drnn_deploy.training.worker import reply

    job = Job("rnn", load_agenda([str(experiment(tmp_path))])[0].recipe, tmp_path / "rnn", threads=1)
    lines = reply(job.to_json())
    assert next(lines)["iteration"] == 20
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(StopIteration) as end:
        next(lines)
    assert end.value.value == {"stopped": 20}
    assert TrainingRun.resume(tmp_path / "rnn" / "state.pt").iteration == 20

"""The process of a training among several says what it warned of: nobody reads its standard error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console

from drnn_deploy.cli import experiment
from drnn_deploy.training import outputs, worker
from drnn_deploy.training.agenda import load_agenda
from drnn_deploy.training.jobs import Job, Outcome
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.training_run import Progress, TrainingRun

SMALL = (
    "data.delay=3", "model.hidden=[3]", "model.dilations=[2]", "training.batch=4", "training.iterations=40",
    "training.evaluate_every=20",
)  # fmt: skip
NOTE = "training goes on without a CUDA graph"


def ended(job: Job) -> Outcome:
    lines = worker.reply(job.to_json())
    while True:
        try:
            next(lines)
        except StopIteration as end:
            return Outcome.from_json(end.value)


@pytest.mark.usefixtures("threads")
def test_the_process_takes_the_threads_of_its_job(tmp_path: Path) -> None:
    more = torch.get_num_threads() + 1
    result = ended(Job("small", load_recipe("copy-memory", None, SMALL), tmp_path, threads=more)).result
    assert result is not None and result.threads == more


def test_a_warning_of_a_trainings_process_is_said_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warns(run: TrainingRun, folder: Path) -> Iterator[Progress]:
        for line in train_in(run, folder):
            warnings.warn(NOTE, RuntimeWarning, stacklevel=2)
            yield line

    job = Job("small", load_recipe("copy-memory", None, SMALL), tmp_path, threads=torch.get_num_threads())
    train_in = outputs.train_in
    assert ended(job).note == ""
    monkeypatch.setattr(outputs, "train_in", warns)
    (tmp_path / outputs.STATE).unlink()
    warnings.simplefilter("default")
    outcome = ended(job)
    assert (outcome.result is None, outcome.note) == (False, NOTE)
    experiment._show_outcome(Console(), load_agenda(["copy-memory-500/dilated-rnn"], ())[0], outcome)
    assert capsys.readouterr().out.startswith(f"copy-memory-500/dilated-rnn: {NOTE}\n")

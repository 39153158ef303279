"""Train the runs of an agenda: each is a job for a trainer, and its result is written as soon as it ends."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Generator, Sequence
from pathlib import Path

from drnn_core.errors import DeployError, InputError
from drnn_core.failures import explained_failures
from drnn_deploy.training.agenda import Item
from drnn_deploy.training.jobs import Job, Outcome
from drnn_deploy.training.results import save_result, trivial_result

# Does jobs, and yields each that was begun with its outcome. Closing it stops all of them, with their states saved.
Trainer = Callable[[Sequence[Job]], Generator[tuple[Job, Outcome], None, None]]


@dataclasses.dataclass(frozen=True)
class Setup:
    """What all trainings of an agenda have in common.

    Attributes:
        output: The folder of the trainings; each has its own in it, EXPERIMENT/RUN.
        results: The folder of the results.
        device: "cpu" or "cuda".
        threads: CPU threads of each training.
        tf32: Whether a GPU may round the factors of float32 products to TF32.
    """

    output: Path
    results: Path
    device: str = "cpu"
    threads: int = 1
    tf32: bool = False


def train_agenda(items: Sequence[Item], setup: Setup, trainer: Trainer) -> Generator[tuple[Item, Outcome], None, None]:
    """Train runs, first those that get no other's time, and write their results. A run that fails ends no other.

    Args:
        items: What to train.
        setup: Where, and on what.
        trainer: Does the jobs.

    Yields:
        Each run that was begun, or that cannot begin, and its outcome, as they end.
    """
    for later in (False, True):
        batch = {item.name: item for item in items if bool(item.waits_for) is later}
        jobs = []
        for item in batch.values():
            try:
                with explained_failures():
                    job_or_outcome = _job(item, setup, {item.name for item in items})
            except DeployError as error:
                job_or_outcome = Outcome.failed(error)
            if isinstance(job_or_outcome, Job):
                jobs.append(job_or_outcome)
            else:
                yield item, job_or_outcome
        with contextlib.closing(trainer(jobs)) as ends:
            for job, outcome in ends:
                item = batch[job.name]
                if outcome.result:
                    try:
                        save_result(item.result_path(setup.results), outcome.result)
                    except DeployError as error:
                        outcome = Outcome.failed(error)
                yield item, outcome


def _job(item: Item, setup: Setup, names: Collection[str]) -> Job | Outcome:
    """What is to be trained. An outcome where it is no network, whose result is then written, or must still wait.

    Raises:
        InputError: It gets the time of a run that has no result and is not among these names.
    """
    if item.trivial:
        result = trivial_result(item.experiment)
        save_result(item.result_path(setup.results), result)
        return Outcome(result)
    recipe, seconds = item.recipe, None
    if setup.tf32:
        recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, tf32=True))
    if item.waits_for:
        other = dataclasses.replace(item, run=item.waits_for).result(setup.results)
        if other is None and f"{item.experiment.name}/{item.waits_for}" in names:
            return Outcome(waits_for=item.waits_for)
        if other is None:
            what = f"gets the time of {item.waits_for}, which has no result yet"
            raise InputError(what, f"Train {item.waits_for} as well, before it or in the same command.")
        seconds = other.seconds
    folder = setup.output / item.experiment.name / item.run
    return Job(item.name, recipe, folder, setup.device, setup.threads, seconds)

"""`drnn-deploy experiment NAME...`."""

from __future__ import annotations

import contextlib
import math
import shlex
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.errors import DeployError, InputError, refuse_ignored
from drnn_core.failures import explained_failures
from drnn_deploy.cli.command import command, typed_words
from drnn_deploy.cli.console import make_console, show_next, shown_metrics
from drnn_deploy.cli.values import POSITIVE, THREADS, OutputFolder

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.training.agenda import Item
    from drnn_deploy.training.jobs import Job, Outcome
    from drnn_deploy.training.train_agenda import Setup, Trainer

_LINE_SECONDS = 30.0  # between two lines of a run among several, but for those with a validation


@command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--run", "chosen", multiple=True, help="Only this run; repeat for several. [default: all]")
@click.option("--output", type=OutputFolder(), default="runs", show_default=True, help="Folder for the trainings.")
@click.option("--results", type=OutputFolder(), help="Folder for the results. [default: OUTPUT/results]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--threads",
    type=THREADS,
    help="CPU threads of all runs; on a cluster, of each. [default: all; 1]",
)
@click.option(
    "--parallel", type=click.IntRange(1, 64), default=1, show_default=True, help="Runs at once on this machine."
)
@click.option("--scheduler", metavar="ADDRESS", help="Hand the runs to a Dask cluster, which sees OUTPUT as well.")
@click.option("--minutes", type=POSITIVE, help="Stop after so long, with all states saved.")
@click.option("--tf32", is_flag=True, help="Let a GPU round the factors of float32 products to TF32.")
def experiment(
    names: tuple[str, ...],
    chosen: tuple[str, ...],
    output: Path,
    results: Path | None,
    device: str,
    threads: int | None,
    parallel: int,
    scheduler: str | None,
    minutes: float | None,
    tf32: bool,
) -> int:
    """Train the runs of experiments that have no result yet; without NAME, list the experiments.

    NAME is an experiment, its file, one run of it as EXPERIMENT/RUN, or the agenda `gpu`. Runs begin in the order of
    the names and of an experiment's file; those that get the time of another come last. A run that fails ends no other.

    What was interrupted or killed goes on from its state in OUTPUT, which is at most half a minute older; log.json
    beside it holds the validations so far. `drnn-deploy report` makes tables and figures of the results.
    """
    from drnn_deploy.training.agenda import load_agenda
    from drnn_deploy.training.side_by_side import threads_each
    from drnn_deploy.training.train_agenda import Setup

    if scheduler is not None and parallel > 1:
        raise click.UsageError(
            "--scheduler and --parallel contradict each other: a cluster's workers say how many run."
        )
    refuse_ignored((tf32 and device == "cpu", "--tf32", "--device cuda"))
    console = make_console(None)
    if not names:
        typed = typed_words(click.get_current_context())
        refuse_ignored((typed, typed[0] if typed else "", "the NAME of an experiment"))
        _list_experiments(console)
        return 0
    folder = results or output / "results"
    asked = load_agenda(names, chosen)
    items = [item for item in asked if not _is_there(console, item, folder)]
    if len(items) > 1:
        console.print(f"order: {', '.join(item.name for item in items)}")
    if items:
        _refuse_torchrun()
    trainer = _trainer(console, device, threads, parallel, scheduler, minutes)
    threads_of_one = threads or 1 if scheduler is not None else threads_each(parallel, threads)
    with _shared(console, device, min(parallel, len(items))):
        stopped, left = _train(console, items, Setup(output, folder, device, threads_of_one, tf32), trainer)
    if stopped or left:
        show_next(console, "type the same command to go on")
    elif chosen:
        show_next(
            console, shlex.join(["drnn-deploy", "experiment", *typed_words(click.get_current_context(), {"chosen"})])
        )
    else:
        which = [word for source in dict.fromkeys(item.source for item in asked) for word in ("--experiment", source)]
        show_next(console, shlex.join(["drnn-deploy", "report", "--results", str(folder), *which]))
    return stopped


def _refuse_torchrun() -> None:
    """Its processes would train the same runs in the same folders."""
    from drnn_deploy.training.ranks import processes_of_torchrun

    if (world := processes_of_torchrun()) > 1:
        what = f"torchrun started {world} processes, and an experiment is one that trains its runs"
        raise InputError(what, "Leave torchrun out, perhaps for --parallel; it is for drnn-deploy train.")


def _list_experiments(console: Console) -> None:
    from drnn_deploy.training.experiments import load_experiment
    from drnn_zoo import experiment_names

    for known in experiment_names():
        loaded = load_experiment(known)
        console.print(f"{known}: {loaded.title}; runs {', '.join(loaded.recipes)}")
    show_next(console, "drnn-deploy experiment NAME")


def _is_there(console: Console, item: Item, folder: Path) -> bool:
    if item.trivial or item.result(folder) is None:  # what is quickly measured is measured again
        return False
    console.print(f"{item.run}: {item.result_path(folder)} is there")
    return True


def _trainer(
    console: Console,
    device: str,
    threads: int | None,
    parallel: int,
    scheduler: str | None,
    minutes: float | None,
) -> Trainer:
    """What does the jobs: a cluster, processes of this machine, or this process."""
    from drnn_deploy.training.on_cluster import train_on_cluster
    from drnn_deploy.training.side_by_side import train_side_by_side
    from drnn_deploy.training.training_run import usable_device

    alone = device == "cpu" and parallel == 1  # on a GPU a run may leave its process unusable for the next
    if scheduler is None and alone and minutes is None:
        return lambda jobs: _one_by_one(console, jobs, threads)
    tell, until = _LogLines(console), time.monotonic() + 60 * minutes if minutes else math.inf

    def over() -> bool:
        return time.monotonic() > until

    if scheduler is not None:
        return lambda jobs: train_on_cluster(jobs, scheduler, tell, over=over)
    usable_device(device)
    return lambda jobs: train_side_by_side(jobs, parallel, tell, over=over)


@contextlib.contextmanager
def _shared(console: Console, device: str, runs: int) -> Generator[None, None, None]:
    """How several runs share a GPU, said before they begin."""
    from drnn_deploy.training.shared_gpu import shared_gpu

    if device == "cpu" or runs <= 1:
        yield
    else:
        with shared_gpu() as how:
            console.print(f"the runs share the GPU {how}")
            yield


def _train(console: Console, items: Sequence[Item], setup: Setup, trainer: Trainer) -> tuple[int, int]:
    """Train, and say how each run ended.

    Returns:
        The exit code of an interruption, or 0; and how many runs have no result.

    Raises:
        InputError: A run failed.
    """
    from drnn_deploy.training.stops import exit_code, terminable
    from drnn_deploy.training.train_agenda import train_agenda

    failures, left = [], len(items)
    try:
        with terminable(), contextlib.closing(train_agenda(items, setup, trainer)) as ends:
            for item, outcome in ends:
                _show_outcome(console, item, outcome)
                failures += [f"{item.name}: {outcome.failure}"] * bool(outcome.failure)
                left -= bool(outcome.result or outcome.failure)
    except KeyboardInterrupt as stop:
        return exit_code(stop), left
    if failures:
        raise InputError(f"{len(failures)} failed: {'; '.join(failures)}", "The others were not touched.")
    if left:
        console.print(f"{left} left")
    return 0, left


def _one_by_one(
    console: Console, jobs: Sequence[Job], threads: int | None
) -> Generator[tuple[Job, Outcome], None, None]:
    """Train in this process, with a bar for each run."""
    from drnn_deploy.cli.train import train_to_the_end
    from drnn_deploy.training.jobs import Outcome
    from drnn_deploy.training.results import result_of

    for job in jobs:
        console.print(f"{job.name}: training")
        try:
            with explained_failures():
                ended = train_to_the_end(console, job.recipe, job.folder, job.device, threads, job.seconds)
        except DeployError as error:
            yield job, Outcome.failed(error)
        else:
            yield job, Outcome(result_of(*ended))


def _show_outcome(console: Console, item: Item, outcome: Outcome) -> None:
    if outcome.note:
        console.print(f"{item.name}: {outcome.note}")
    if outcome.result:
        console.print(f"{item.name}: test {shown_metrics(outcome.result.metrics)}")
    elif outcome.failure:
        console.print(f"{item.name}: FAILED, {outcome.failure}")
    elif outcome.waits_for:
        console.print(f"{item.name}: gets the time of {outcome.waits_for}, which has no result yet")
    elif outcome.stopped is None:
        console.print(f"{item.name}: stopped while it began")
    else:
        console.print(f"{item.name}: stopped at iteration {outcome.stopped}, its state is saved")


class _LogLines:
    """The log of runs among several, a line at a time with the name of its run."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock, self._last = console, clock, dict[str, float]()

    def __call__(self, job: Job, line: dict[str, Any]) -> None:
        now = self._clock()
        if not line["validation"] and now - self._last.get(job.name, -_LINE_SECONDS) < _LINE_SECONDS:
            return
        self._last[job.name] = now
        metrics = [f"validation {name} {value:.4f}" for name, value in (line["validation"] or {}).items()]
        planned = job.recipe.training.iterations
        shown = ", ".join([f"loss {line['loss']:.4f}", *metrics])
        self._console.print(f"{job.name}: iteration {line['iteration']:,} of {planned:,}, {shown}")

"""`drnn-deploy experiment NAME...`."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.errors import DeployError, InputError, refuse_ignored
from drnn_deploy.cli.command import command, typed_words
from drnn_deploy.cli.console import make_console, show_next
from drnn_deploy.cli.values import POSITIVE, OutputFolder

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.training.agenda import Item
    from drnn_deploy.training.jobs import Job, Outcome
    from drnn_deploy.training.results import Result

_LINE_SECONDS = 30.0  # between two lines of a run among several, but for those with a validation


@command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--run", "chosen", multiple=True, help="Only this run; repeat for several. [default: all]")
@click.option("--output", type=OutputFolder(), default="runs", show_default=True, help="Folder for the trainings.")
@click.option("--results", type=OutputFolder(), help="Folder for the results. [default: OUTPUT/results]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
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

    if scheduler and parallel > 1:
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
    until = time.monotonic() + 60 * minutes if minutes else None
    work = _Work(console, output, folder, device, tf32, until, {item.name for item in asked})
    for later in (False, True):
        batch = [item for item in items if bool(item.waits_for) is later]
        alone = parallel == 1 and minutes is None and scheduler is None
        code = work.one_by_one(batch, threads) if alone else work.at_once(batch, parallel, threads, scheduler)
        if code:
            show_next(console, "type the same command to go on")
            return code
    if not work.conclude():
        show_next(console, "type the same command to go on")
    elif chosen:
        show_next(
            console, shlex.join(["drnn-deploy", "experiment", *typed_words(click.get_current_context(), {"chosen"})])
        )
    else:
        which = [word for source in dict.fromkeys(item.source for item in asked) for word in ("--experiment", source)]
        show_next(console, shlex.join(["drnn-deploy", "report", "--results", str(folder), *which]))
    return 0


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


class _Work:
    """Items that are trained, and what became of them."""

    def __init__(
        self,
        console: Console,
        output: Path,
        folder: Path,
        device: str,
        tf32: bool,
        until: float | None,
        asked: Collection[str],
    ) -> None:
        self._console, self._output, self._folder, self._device, self._tf32 = console, output, folder, device, tf32
        self._until, self._asked = until, asked
        self._failed: list[str] = []
        self._left = 0

    def one_by_one(self, items: Sequence[Item], threads: int | None) -> int:
        """Train in this process; the code of an interruption, or 0."""
        from drnn_deploy.cli.train import train_to_the_end
        from drnn_deploy.training.results import result_of

        for item in items:
            with self._failures(item):
                job = self._job(item, threads or 1)
                if job is None:
                    continue
                self._console.print(f"{item.run}: training")
                ended = train_to_the_end(self._console, job.recipe, job.folder, job.device, threads, job.seconds)
                if isinstance(ended, int):
                    return ended
                self._save(item, result_of(*ended))
        return 0

    def at_once(self, items: Sequence[Item], parallel: int, threads: int | None, scheduler: str | None) -> int:
        """Train in processes, here or on a cluster; the code of an interruption, or 0."""
        from drnn_deploy.training.on_cluster import train_on_cluster
        from drnn_deploy.training.side_by_side import threads_each, train_side_by_side
        from drnn_deploy.training.stops import Terminated, terminable
        from drnn_deploy.training.training_run import usable_device

        if scheduler is None:
            usable_device(self._device)
        each = threads or 1 if scheduler else threads_each(parallel, threads)
        jobs: dict[str, Item] = {}
        to_do: list[Job] = []
        for item in items:
            with self._failures(item):
                if job := self._job(item, each):
                    jobs[job.name] = item
                    to_do.append(job)
        tell = _Lines(self._console)
        if scheduler:
            trained = train_on_cluster(to_do, scheduler, tell, over=self._over)
        else:
            trained = train_side_by_side(to_do, parallel, tell, over=self._over)
        try:
            with terminable(), contextlib.closing(trained) as ends:
                for job, outcome in ends:
                    self._note(jobs.pop(job.name), outcome)
        except KeyboardInterrupt as stop:
            return 143 if isinstance(stop, Terminated) else 130
        self._left += len(jobs)
        return 0

    def conclude(self) -> bool:
        """Whether nothing is left; says what is.

        Raises:
            InputError: A run failed.
        """
        if self._failed:
            raise InputError(f"{len(self._failed)} failed: {'; '.join(self._failed)}", "The others were not touched.")
        if self._left:
            self._console.print(f"the time is over: {self._left} left")
        return not self._left

    def _over(self) -> bool:
        return self._until is not None and time.monotonic() > self._until

    def _job(self, item: Item, threads: int) -> Job | None:
        """What is to be trained; None where it is no network, and then its result is written, or where it must wait."""
        from drnn_deploy.training.jobs import Job
        from drnn_deploy.training.results import trivial_result

        if item.trivial:
            self._save(item, trivial_result(item.experiment))
            return None
        recipe = item.recipe
        if self._tf32:
            recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, tf32=True))
        seconds = None
        if item.waits_for:
            other = dataclasses.replace(item, run=item.waits_for).result(self._folder)
            if other is None:
                what = f"gets the time of {item.waits_for}, which has no result yet"
                if f"{item.experiment.name}/{item.waits_for}" not in self._asked:
                    raise InputError(what, f"Train {item.waits_for} as well, before it or in the same command.")
                self._console.print(f"{item.name}: {what}")
                self._left += 1
                return None
            seconds = other.seconds
        folder = self._output / item.experiment.name / item.run
        return Job(item.name, recipe, folder, self._device, threads, seconds)

    def _note(self, item: Item, outcome: Outcome) -> None:
        if outcome.result:
            self._save(item, outcome.result)
            metrics = ", ".join(f"{name} {value:.4f}" for name, value in outcome.result.metrics.items())
            self._console.print(f"{item.name}: test {metrics}")
        elif outcome.failure:
            self._console.print(f"{item.name}: FAILED, {outcome.failure}")
            self._failed.append(f"{item.name}: {outcome.failure}")
        else:
            self._console.print(f"{item.name}: stopped at iteration {outcome.stopped}, its state is saved")
            self._left += 1

    def _save(self, item: Item, result: Result) -> None:
        from drnn_deploy.training.results import save_result

        save_result(item.result_path(self._folder), result)

    @contextlib.contextmanager
    def _failures(self, item: Item) -> Iterator[None]:
        """A run that fails ends no other."""
        try:
            yield
        except DeployError as error:
            self._console.print(f"{item.name}: FAILED, {error.message}")
            self._failed.append(f"{item.name}: {error.message}. {error.fix}".strip(". "))


class _Lines:
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

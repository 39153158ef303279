"""`drnn-deploy train TASK`."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drnn_core.errors import InputError, refuse_ignored
from drnn_core.steps import Step
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import make_console, show_next, shown_metrics
from drnn_deploy.cli.console import progress as plain_progress
from drnn_deploy.cli.values import THREADS, InputFile, Name, OutputFolder
from drnn_zoo import recipe_names

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.training.recipe import Recipe
    from drnn_deploy.training.training_run import TrainingRun
    from drnn_models.checkpoint import Checkpoint

_KERNELS = {
    "native": "the compiled kernel",
    "graph": "PyTorch, with each step as one CUDA graph where that is faster",
    "torch": "PyTorch",
}


@command(epilog=f"Tasks: {', '.join(recipe_names())}.")
@click.argument("task", required=False, type=Name("task", recipe_names))
@click.option(
    "--config", type=InputFile("a recipe, as .toml"), help="A recipe file. [default: the one shipped for the task]"
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe, e.g. training.batch=64."
)
@click.option("--output", type=OutputFolder(), help="Folder for the results. [default: runs/TASK]")
@click.option("--resume", is_flag=True, help="Go on with the training that was interrupted in the output folder.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: cpu; with --resume that of before]")
@click.option("--threads", type=THREADS, help="CPU threads. [default: all cores]")
def train(
    task: str | None,
    config: Path | None,
    overrides: tuple[str, ...],
    output: Path | None,
    resume: bool,
    device: str | None,
    threads: int | None,
) -> int:
    """Train a network on TASK.

    Writes model.pt, log.json and curve.png to the output folder. Ctrl-C and SIGTERM keep the state, and a kill that of
    half a minute before; --resume goes on from it and gives the same losses as a training that was never interrupted.
    It needs no other option again, and with --output no TASK: the state holds what was trained.

    Several processes train one network: torchrun --nproc-per-node 2 -m drnn_deploy train TASK. Each computes its share
    of every batch; the losses are those of one process, but for rounding.
    """
    from drnn_deploy.training.recipe import load_recipe
    from drnn_deploy.training.stops import exit_code

    if task is None and not (resume and output):
        raise click.UsageError("Missing argument 'TASK': only --resume with --output knows it.")
    refuse_ignored((task is None and config, "--config", "TASK"), (task is None and overrides, "--set", "TASK"))
    folder = output or Path("runs") / str(task)
    state = folder / "state.pt"
    if state.exists() != resume:
        raise InputError(*_resume_message(folder, state.exists()))
    asked = not resume or config or overrides
    recipe = load_recipe(task, config, overrides) if task and asked else None
    console = make_console(None)
    try:
        train_to_the_end(console, recipe, folder, device, threads, task=task)
    except KeyboardInterrupt as stop:
        words = ["drnn-deploy", "train", *([task] if task else []), "--output", str(folder), "--resume"]
        if state.exists():
            show_next(console, f"go on with: {shlex.join(words)}")
        return exit_code(stop)
    return 0


def train_to_the_end(
    console: Console,
    recipe: Recipe | None,
    folder: Path,
    device: str | None,
    threads: int | None,
    seconds: float | None = None,
    task: str | None = None,
) -> tuple[TrainingRun, Checkpoint]:
    """Train in `folder`, going on with what is there, and write model.pt, log.json and curve.png.

    Args:
        console: Gets the log.
        recipe: What to train. None: what the state is of, which must be there.
        folder: Where everything goes; the training's state is state.pt there.
        device: "cpu" or "cuda". None: that of the state, else "cpu".
        threads: CPU threads of PyTorch; None leaves its own choice.
        seconds: The training's time, after which it ends. None: its iterations alone count.
        task: What the state must be of. None: any task.

    Returns:
        The finished run and its checkpoint.

    Raises:
        InputError: PyTorch has no such device, the state is of another recipe or task, or damaged, or the training
            diverged.
        KeyboardInterrupt: Ctrl-C or SIGTERM stopped it, with the state in the folder.
    """
    import torch

    from drnn_deploy.training.outputs import open_run
    from drnn_deploy.training.ranks import ranks_of_torchrun
    from drnn_deploy.training.stops import terminable

    if threads:
        torch.set_num_threads(threads)
    run = open_run(recipe, folder, device, seconds)
    if task not in (None, run.recipe.task):
        raise InputError(f"{folder} holds a training of {run.recipe.task}, not of {task}", "Choose another --output.")
    with ranks_of_torchrun(run.device.type, run.recipe.training.batch) as run.ranks:
        console.quiet = console.quiet or run.ranks.rank > 0
        console.print(_work(run))
        try:
            with terminable():
                _run(console, run, folder)
        except KeyboardInterrupt:
            if not run.ranks.rank:
                click.echo(f"stopped at iteration {run.iteration}")
            raise
        return run, run.ranks.of_the_first(lambda: _finish(console, run, folder))


def _work(run: TrainingRun) -> str:
    from drnn_models.path_lengths import analyse

    report = analyse(run.recipe.spec, run.recipe.make_task().length)
    pruned = f"{report.evaluations:,} of {report.evaluations_unpruned:,} cell evaluations per sequence (cone pruning)"
    return (
        f"{report.parameters:,} parameters; {pruned}, {report.sequential_cells:,} one after the other (fold)\n"
        f"layers are computed by {_KERNELS[run.kernel]}"
    )


def _resume_message(folder: Path, exists: bool) -> tuple[str, str]:
    if exists:
        return (f"{folder} holds an earlier training", "Go on with it: --resume. Or choose another --output.")
    return (f"{folder} holds no training to resume", "Start one without --resume.")


def _run(console: Console, run: TrainingRun, folder: Path) -> None:
    from drnn_deploy.training.outputs import train_in

    with _shown(console, run) as show:
        accuracy = ""
        with contextlib.closing(train_in(run, folder)) as lines:
            for line in lines:
                if line.validation:
                    accuracy = f", accuracy {line.validation['accuracy']:.3f}"
                    console.print(
                        f"iteration {line.iteration}: loss {line.loss:.4f}, validation {shown_metrics(line.validation)}"
                    )
                show(line.iteration, f"loss {line.loss:.4f}{accuracy}")


@contextlib.contextmanager
def _shown(console: Console, run: TrainingRun) -> Iterator[Callable[[int, str], None]]:
    """A bar below the log on a terminal; elsewhere a plain line every few seconds. Yields what moves it."""
    total = run.recipe.training.iterations
    if not console.is_terminal:
        started, first = time.monotonic(), run.iteration
        with plain_progress(console) as notify:

            def show(iteration: int, text: str) -> None:
                seconds_each = (time.monotonic() - started) / max(1, iteration - first)
                notify(Step(f"iteration {iteration:,} of {total:,}, {text}", (total - iteration) * seconds_each))

            yield show
        return
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as bar:
        task = bar.add_task("training", total=total, completed=run.iteration)
        yield lambda iteration, text: bar.update(task, completed=iteration, description=text)


def _finish(console: Console, run: TrainingRun, folder: Path) -> Checkpoint:
    from drnn_deploy.training.outputs import MODEL, finish

    console.print("measuring on the test split")
    checkpoint = finish(run, folder)
    console.print(f"test {shown_metrics(checkpoint.metrics)}; wrote {folder / MODEL}")
    show_next(console, f"drnn-export {shlex.quote(str(folder / MODEL))}")
    return checkpoint

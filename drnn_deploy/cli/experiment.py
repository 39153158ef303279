"""`drnn-deploy experiment NAME`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from drnn_deploy.cli.command import command, typed_words
from drnn_deploy.cli.console import make_console, show_next
from drnn_deploy.cli.values import OutputFolder


@command()
@click.argument("name", required=False)
@click.option("--run", "chosen", multiple=True, help="Only this run; repeat for several. [default: all]")
@click.option("--output", type=OutputFolder(), default="runs", show_default=True, help="Folder for the trainings.")
@click.option("--results", type=OutputFolder(), help="Folder for the results. [default: OUTPUT/results]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. [default: all cores]")
def experiment(
    name: str | None, chosen: tuple[str, ...], output: Path, results: Path | None, device: str, threads: int | None
) -> int:
    """Train the runs of an experiment that have no result yet; without NAME, list the experiments.

    What was interrupted or killed goes on from its state in OUTPUT, which is at most half a minute older; log.json
    beside it holds the validations so far. `drnn-deploy report` makes tables and figures of the results.
    """
    from drnn_core.errors import InputError, refuse_ignored
    from drnn_core.text import choose_from
    from drnn_deploy.cli.train import train_to_the_end
    from drnn_deploy.training.experiments import (
        load_experiment,
        load_result,
        result_of,
        result_path,
        save_result,
        trivial_result,
    )
    from drnn_zoo import experiment_names

    console = make_console(None)
    if name is None:
        typed = typed_words(click.get_current_context())
        refuse_ignored((typed, typed[0] if typed else "", "the NAME of an experiment"))
        for known in experiment_names():
            loaded = load_experiment(known)
            console.print(f"{known}: {loaded.title}; runs {', '.join(loaded.recipes)}")
        show_next(console, "drnn-deploy experiment NAME")
        return 0
    loaded = load_experiment(name)
    runs = [*loaded.recipes, *([loaded.trivial] if loaded.trivial else [])]
    if unknown := sorted(set(chosen) - set(runs)):
        raise InputError(f"experiment {name} has no run {unknown[0]!r}", choose_from(unknown[0], runs))
    folder = results or output / "results"
    if loaded.trivial and (not chosen or loaded.trivial in chosen):
        save_result(result_path(folder, loaded.name, loaded.trivial), trivial_result(loaded))
    for run, recipe in loaded.recipes.items():
        path = result_path(folder, loaded.name, run)
        if chosen and run not in chosen:
            continue
        if load_result(path, recipe):
            console.print(f"{run}: {path} is there")
            continue
        console.print(f"{run}: training")
        finished = train_to_the_end(console, recipe, output / loaded.name / run, device, threads)
        if isinstance(finished, int):
            show_next(console, "type the same command to go on")
            return finished
        save_result(path, result_of(*finished))
    if chosen:
        words = ["drnn-deploy", "experiment", *typed_words(click.get_current_context(), {"chosen"})]
    else:
        words = ["drnn-deploy", "report", "--results", str(folder), "--experiment", name]
    show_next(console, shlex.join(words))
    return 0

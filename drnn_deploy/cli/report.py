"""`drnn-deploy report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from drnn_core.errors import InputError
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import make_console, show_next
from drnn_deploy.cli.values import InputFolder, OutputFolder

if TYPE_CHECKING:
    from drnn_deploy.training.experiments import Experiment


@command()
@click.option(
    "--results",
    type=InputFolder(),
    help="Folder with results. [default: those that ship]",
)
@click.option("--output", type=OutputFolder(), default="docs", show_default=True)
@click.option("--experiment", "names", multiple=True, help="Only this experiment; repeat for several. [default: all]")
def report(results: Path | None, output: Path, names: tuple[str, ...]) -> None:
    """Write results.md and its figures from the results of `drnn-deploy experiment`."""
    from drnn_deploy.training.experiments import load_experiment
    from drnn_deploy.training.result_sections import load_section
    from drnn_deploy.training.results_page import write_report
    from drnn_zoo import RESULTS, experiment_names

    folder = results or RESULTS
    experiments: dict[str, Experiment] = {}
    for name in names or experiment_names():
        experiment = load_experiment(name)
        if experiments.setdefault(experiment.name, experiment) != experiment:
            raise InputError(
                f"{name} is the second experiment {experiment.name}", "Give one of the files another name."
            )
    sections = [load_section(experiment, folder) for experiment in experiments.values()]
    for path in write_report(sections, output):
        click.echo(path)
    show_next(make_console(None), f"read {output / 'results.md'}")

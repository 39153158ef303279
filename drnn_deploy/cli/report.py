"""`drnn-deploy report`."""

from __future__ import annotations

from pathlib import Path

import click

from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import make_console, show_next
from drnn_deploy.cli.values import InputFolder, OutputFolder


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
    sections = [load_section(load_experiment(name), folder) for name in names or experiment_names()]
    for path in write_report(sections, output):
        click.echo(path)
    show_next(make_console(None), f"read {output / 'results.md'}")

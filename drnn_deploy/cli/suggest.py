"""`drnn-deploy suggest --length STEPS`."""

from __future__ import annotations

import dataclasses
import json
import shlex

import click
from click.core import ParameterSource

from drnn_core.errors import InputError, refuse_ignored
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import json_option, make_console, show_next, write_json
from drnn_deploy.cli.tables import Column, print_table
from drnn_models.cells import CELLS

_COLUMNS = (
    Column("layers"),
    Column("dilations", kind="name"),
    Column("parameters", 2),
    Column("longest path"),
    Column("mean rec. length", 3),
    Column("sequential steps", 1),
    Column("MACs", 4),
)


@command()
@click.option("--length", type=click.IntRange(min=1), required=True, help="Time steps of a sequence.")
@click.option("--cell", type=click.Choice(list(CELLS)), default="gru", show_default=True)
@click.option("--hidden", type=click.IntRange(min=1), default=20, show_default=True, help="Units per layer.")
@click.option("--features", type=click.IntRange(min=1), default=1, show_default=True, help="Inputs per step.")
@click.option("--outputs", type=click.IntRange(min=1), default=10, show_default=True, help="Classes.")
@click.option("--first", type=click.IntRange(min=1), default=1, show_default=True, help="Dilation of the first layer.")
@click.option(
    "--dilations",
    "stacks",
    multiple=True,
    metavar="D,D,...",
    help="Compare this stack; repeat for several. [default: 1,2,4,... of 1, 2, 3, ... layers]",
)
@json_option
def suggest(
    length: int,
    cell: str,
    hidden: int,
    features: int,
    outputs: int,
    first: int,
    stacks: tuple[str, ...],
    json_path: str | None,
) -> None:
    """Compare stacks of dilations for a sequence length, and name the one to start with.

    It is the smallest stack in which the way from the farthest step to the output is shortest, counted in edges.
    """
    typed = click.get_current_context().get_parameter_source("first") is ParameterSource.COMMANDLINE
    refuse_ignored((stacks and typed, "--first", "no --dilations"))
    from drnn_models import path_lengths
    from drnn_models.spec import Continuous, Head, ModelSpec

    compared = [_stack(text) for text in stacks] or path_lengths.doubling_stacks(length, first=first)
    specs = [
        ModelSpec(cell, (hidden,) * len(dilations), dilations, Continuous(features), Head("last", outputs))  # type: ignore[arg-type]
        for dilations in compared
    ]
    reports = [path_lengths.analyse(spec, length) for spec in specs]
    best = path_lengths.suggest(reports)
    rows = [
        {"dilations": list(spec.dilations), "suggested": index == best, **dataclasses.asdict(report)}
        for index, (spec, report) in enumerate(zip(specs, reports, strict=True))
    ]
    write_json(json_path, {"passed": True, "stacks": rows})
    console = make_console(json_path)
    cells = []
    for index, (spec, report) in enumerate(zip(specs, reports, strict=True)):
        dilations = stacks[index] if stacks else f"{spec.dilations[0]} to {spec.dilations[-1]}"
        path, mean = f"{report.longest_path:,}", f"{report.mean_recurrent_length:.2f}"
        sizes = f"{report.parameters:,}", path, mean, f"{report.sequential_cells:,}", f"{report.multiply_adds:,}"
        cells.append([str(spec.layers), dilations, *sizes])
    print_table(console, _COLUMNS, cells, styles=["bold green" if index == best else "" for index in range(len(specs))])
    chosen = ", ".join(str(dilation) for dilation in specs[best].dilations)
    console.print(f"for {length:,} steps start with {specs[best].layers} layers, dilations {chosen}")
    settings = (f"model.{name}={json.dumps(list(getattr(specs[best], name)))}" for name in ("hidden", "dilations"))
    words = ["drnn-deploy", "train", "TASK", "--set", f'model.cell="{cell}"']
    show_next(console, shlex.join([*words, *(word for setting in settings for word in ("--set", setting))]))


def _stack(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--dilations {text!r} is not a list of whole numbers", "For example: 1,2,4,8") from None

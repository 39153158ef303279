"""`drnn-deploy bench BUNDLE|CHECKPOINT`."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.errors import InputError, ParityError
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import conclude, json_option, make_console, progress, styled, write_json
from drnn_deploy.cli.options import device_options, graph_options
from drnn_deploy.cli.tables import Column, print_table
from drnn_deploy.cli.values import POSITIVE, THREADS, BundleOrCheckpoint, Name, OutputFile

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.bench.results import BenchReport, Measured, Row

_TIMES = ("us/run", "quartiles", "p90", "p99", "us/step", "1000 steps/s", "GFLOP/s", "of peak", "ns/cell")
_COSTS = ("ready, s", "load, s", "memory, MB", "its own, MB", "file, kB")
_RANKS = {  # of the columns that a narrow terminal has no room for; the largest goes first
    name: rank
    for rank, name in enumerate(
        ("of peak", "GFLOP/s", "1000 steps/s", "quartiles", "ns/cell", "p90", "file, kB", "its own, MB", "load, s"), 1
    )
}
_STYLES = {"ok": "", "wrong": "red", "failed": "red", "refused": "yellow", "too slow": "yellow"}


def _contenders() -> list[str]:
    from drnn_deploy.bench.registry import CONTENDERS

    return list(CONTENDERS)


@command()
@click.argument("path", metavar="BUNDLE|CHECKPOINT", type=BundleOrCheckpoint())
@click.option(
    "--contender",
    "contenders",
    multiple=True,
    type=Name("contender", _contenders),
    help="Only this one; repeat. [default: all that run here]",
)
@graph_options(
    form="Only this form; repeat. [default: all of a bundle; of a checkpoint whole sequences, blocks and steps]",
    emission="Only graphs written like this; repeat. [default: all of a bundle; of a checkpoint those that are small]",
)
@click.option("--length", type=click.IntRange(min=1), help="Of a checkpoint, time steps of whole sequences.")
@click.option(
    "--steps",
    "blocks",
    multiple=True,
    type=click.IntRange(min=1),
    help="Of a checkpoint, time steps that a stream is fed at a time; repeat. [default: 1 and 64]",
)
@click.option("--batch", "batches", multiple=True, type=click.IntRange(min=1), help="Sequences of a run; repeat.")
@click.option(
    "--threads", type=THREADS, default=1, show_default=True, help="Of each contender that has a setting for that."
)
@click.option(
    "--seconds",
    type=POSITIVE,
    help="That each contender is timed for. [default: 3, with --quick 0.2]",
)
@click.option(
    "--limit",
    type=POSITIVE,
    help="Seconds, from imports to the last run, after which a contender is too slow for a row. [default: 60; twice "
    "--seconds, if more]",
)
@device_options
@click.option("--quick", is_flag=True, help="Short timings, one graph for each row, and nobody who compiles for long.")
@click.option("--picture", metavar="FILE.svg", type=OutputFile(), help="Also draw it, as .svg or .png.")
@json_option
def bench(
    path: Path,
    picture: Path | None,
    json_path: str | None,
    seconds: float | None,
    limit: float | None,
    quick: bool,
    forms: Any,
    **given: Any,
) -> None:
    """Time every way to run a network here: in turn, after a check against float64, beside the limit.

    Exit code 1: a contender computes something else, and is not timed, or could not be compared. 3: one that was named
    cannot run here or was timed in no row, or none was.
    """
    console = make_console(json_path)
    from drnn_deploy.bench.measure import Effort
    from drnn_deploy.bench.run import QUICK, BenchOptions
    from drnn_deploy.bench.run import bench as measured

    if picture:
        from drnn_deploy.bench.picture import draw, kind_of

        kind_of(picture)
    usual = QUICK if quick else Effort()
    seconds = seconds or usual.seconds
    if limit is not None and limit <= seconds:
        what = f"--limit {limit:g} leaves no time beside the {seconds:g} s that each is timed"
        raise InputError(what, "Give a larger --limit, or fewer --seconds.")
    effort = dataclasses.replace(usual, seconds=seconds, limit=limit or max(usual.limit, 2 * seconds))
    with progress(console) as notify:
        report = measured(path, BenchOptions(forms=forms, effort=effort, quick=quick, **given), notify=notify)
    write_json(json_path, report.to_json())
    if picture and any(entry.time for row in report.rows for entry in row.measured):
        draw(report, picture)
    elif picture:
        console.print(f"{picture} is not drawn: no contender was timed")
    show(console, report, path)
    click.get_current_context().exit(report.exit_code)


def show(console: Console, report: BenchReport, path: Path) -> None:
    """A table for each row, and who cannot run here.

    Args:
        console: Where it goes.
        report: What was measured.
        path: The bundle or checkpoint that it is of.
    """
    from drnn_deploy.bench.machine import machine
    from drnn_deploy.bench.text import UNCOMPARED

    facts = machine()
    own = f" ({', '.join(report.unset)}: no setting)" if report.threads > 1 and report.unset else ""
    console.print(
        f"{report.network}; {facts['processor']}, {facts['cores']} cores; threads: {report.threads} each{own}"
    )
    for row in report.rows:
        _show_row(console, row)
    for entry in report.absent:
        console.print(styled("not run", "yellow"), f"{entry.contender}: {entry.reason}. {entry.fix}".rstrip())
    console.print(
        "us/run: median; p90, p99: a tenth and a hundredth of at least 10 and 100 runs take longer; steps/s: of all"
        " sequences; of peak: share of what a product of matrices reached in the same run; ns/cell: for each cell that"
        " has to wait for the one before; ready: imports, compilation, loading, first output; load: once more"
    )
    others = [entry for row in report.rows for entry in row.measured if entry.status != "ok"]
    others.sort(key=lambda entry: (entry.status != "wrong", entry.contender not in report.untimed))
    wrong = [f"{entry.name}: {entry.reason}" for entry in others]
    unknown = [f"{entry.name}: {UNCOMPARED}" for row in report.rows for entry in row.uncompared]
    first = unknown if unknown and all(entry.status != "wrong" for entry in others) else wrong
    reason = first[0] if first else "nothing could be measured"
    text = f"(exit code {report.exit_code}) {reason}" if report.exit_code else report.network
    conclude(console, report.exit_code == 0, text, then=_next(report, path))


def _next(report: BenchReport, path: Path) -> str:
    """What to type now."""
    name = shlex.quote(str(path))
    if report.exit_code == ParityError.exit_code:
        return f"which runtimes are wrong, and where: drnn-parity {name} --explain"
    if report.exit_code:
        return "to see what is missing here: drnn-deploy doctor"
    return f"drnn-export {name}" if path.is_file() else f"drnn-deploy run {name} --input x.npy --output y.npy"


def _show_row(console: Console, row: Row) -> None:
    from drnn_deploy.bench.text import UNCOMPARED, describe, figure

    ordered = sorted(row.measured, key=lambda entry: entry.time.median if entry.time else float("inf"))
    times = {entry.name: _times(row, entry) for entry in ordered}
    if row.limit is not None and row.gauges:
        limit = [figure(row.limit), "", "", "", figure(row.limit / row.setting.steps), ""]
        times["limit: arithmetic"] = [*limit, f"{row.gauges.peak / 1e9:.3g}", "100 %", ""]
    styles = {entry.name: _STYLES[entry.status] for entry in ordered}
    _print_table(console, row.setting.name, _TIMES, times, styles)
    _print_table(console, "", _COSTS, {entry.name: _costs(entry) for entry in ordered if entry.time}, styles)
    for entry in row.measured:
        if entry.status != "ok":
            console.print(styled(entry.status, _STYLES[entry.status]), f"{entry.name}: {entry.reason}")
        elif entry.delay:
            console.print(f"note    {entry.name}: outputs {entry.delay} steps late")
    for entry in row.uncompared:
        console.print(f"note    {entry.name}: {UNCOMPARED}")
    for line in describe(row):
        console.print(line)


def _print_table(
    console: Console, title: str, columns: Sequence[str], cells: Mapping[str, list[str]], styles: Mapping[str, str]
) -> None:
    shown = [Column("contender", kind="name"), *(Column(name, _RANKS.get(name, 0)) for name in columns)]
    rows = [[name, *texts] for name, texts in cells.items()]
    print_table(console, shown, rows, styles=[styles.get(name, "bold") for name in cells], title=title)


def _times(row: Row, entry: Measured) -> list[str]:
    from drnn_deploy.bench.text import figure

    if entry.time is None:
        return [entry.status, *[""] * (len(_TIMES) - 1)]
    time, figures = entry.time, row.figures(entry)
    return [
        figure(time.median),
        f"{figure(time.quartile1)} - {figure(time.quartile3)}",
        figure(time.p90),
        figure(time.p99),
        figure(figures["microseconds_per_step"]),
        figure(figures["steps_per_second"], 1e3),
        f"{figures['operations_per_second'] / 1e9:.3g}",
        f"{100 * figures['share_of_peak']:.2g} %",
        figure(figures["nanoseconds_per_chained_cell"]),
    ]


def _costs(entry: Measured) -> list[str]:
    from drnn_deploy.bench.text import figure

    return [
        figure(entry.ready_seconds),
        figure(entry.load_seconds),
        figure(entry.memory_bytes, 1e6),
        figure(entry.own_bytes, 1e6),
        figure(entry.file_bytes, 1e3),
    ]

"""What the commands share in talking to people and to programs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.files import replacing
from drnn_core.text import printable
from drnn_deploy.cli.tables import Column, print_table
from drnn_deploy.cli.values import JsonOutput

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from drnn_deploy.cli.plain_console import PlainConsole
    from drnn_deploy.parity.results import Missing, ParityReport, TaskResult

_LOG_WIDTH = 120
_PARITY = (
    Column("runtime", kind="name"),
    Column("graph", kind="name"),
    Column("precision", 4, "name"),
    Column("largest error"),
    Column("in noise", 1),
    Column("ms/call", 3),
    Column("ms/sequence", 2),
    Column("seconds", 5),
)
VERBOSITY = "drnn-deploy.verbosity"  # of a click context's meta: 1 for --verbose, -1 for --quiet

json_option = click.option(
    "--json",
    "json_path",
    metavar="FILE",
    type=JsonOutput(),
    help="Also write the result as JSON, on failure too; - for standard output.",
)


def make_console(json_path: str | None) -> PlainConsole:
    """The console for people: standard error where JSON goes to standard output. Tables in logs are not squeezed."""
    from drnn_deploy.cli.plain_console import PlainConsole

    console = PlainConsole(stderr=json_path == "-", soft_wrap=True, quiet=verbosity() < 0)
    console.is_log = not console.is_terminal and "COLUMNS" not in os.environ
    if console.is_log:
        console.width = _LOG_WIDTH
    return console


def verbosity() -> int:
    """1 where `--verbose` was typed, -1 where `--quiet` was, else 0."""
    context = click.get_current_context(silent=True)
    return 0 if context is None else context.meta.get(VERBOSITY, 0)


def conclude(console: Console, passed: bool | None, text: str, *, then: str = "") -> None:
    """The last lines: how it ended, which `--quiet` shows as well, and what to do next.

    Args:
        console: Where they go.
        passed: Whether it ended well; None where nothing was checked.
        text: What was done, or what failed, and the reason.
        then: The command to type next, and what it is for.
    """
    quiet, console.quiet = console.quiet, False
    console.print(styled("WROTE", "yellow") if passed is None else verdict(passed), text)
    console.quiet = quiet
    if then:
        show_next(console, then)


def show_next(console: Console, text: str) -> None:
    """The last line of a command: what to type now.

    Args:
        console: Where it goes.
        text: The command, perhaps after what it is for.
    """
    console.print(f"next    {text}")


def shown_metrics(metrics: Mapping[str, float]) -> str:
    """Metrics in a line of text.

    Args:
        metrics: Name -> value.
    """
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def verdict(passed: bool) -> Text:
    """The word that a line or a cell ends or begins with."""
    return styled("PASSED", "green") if passed else styled("FAILED", "red")


def styled(word: str, style: str) -> Text:
    """A word with a style, which it can have in no other way: see `PlainConsole`.

    Args:
        word: Any text; what a terminal would obey in it is shown as what it is.
        style: Of rich, for example "green".
    """
    from rich.text import Text

    return Text(printable(word), style)


def write_json(json_path: str | None, data: dict[str, Any]) -> None:
    """Write `data` where `--json` said, if it did.

    Args:
        json_path: A file's path, "-" for standard output, or None to write nothing.
        data: Plain JSON types.
    """
    if json_path == "-":
        click.echo(json.dumps(data, indent=1))
    elif json_path:
        with replacing(Path(json_path)) as temporary:
            temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def progress(console: Console) -> contextlib.AbstractContextManager[Callable[[str], None]]:
    """Long work shows itself on standard error, unless `--quiet` was typed; see `drnn_deploy.cli.progress`."""
    from drnn_deploy.cli.progress import progress as shown

    return shown(quiet=console.quiet)


def show_parity(console: Console, report: ParityReport) -> None:
    """A table with a line per runtime and graph, then the runtimes that took no part, each with the reason.

    Args:
        console: Where it goes.
        report: Of one bundle.
    """
    from drnn_deploy.reports.text import (
        NO_CASE,
        NOT_COMPARED,
        REFERENCE_ERROR,
        describe_file,
        failures,
        row_cells,
        uncompared,
    )

    verdicts = [styled(row.verdict.upper(), "green" if row.passed else "red") for row in report.rows]
    figures = [[row_cells(row)[column.title] for column in _PARITY] for row in report.rows]
    rows = [[*cells, word] for cells, word in zip(figures, verdicts, strict=True)]
    print_table(console, [*_PARITY, Column("verdict", kind="name")], rows)
    for row in report.rows:
        if not row.passed:
            reason = next(iter(failures(row)), NO_CASE)
            console.print(styled(row.verdict.upper(), "red"), f"{row.runtime} {row.graph}: {reason}")
    for file in report.files:
        if not file.passed:
            console.print(verdict(False), describe_file(file))
    if not report.compared:
        console.print(verdict(False), NOT_COMPARED)
    for sentence in uncompared(report):
        console.print(f"note    {sentence}")
    for name, caveat in {row.runtime: row.caveat for row in report.rows if row.caveat}.items():
        console.print(f"note    {name}: {caveat}")
    for row in report.rows:
        if row.is_reference and row.worst is not None and row.worst.absolute:
            console.print(f"note    {row.runtime} {row.graph}: {REFERENCE_ERROR}")
    show_missing(console, report.missing)


def show_missing(console: Console, missing: Iterable[Missing]) -> None:
    """What took no part: a line for all runtimes that are not here and one for graphs; each reason with `--verbose`.

    Args:
        console: Where they go.
        missing: What took no part.
    """
    entries = list(missing)
    word = styled("not run", "yellow")
    if verbosity() > 0:
        for entry in entries:
            name = f"{entry.runtime} {entry.graph}".rstrip()
            console.print(word, f"{name}: {entry.reason}. {entry.fix}".rstrip())
        return
    runtimes = [entry.runtime for entry in entries if not entry.graph]
    graphs = [f"{entry.runtime} {entry.graph}" for entry in entries if entry.graph]
    if runtimes:
        plural = "runtime" if len(runtimes) == 1 else "runtimes"
        console.print(word, f"{len(runtimes)} {plural} unavailable ({', '.join(runtimes)}): drnn-deploy doctor")
    if graphs:
        console.print(word, f"{', '.join(graphs)}: --verbose says why")


def show_tasks(console: Console, results: Sequence[TaskResult]) -> None:
    """A table of the task's metrics, and where the sequences come from.

    Args:
        console: Where it goes.
        results: The measurements of a task; nothing is printed where there are none.
    """
    if not results:
        return
    from drnn_deploy.reports.text import task_table

    header, rows = task_table(results)
    shown = [Column(name, kind="name" if number < 3 else "figure") for number, name in enumerate(header)]
    shown[0], shown[-2] = Column(header[0], 2, "name"), Column(header[-2], 1)
    print_table(console, shown, rows)
    for source in dict.fromkeys(result.source for result in results):
        console.print(f"data    {source}")

"""What the commands share in talking to people and to programs."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.errors import DeployError
from drnn_core.files import replacing
from drnn_core.text import printable
from drnn_deploy.cli.values import JsonOutput

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from drnn_deploy.parity.results import Missing, ParityReport, TaskResult

_LOG_WIDTH = 120
VERBOSITY = "drnn-deploy.verbosity"  # of a click context's meta: 1 for --verbose, -1 for --quiet

json_option = click.option(
    "--json",
    "json_path",
    metavar="FILE",
    type=JsonOutput(),
    help="Also write the result as JSON, on failure too; - for standard output.",
)


def make_console(json_path: str | None) -> Console:
    """The console for people: standard error where JSON goes to standard output. Tables in logs are not squeezed."""
    from drnn_deploy.cli.plain_console import PlainConsole

    console = PlainConsole(stderr=json_path == "-", soft_wrap=True, quiet=verbosity() < 0)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _LOG_WIDTH
    return console


def verbosity() -> int:
    """1 where `--verbose` was typed, -1 where `--quiet` was, else 0."""
    context = click.get_current_context(silent=True)
    return 0 if context is None else context.meta.get(VERBOSITY, 0)


def conclude(console: Console, passed: bool, text: str, *, then: str = "") -> None:
    """The last lines: how it ended, which `--quiet` shows as well, and what to do next.

    Args:
        console: Where they go.
        passed: Whether it ended well.
        text: What was done, or what failed, and the reason.
        then: The command to type next, and what it is for.
    """
    quiet, console.quiet = console.quiet, False
    console.print(verdict(passed), text)
    console.quiet = quiet
    if then:
        console.print(f"next    {then}")


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


@contextlib.contextmanager
def json_on_failure(json_path: str | None) -> Iterator[None]:
    """Write `{"passed": false, "error": ...}` where the body raises a `DeployError`."""
    try:
        yield
    except DeployError as error:
        failure = {"message": error.message, "fix": error.fix}
        with contextlib.suppress(DeployError):  # where the file itself cannot be written, which is the error then
            write_json(json_path, {"passed": False, "exit_code": error.exit_code, "error": failure})
        raise


@contextlib.contextmanager
def progress(console: Console) -> Iterator[Callable[[str], None]]:
    """A line that says what is going on and for how long; yields the function to change it with."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda text: bar.update(task, description=printable(text))


def show_parity(console: Console, report: ParityReport) -> None:
    """A table with a line per runtime and graph, then the runtimes that took no part, each with the reason.

    Args:
        console: Where it goes.
        report: Of one bundle.
    """
    from rich.table import Table

    from drnn_deploy.reports.text import NO_CASE, NOT_COMPARED, describe_file, failures, row_cells, uncompared

    names, figures = ("runtime", "graph", "precision"), ("largest error", "in noise", "ms/sequence", "seconds")
    table = Table()
    for column in ("runtime", "form", "precision"):
        table.add_column(column, overflow="fold")
    for column in figures:
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for row in report.rows:
        cells = row_cells(row)
        table.add_row(
            *(cells[column] for column in (*names, *figures)),
            styled(row.verdict.upper(), "green" if row.passed else "red"),
        )
    console.print(table)
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
    show_missing(console, report.missing)


def show_missing(console: Console, missing: Iterable[Missing]) -> None:
    """A line for each runtime or graph that took no part, with the reason and what to do about it.

    Args:
        console: Where they go.
        missing: What took no part.
    """
    for entry in missing:
        name = f"{entry.runtime} {entry.graph}".rstrip()
        console.print(styled("not run", "yellow"), f"{name}: {entry.reason}. {entry.fix}".rstrip())


def show_tasks(console: Console, results: Sequence[TaskResult]) -> None:
    """A table of the task's metrics, and where the sequences come from.

    Args:
        console: Where it goes.
        results: The measurements of a task; nothing is printed where there are none.
    """
    if not results:
        return
    from rich.table import Table

    from drnn_deploy.reports.text import task_table

    header, rows = task_table(results)
    table = Table()
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < 3 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for source in dict.fromkeys(result.source for result in results):
        console.print(f"data    {source}")

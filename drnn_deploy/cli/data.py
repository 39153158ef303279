"""`drnn-deploy data`: fetch the data sets and check them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drnn_deploy.cli.command import Group
from drnn_deploy.cli.console import make_console, show_next
from drnn_deploy.cli.console import progress as plain_progress

if TYPE_CHECKING:
    from drnn_deploy.datasets import FileResult, Progress


@click.group(cls=Group)
def data() -> None:
    """Fetch and check data sets (pixel-mnist, ptb-char, speaker-id).

    They lie in $DRNN_DATA, or in the user's cache folder where that is not set.
    """


@data.command("fetch")
@click.argument("name")
@click.option(
    "--from",
    "source",
    metavar="FILE_OR_DIR",
    type=click.Path(path_type=Path),
    help="Copy the files (NAME or NAME.gz) from this folder, or this one file, instead of the network.",
)
def fetch_command(name: str, source: Path | None) -> None:
    """Get the data set NAME; what is already there and right is kept, what is half there is gone on with.

    Ends with exit code 2 where no route leads to all files.
    """
    from drnn_deploy import datasets

    with _progress_bars() as progress:
        results = datasets.fetch(name, source, progress=progress)
    for result in results:
        click.echo(_line(result))
    _show_next(name)


@data.command("verify")
@click.argument("name")
def verify_command(name: str) -> None:
    """Compare the md5 sum of every file of the data set NAME.

    Ends with exit code 2 where a file is missing or wrong.
    """
    from drnn_core.errors import InputError
    from drnn_deploy import datasets

    results = datasets.verify(name)
    for result in results:
        click.echo(_line(result))
    wrong = [result.path.name for result in results if result.problem]
    if wrong:
        raise InputError(
            f"{len(wrong)} of {len(results)} files of {name} are missing or wrong: {', '.join(wrong)}",
            f"Type: drnn-deploy data fetch {name}",
        )
    _show_next(name)


def _show_next(name: str) -> None:
    show_next(make_console(None), f"drnn-deploy train {name}")


def _line(result: FileResult) -> str:
    if result.problem:
        return f"{result.path}  {result.problem}"
    return f"{result.path}  {result.size:,} bytes  md5 ok  {result.origin}"


@contextlib.contextmanager
def _progress_bars() -> Iterator[Progress]:
    """Bars on the terminal's standard error while the block runs; elsewhere a plain line every few seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        with plain_progress(console) as notify:
            yield lambda what, done, total: notify(f"{what}: {done:,} of {total or 0:,} bytes")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True) as bars:

        def show(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield show

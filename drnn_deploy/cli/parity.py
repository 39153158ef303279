"""`drnn-parity BUNDLE|CHECKPOINT...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_deploy.cli.output import (
    json_on_failure,
    json_option,
    make_console,
    progress,
    show_parity,
    show_tasks,
    write_json,
)
from drnn_models.errors import InputError
from drnn_models.files import replacing

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.parity import ParityReport


@click.command()
@click.argument("paths", metavar="[BUNDLE|CHECKPOINT]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--runtime", "runtimes", multiple=True, help="Only this one, which must be usable; repeat. [default: all here]"
)
@click.option("--require", "required", multiple=True, help="Must take part, or exit code 3; others do too. Repeat.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    help="Without a path: check the zoo's network of this task; repeat, or type all. With a path: measure this task in "
    "place of the network's own.",
)
@click.option(
    "--task-data",
    type=click.IntRange(min=1),
    help="Measure the task on so many sequences of its test split, too. [default: the examples in the file]",
)
@click.option(
    "--form",
    "forms",
    multiple=True,
    type=click.Choice(["sequence", "chunk", "step"]),
    help="Only these; repeat. [default: all]",
)
@click.option(
    "--emission",
    "emissions",
    multiple=True,
    type=click.Choice(["fused", "unrolled", "mixed", "skewed"]),
    help="Only graphs written like this; repeat. [default: all in the bundle, the usual ones of a checkpoint]",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "bf16", "int8"]),
    help="Only graphs of this precision; repeat. [default: all in the bundle, fp32 of a checkpoint]",
)
@click.option("--max-noise", type=float, help="Largest error to pass, in units of float32 noise. [default: 8]")
@click.option("--junit", "junit_path", type=click.Path(path_type=Path), help="Also write JUnit XML.")
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path), help="Also write Markdown.")
@json_option
def parity(
    paths: tuple[Path, ...],
    tasks: tuple[str, ...],
    max_noise: float | None,
    junit_path: Path | None,
    markdown_path: Path | None,
    json_path: str | None,
    **options: Any,
) -> int:
    """Check that every runtime computes what a bundle's float64 golden data says.

    A CHECKPOINT is exported in several forms, batches and lengths for the check, and these are not kept. Exit code 1
    where a runtime's numbers are off, 3 where one that was asked for cannot run, or nothing could be compared.
    """
    console = make_console(json_path)
    with json_on_failure(json_path):
        chosen = _chosen(paths, tasks)
        with progress(console) as notify:
            from drnn_deploy.matrix import MatrixOptions, check_path
            from drnn_deploy.parity import NOISE_MULTIPLE

            named = tasks[0] if paths and tasks else None
            noise = NOISE_MULTIPLE if max_noise is None else max_noise
            how = MatrixOptions(**options, task=named, noise_multiple=noise)
            reports = {name: check_path(path, how, notify=notify) for name, path in chosen.items()}
        code = max((report.exit_code for report in reports.values()), key=lambda code: (code == 1, code))
        entries = [{"path": path, **report.to_json()} for path, report in reports.items()]
        write_json(json_path, {"passed": code == 0, "exit_code": code, "reports": entries})
        _write_files(reports, junit_path, markdown_path)
    _show(console, reports, code)
    return code


def _chosen(paths: tuple[Path, ...], tasks: tuple[str, ...]) -> dict[str, Path]:
    """Name for reports -> what to check: the paths, or the zoo's networks of the tasks."""
    if paths:
        if len(tasks) > 1 or "all" in tasks:
            raise InputError("with a path, --task names the one task to measure", "Name one, or leave the paths out.")
        return {str(path): path for path in paths}
    if not tasks:
        raise InputError("nothing to check", "Type: drnn-parity BUNDLE, drnn-parity model.pt or drnn-parity --task all")
    from drnn_deploy.matrix import zoo_checkpoint, zoo_tasks

    return dict(zoo_checkpoint(task) for task in (zoo_tasks() if "all" in tasks else tasks))


def _write_files(reports: dict[str, ParityReport], junit_path: Path | None, markdown_path: Path | None) -> None:
    from drnn_deploy.parity_files import junit, markdown

    if junit_path:
        with replacing(junit_path) as temporary:
            temporary.write_bytes(junit(reports))
    if markdown_path:
        with replacing(markdown_path) as temporary:
            temporary.write_text(markdown(reports), encoding="utf-8")


def _show(console: Console, reports: dict[str, ParityReport], code: int) -> None:
    from rich.markup import escape

    for path, report in reports.items():
        console.print(escape(path))
        show_parity(console, report.rows, report.missing)
        show_tasks(console, report.tasks)
        for note in report.notes:
            console.print(f"note    {note}", markup=False)
    seconds = sum(row.seconds or 0.0 for report in reports.values() for row in report.rows)
    console.print(f"{sum(len(report.rows) for report in reports.values())} rows in {seconds:.1f} s")
    verdict = "[green]PASSED[/]" if code == 0 else f"[red]FAILED[/] (exit code {code})"
    console.print(f"{verdict} drnn-parity {escape(' '.join(reports))}")

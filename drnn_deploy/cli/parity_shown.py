"""What `drnn-parity` prints: tables, reasons, how it ended, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drnn_core.errors import ParityError
from drnn_deploy.cli.command import typed_words
from drnn_deploy.cli.console import conclude, show_parity, show_tasks, styled

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.cli.explanations import Explaining
    from drnn_deploy.matrix.options import MatrixOptions
    from drnn_deploy.parity.results import ParityReport
    from drnn_deploy.reports.regressions import Regression

_FILES = ("html_path", "junit_path", "markdown_path", "json_path", "baseline", "max_slowdown")


def show(
    console: Console,
    reports: dict[str, ParityReport],
    worse: Sequence[Regression],
    code: int,
    explained: Explaining,
    how: MatrixOptions,
    chosen: Mapping[str, Path],
) -> None:
    """The tables of each report, what is wrong, how it ended and what to type next.

    Args:
        console: Where they go.
        reports: What was checked, by the names of reports.
        worse: What got worse than the baseline.
        code: What the command ends with.
        explained: What was found out of failures.
        how: What was asked for.
        chosen: The names of reports -> the bundles or checkpoints.
    """
    from drnn_deploy.reports.text import case_lines, derivation, why_failed

    for path, report in reports.items():
        console.print(path)
        show_parity(console, report)
        explained.show(console, path)
        for line in case_lines(report, how.inputs.name) if how.inputs else ():
            console.print(f"inputs  {line}")
        show_tasks(console, report.tasks)
        for line in derivation(report):
            console.print(f"limit   {line}")
        for note in report.notes:
            console.print(f"note    {note}")
    for regression in worse:
        console.print(styled("WORSE", "red"), f"{regression.where}: {regression.what}")
    seconds = sum(row.seconds or 0.0 for report in reports.values() for row in report.rows)
    console.print(f"{sum(len(report.rows) for report in reports.values())} rows in {seconds:.1f} s")
    reasons = [*filter(None, map(why_failed, reports.values())), *(f"{r.where}: {r.what}" for r in worse)]
    shown_code, names = f"(exit code {code}) " if code else "", shlex.join(reports)
    files = ((name, getattr(how, name)) for name in ("graph", "inputs", "outputs"))
    given = "".join(f" --{name} {shlex.quote(str(path))}" for name, path in files if path)
    reason = f": {reasons[0]}" if code and reasons else ""
    then = (
        _after_failure(reports, worse, code, explained, how) if code else _after_pass(how, next(iter(chosen.values())))
    )
    conclude(console, code == 0, f"{shown_code}drnn-parity {names}{given}{reason}", then=then)


def _after_pass(how: MatrixOptions, first: Path) -> str:
    """What to type where all is well."""
    if how.graph is not None:
        return f"what TensorRT makes of it: drnn-deploy lint {shlex.quote(str(how.graph))}"
    name = shlex.quote(str(first))
    return f"drnn-deploy run {name} --input x.npy --output y.npy" if first.is_dir() else f"drnn-export {name}"


def _after_failure(
    reports: Mapping[str, ParityReport],
    worse: Sequence[Regression],
    code: int,
    explained: Explaining,
    how: MatrixOptions,
) -> str:
    """What to type where something is wrong."""
    if code != ParityError.exit_code:
        return "what is missing here: drnn-deploy doctor"
    if worse:
        return f"all figures on one page: {again('--html', 'parity.html')}"
    if how.graph is not None:
        return f"whether the bundle's own graphs pass: {again(without=('graph', 'renames'))}"
    if not any(map(_explainable, reports.values())):
        there = ("outputs", "runtimes", "required", "explain", "repro_path")
        return f"where {how.outputs} was made: {again('--explain', without=there)}"
    if not explained.asked:
        return f"which layer and operator is wrong: {again('--explain', without=('outputs',))}"
    if explained.folder is None:
        return f"the least that still fails, as a file: {again('--repro', 'repro', without=('outputs', 'explain'))}"
    return f"all of it on one page: {again('--html', 'parity.html')}"


def again(*more: str, without: Iterable[str] = ()) -> str:
    """The command that was typed, with more words.

    Args:
        more: Words to add.
        without: The names of options to leave out, beside those that name files of reports.
    """
    return shlex.join(["drnn-parity", *retyped(without), *more])


def retyped(without: Iterable[str]) -> list[str]:
    """The words that were typed, without those that name files of reports.

    Args:
        without: The names of further options to leave out.
    """
    return typed_words(click.get_current_context(), {*without, *_FILES})


def _explainable(report: ParityReport) -> bool:
    """Whether a runtime's numbers, or a file, are wrong: of outputs from elsewhere nothing more is known."""
    from drnn_runtimes.registry import RUNTIMES

    wrong = [row for row in report.rows if not row.passed and row.exit_code <= ParityError.exit_code]
    return any(row.runtime in RUNTIMES for row in wrong) or not all(file.passed for file in report.files)

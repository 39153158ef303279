"""`drnn-deploy lint model.onnx`."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.errors import EngineError
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import json_option, make_console, progress, show_next, styled, verdict, write_json
from drnn_deploy.cli.tables import Column, print_table
from drnn_deploy.cli.values import ComputeCapability, InputFile

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from drnn_export.lint.linter import Finding, Findings, LintTarget

_TARGETS = ("tensorrt-10.3", "tensorrt-11", "tensorrt-rtx")
_ROWS = 40  # findings that are shown
_STYLES = {"error": "red", "warning": "yellow"}


@command()
@click.argument("model", type=InputFile("the path of an .onnx file"))
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(_TARGETS),
    help="Repeat for several. [default: all that build for each --compute-capability]",
)
@click.option(
    "--compute-capability",
    "capabilities",
    multiple=True,
    type=ComputeCapability(),
    help="A GPU generation that it must run on; repeat for several. [default: 8.0 and later]",
)
@json_option
def lint(model: Path, targets: tuple[LintTarget, ...], capabilities: tuple[str, ...], json_path: str | None) -> int:
    """Check an ONNX file, from whatever exporter, against what TensorRT's ONNX parsers take.

    Needs neither TensorRT nor a GPU. Exit code 4 where an engine could not be built, or would compute something else.
    """
    from drnn_export.lint.gpu_rules import builds_for
    from drnn_export.lint.linter import TARGETS, lint_file, load_table

    console = make_console(json_path)
    generations = {target: load_table(target).generations for target in TARGETS}
    fitting = tuple(t for t, known in generations.items() if all(builds_for(known, gpu) for gpu in capabilities))
    chosen = tuple(dict.fromkeys(targets)) or fitting or TARGETS
    with progress(console) as notify:
        notify(f"checking {model}")
        by_target = lint_file(model, chosen, capabilities)
    write_json(json_path, _as_json(model, by_target))
    _show(console, by_target)
    if left_out := [target for target in TARGETS if not targets and target not in chosen]:
        console.print(f"note    {' and '.join(left_out)}: not checked, builds for no such GPU; --target asks for it")
    show_next(console, _next(model, by_target))
    return _exit_code(by_target)


def _next(model: Path, by_target: Mapping[LintTarget, Findings]) -> str:
    """What to type now: TensorRT's own parser, or this check again."""
    name = shlex.quote(str(model))
    if _exit_code(by_target):
        return f"mend the errors where the graph is made, and check again: drnn-deploy lint {name}"
    tool = "trtexec" if any(target != "tensorrt-rtx" for target in by_target) else "tensorrt_rtx"
    return f"where TensorRT is: {tool} {shlex.quote(f'--onnx={model}')}"


def _exit_code(by_target: Mapping[LintTarget, Findings]) -> int:
    return EngineError.exit_code if any(findings.errors for findings in by_target.values()) else 0


def _as_json(model: Path, by_target: Mapping[LintTarget, Findings]) -> dict[str, Any]:
    from drnn_export.lint.linter import load_table

    targets = {
        target: {
            "title": load_table(target).title,
            "rules_from": load_table(target).rules_from,
            "errors": findings.errors,
            "warnings": findings.warnings,
            "left_out": findings.left_out,
            "findings": [dataclasses.asdict(finding) for finding in findings],
        }
        for target, findings in by_target.items()
    }
    code = _exit_code(by_target)
    return {"passed": code == 0, "exit_code": code, "file": model.name, "targets": targets}


def _show(console: Console, by_target: Mapping[LintTarget, Findings]) -> None:
    from drnn_export.lint.linter import load_table

    rows = _merged(by_target)
    cells = []
    for finding, severities in rows[:_ROWS]:
        where = f"{finding.node} ({finding.operator}): " if finding.node else ""
        text = f"{finding.rule}: {where}{finding.what}.\n{finding.fix}."
        cells.append([text, *(_cell(severities.get(target, "")) for target in by_target)])
    columns = [Column("finding", kind="prose"), *(Column(target, kind="name") for target in by_target)]
    print_table(console, columns, cells)
    if any(findings.left_out for findings in by_target.values()):
        most = max(map(len, by_target.values()))
        console.print(f"and more findings than are told of one file; --json FILE has the first {most:,} of a target")
    elif len(rows) > _ROWS:
        console.print(f"and {len(rows) - _ROWS:,} more findings; --json FILE has them all")
    for target, findings in by_target.items():
        counts = f"{_number(findings.errors, 'error')}, {_number(findings.warnings, 'warning')}"
        console.print(verdict(not findings.errors), f"{target}: {counts}")
        console.print(f"       rules of {load_table(target).title}: {load_table(target).rules_from}")


def _cell(severity: str) -> Text:
    return styled(severity, _STYLES.get(severity, ""))


def _number(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _merged(by_target: Mapping[LintTarget, Findings]) -> list[tuple[Finding, dict[str, str]]]:
    """Each finding once, with its severity for each target that has it; errors first."""
    merged: dict[tuple[str, ...], tuple[Finding, dict[str, str]]] = {}
    for target, findings in by_target.items():
        for finding in findings:
            key = (finding.rule, finding.node, finding.operator, finding.what, finding.fix)
            merged.setdefault(key, (finding, {}))[1][target] = finding.severity
    return sorted(merged.values(), key=lambda row: "error" not in row[1].values())

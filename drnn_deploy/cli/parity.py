"""`drnn-parity BUNDLE|CHECKPOINT...`."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_deploy.cli.explaining import Explaining
from drnn_deploy.cli.output import json_on_failure, json_option, make_console, progress, show_parity, write_json
from drnn_models.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from drnn_deploy.parity import ParityReport
    from drnn_runtimes.bundle import Bundle


@click.command()
@click.argument("paths", metavar="BUNDLE|CHECKPOINT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--runtime", "runtimes", multiple=True, help="Only this one, which must be usable; repeat. [default: all here]"
)
@click.option("--max-noise", type=float, help="Largest error to pass, in units of float32 noise. [default: 8]")
@click.option("--junit", "junit_path", type=click.Path(path_type=Path), help="Also write JUnit XML.")
@click.option("--markdown", "markdown_path", type=click.Path(path_type=Path), help="Also write Markdown.")
@click.option("--explain", is_flag=True, help="Name the layer and operator that a failing runtime gets wrong.")
@click.option(
    "--repro",
    "repro_path",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write the least that still fails of each failure; explains it as well.",
)
@json_option
def parity(
    paths: tuple[Path, ...],
    runtimes: tuple[str, ...],
    max_noise: float | None,
    junit_path: Path | None,
    markdown_path: Path | None,
    explain: bool,
    repro_path: Path | None,
    json_path: str | None,
) -> int:
    """Check that every runtime computes what a bundle's float64 golden data says.

    A CHECKPOINT is exported for the check and not kept. Exit code 1 where a runtime's numbers are off, 3 where one that
    was asked for cannot run, or nothing could be compared.
    """
    console = make_console(json_path)
    with json_on_failure(json_path):
        with progress(console) as notify:
            explained = Explaining(explain, repro_path, notify, several=len(paths) > 1)
            reports = {
                str(path): _check(path, runtimes, max_noise, notify, explained.explain) for path in dict.fromkeys(paths)
            }
        code = max((report.exit_code for report in reports.values()), key=lambda code: (code == 1, code))
        entries = [{"path": path, **report.to_json(), **explained.to_json(path)} for path, report in reports.items()]
        write_json(json_path, {"passed": code == 0, "exit_code": code, "reports": entries})
        _write_files(reports, junit_path, markdown_path, explained.markdown())
    _show(console, reports, code, explained)
    return code


def _check(
    path: Path,
    names: tuple[str, ...],
    max_noise: float | None,
    notify: Callable[[str], None],
    explain: Callable[[Path, Bundle, ParityReport], None],
) -> ParityReport:
    from drnn_deploy.parity import NOISE_MULTIPLE, check_parity
    from drnn_runtimes.bundle import Bundle
    from drnn_runtimes.registry import RUNTIMES, require

    noise = NOISE_MULTIPLE if max_noise is None else max_noise
    if path.is_dir():
        chosen = require(names) if names else list(RUNTIMES.values())
        opened = Bundle.open(path)
        report = check_parity(opened, chosen, required=bool(names), noise_multiple=noise, notify=notify)
        explain(path, opened, report)
        return report
    from drnn_deploy.exporting import export
    from drnn_deploy.options import ExportOptions

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "bundle"
        options: dict[str, Any] = {"engines": (), "runtimes": names or None, "noise_multiple": noise}
        result = export(path, folder, ExportOptions(**options), notify=notify)
        explain(path, result.bundle, result.parity)
        return result.parity


def _write_files(
    reports: dict[str, ParityReport], junit_path: Path | None, markdown_path: Path | None, explained: str
) -> None:
    from drnn_deploy.parity_files import junit, markdown

    if junit_path:
        with replacing(junit_path) as temporary:
            temporary.write_bytes(junit(reports))
    if markdown_path:
        with replacing(markdown_path) as temporary:
            temporary.write_text(markdown(reports) + explained, encoding="utf-8")


def _show(console: Console, reports: dict[str, ParityReport], code: int, explained: Explaining) -> None:
    from rich.markup import escape

    for path, report in reports.items():
        console.print(escape(path))
        show_parity(console, report.rows, report.missing)
        explained.show(console, path)
    verdict = "[green]PASSED[/]" if code == 0 else f"[red]FAILED[/] (exit code {code})"
    console.print(f"{verdict} drnn-parity {escape(' '.join(reports))}")

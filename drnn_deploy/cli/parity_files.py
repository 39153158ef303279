"""The files that `drnn-parity` writes beside its JSON: one page for browsers, JUnit XML, Markdown."""

from __future__ import annotations

import datetime
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.files import replacing, sha256

if TYPE_CHECKING:
    from drnn_deploy.cli.explanations import Explaining
    from drnn_deploy.parity.results import ParityReport
    from drnn_deploy.reports.regressions import Regression


def write_texts(
    reports: dict[str, ParityReport],
    worse: list[Regression],
    junit_path: Path | None,
    markdown_path: Path | None,
    explained: str,
) -> None:
    """Write JUnit XML and Markdown, each where it was asked for.

    Args:
        reports: What was checked, by the names of reports.
        worse: What got worse than the baseline.
        junit_path: Of the XML; None to leave it out.
        markdown_path: Of the Markdown; None to leave it out.
        explained: What follows the reports in Markdown.
    """
    from drnn_deploy.reports.junit import junit
    from drnn_deploy.reports.markdown import markdown

    if junit_path:
        with replacing(junit_path) as temporary:
            temporary.write_bytes(junit(reports, worse))
    if markdown_path:
        with replacing(markdown_path) as temporary:
            temporary.write_text(markdown(reports, worse) + explained, encoding="utf-8")


def write_page(
    path: Path,
    reports: dict[str, ParityReport],
    data: dict[str, Any],
    worse: list[Regression],
    explained: Explaining,
    places: dict[str, Path],
) -> None:
    """Write one self-contained page.

    Args:
        path: The file.
        reports: What was checked, by the names of reports.
        data: What `--json` writes.
        worse: What got worse than the baseline.
        explained: What was found out of failures.
        places: The names of reports -> the bundles or checkpoints.
    """
    from drnn_deploy.reports.html import page

    text = page(
        reports,
        data["environment"],
        worse,
        data.get("baseline", {}).get("file", ""),
        explained.explanations,
        made=_made(),
        hashes={name: _hashes(place) for name, place in places.items()},
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _made() -> dict[str, str]:
    """When, where and by which command."""
    from drnn_deploy.bench.machine import machine

    facts = machine()
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{facts['processor']}, {facts['cores']} cores",
        "command": shlex.join([str(click.get_current_context().find_root().info_name), *sys.argv[1:]]),
    }


def _hashes(path: Path) -> dict[str, str]:
    """File -> sha256, of a checkpoint or of every file of a bundle."""
    if path.is_dir():
        from drnn_runtimes.bundle import Bundle

        return {"manifest.json": sha256(path / "manifest.json"), **Bundle.open(path, verify=False).files}
    return {path.name: sha256(path)}

"""`drnn-parity --explain`: what is wrong with a runtime that failed, on the terminal and in the reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.explanation import Explanation
    from drnn_deploy.parity import ParityReport
    from drnn_runtimes.bundle import Bundle


class Explaining:
    """Explains failures as bundles are checked, and keeps the explanations by path; does nothing unless asked to.

    folder: where reproductions go, which is asking; with several bundles, each has a folder of its own in it.
    """

    def __init__(self, asked: bool, folder: Path | None, notify: Callable[[str], None], several: bool = False) -> None:
        self._asked, self._folder, self._notify, self._several = asked or folder is not None, folder, notify, several
        self._found: dict[str, tuple[Explanation, ...]] = {}

    def explain(self, path: Path, bundle: Bundle, report: ParityReport) -> None:
        """Explain what failed of a bundle that the command line calls `path`."""
        if not self._asked:
            return
        from drnn_deploy.explaining import explain_report
        from drnn_runtimes.registry import RUNTIMES

        folder = self._folder
        if folder is not None and self._several:
            folder = folder / f"{len(self._found) + 1:02d}-{path.name}"
        every = list(RUNTIMES.values())
        self._found[str(path)] = explain_report(
            bundle, report, every, target=str(path), folder=folder, notify=self._notify
        )

    def to_json(self, path: str) -> dict[str, Any]:
        """The entry `explanations` of a path's report; nothing where it was not asked for."""
        return {"explanations": [found.to_json() for found in self._found[path]]} if self._asked else {}

    def markdown(self) -> str:
        """All of them, to follow the report's own text."""
        if not self._asked:
            return ""
        from drnn_deploy.explaining_files import markdown

        return markdown(self._found)

    def show(self, console: Console, path: str) -> None:
        """Print a path's explanations."""
        for explanation in self._found.get(path, ()):
            _show(console, explanation)


def _show(console: Console, explanation: Explanation) -> None:
    from rich.markup import escape
    from rich.table import Table

    from drnn_deploy.explaining_files import COLUMNS, details, table

    name = f"{explanation.runtime} {explanation.graph}"
    console.print(f"[bold]explained[/] {escape(name)}: {escape(explanation.verdict)}")
    if explanation.parts:
        shown = Table(title=f"on {explanation.case} inputs", title_justify="left")
        for column in COLUMNS:
            shown.add_column(column, overflow="fold")
        for row in table(explanation, ascii_only=console.options.ascii_only):
            shown.add_row(*map(escape, row))
        console.print(shown)
    for line in details(explanation):
        console.print(f"        {escape(line)}")
    if explanation.reproduction:
        console.print(f"wrote   {escape(explanation.reproduction)}")
    console.print(f"again   {escape(explanation.command)}")

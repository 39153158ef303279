"""`drnn-parity --explain`: what is wrong with a runtime that failed, on the terminal and in the reports."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.debug.explanation import Explanation
    from drnn_deploy.parity.results import ParityReport
    from drnn_runtimes.bundle import Bundle, GoldenCase


_RANKS = {"growth as it ran": 3, "limit": 2, "first step off": 1}  # of columns; the largest goes first


class Explaining:
    """Explains failures as bundles are checked, and keeps the explanations by path; does nothing unless asked to.

    Args:
        asked: Whether to explain.
        folder: Where reproductions go; naming it is asking, too.
        notify: Gets a line on what is explained at the moment.
        several: Whether there are several bundles; then each has a folder of its own in `folder`.
        again: Words that the command which explains again has, too.
        threads: Of each runtime that has a setting for that; None for its own.
    """

    def __init__(
        self,
        asked: bool,
        folder: Path | None,
        notify: Callable[[str], None],
        several: bool = False,
        again: Sequence[str] = (),
        threads: int | None = None,
    ) -> None:
        self._threads, self._again = threads, "".join(f" {shlex.quote(word)}" for word in again)
        self.asked, self.folder, self._notify, self._several = asked or folder is not None, folder, notify, several
        self.explanations: dict[str, tuple[Explanation, ...]] = {}
        self._numbers: dict[str, int] = {}

    def explain(self, path: str, bundle: Bundle, report: ParityReport, label: str, cases: Sequence[GoldenCase]) -> None:
        """Explain what failed of a bundle.

        Args:
            path: What the command line calls it, or the checkpoint that it was made of.
            bundle: The bundle, which must still be there.
            report: Its report.
            label: What the report's graphs are called beside their names.
            cases: The cases that it may have been checked on.
        """
        if not self.asked:
            return
        from drnn_deploy.debug.explain import explain_report
        from drnn_runtimes.registry import RUNTIMES, with_threads

        folder = self.folder
        if folder is not None and self._several:
            self._numbers.setdefault(path, len(self._numbers) + 1)
            folder = folder / f"{self._numbers[path]:02d}-{Path(path).name}"
        if folder is not None and label:
            folder = folder / re.sub(r"[^\w=]+", "-", label)
        every = with_threads(list(RUNTIMES.values()), self._threads)
        explained = explain_report(bundle, report, every, cases=cases, target=path, folder=folder, notify=self._notify)
        named = (
            dataclasses.replace(entry, graph=f"{entry.graph} {label}".strip(), command=entry.command + self._again)
            for entry in explained
        )
        self.explanations[path] = (*self.explanations.get(path, ()), *named)

    def to_json(self, path: str) -> dict[str, Any]:
        """The entry `explanations` of a path's report; nothing where it was not asked for."""
        if not self.asked:
            return {}
        return {"explanations": [explanation.to_json() for explanation in self.explanations[path]]}

    def markdown(self) -> str:
        """All explanations, to follow the report's own text."""
        if not self.asked:
            return ""
        from drnn_deploy.reports.markdown import explanations_markdown

        return explanations_markdown(self.explanations)

    def show(self, console: Console, path: str) -> None:
        """Print the explanations of a path.

        Args:
            console: Where they go.
            path: As for `explain`.
        """
        for explanation in self.explanations.get(path, ()):
            _show(console, explanation)


def _show(console: Console, explanation: Explanation) -> None:
    from drnn_deploy.cli.console import styled
    from drnn_deploy.cli.tables import Column, print_table
    from drnn_deploy.reports.text import STAGE_COLUMNS, explanation_details, stage_table

    name = f"{explanation.runtime} {explanation.graph}"
    console.print(styled("explained", "bold"), f"{name}: {explanation.verdict}")
    if explanation.stages:
        rows = stage_table(explanation, ascii_only=console.options.ascii_only)
        first, *others = STAGE_COLUMNS
        columns = [Column(first, kind="name"), *(Column(title, _RANKS.get(title, 0)) for title in others)]
        print_table(console, columns, rows, title=f"on {explanation.case} inputs")
    for line in explanation_details(explanation):
        console.print(f"        {line}")
    if explanation.reproduction:
        console.print(f"wrote   {explanation.reproduction}")
    console.print(f"again   {explanation.command}")

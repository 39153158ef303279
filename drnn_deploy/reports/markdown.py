"""Parity reports and explanations as Markdown, for pull requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drnn_deploy.debug.explanation import Explanation
from drnn_deploy.parity.results import ParityReport
from drnn_deploy.reports.text import (
    STAGE_COLUMNS,
    describe,
    explanation_details,
    row_cells,
    stage_table,
    task_table,
)

_COLUMNS = ("runtime", "graph", "precision", "largest error", "in noise", "seconds")


def markdown(reports: Mapping[str, ParityReport]) -> str:
    """Reports as Markdown: a table for each bundle, one of its task's metrics, and what did not run."""
    lines: list[str] = []
    for name, report in reports.items():
        lines += [f"### {'PASSED' if report.passed else 'FAILED'}: {name}", ""]
        lines += [_table_row((*_COLUMNS, "verdict")), "|" + "---|" * (len(_COLUMNS) + 1)]
        for row in report.rows:
            cells = row_cells(row)
            verdict = "passed" if row.passed else f"**failed** {row.error}".rstrip()
            lines.append(_table_row((*(cells[column] for column in _COLUMNS), verdict)))
        for row in report.rows:
            lines += [f"- {row.runtime} {row.graph}: {describe(case)}" for case in row.cases if not case.passed]
        lines += ["", *_tasks(report)]
        lines += [f"Not run: {m.runtime} {m.graph}".rstrip() + f" ({m.reason})" for m in report.missing]
        lines += [*(f"Note: {note}" for note in report.notes), ""]
    return "\n".join(lines)


def _tasks(report: ParityReport) -> list[str]:
    if not report.tasks:
        return []
    header, rows = task_table(report.tasks)
    lines = [_table_row(cells) for cells in (header, ["---"] * len(header), *rows)]
    sources = dict.fromkeys(result.source for result in report.tasks)
    return [*lines, "", *(f"Data: {source}" for source in sources), ""]


def explanations_markdown(explanations: Mapping[str, Sequence[Explanation]]) -> str:
    """Explanations as Markdown: a section for each explanation of each bundle."""
    lines: list[str] = []
    for path, entries in explanations.items():
        for explanation in entries:
            lines += [f"#### {path}: {explanation.runtime} {explanation.graph}", "", f"**{explanation.verdict}**", ""]
            if explanation.stages:
                lines += [_table_row(STAGE_COLUMNS), _table_row(["---"] * len(STAGE_COLUMNS))]
                lines += [*map(_table_row, stage_table(explanation)), ""]
                lines += [f"On {explanation.case} inputs.", ""]
            lines += [f"- {line.strip()}" for line in explanation_details(explanation)]
            lines += [f"- reproduction: {explanation.reproduction}"] if explanation.reproduction else []
            lines += ["", f"    {explanation.command}", ""]
    return "\n".join(lines)


def _table_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

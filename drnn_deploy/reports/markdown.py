"""Parity reports and explanations as Markdown, for pull requests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from drnn_core.text import printable
from drnn_deploy.debug.explanation import Explanation
from drnn_deploy.parity.results import ParityReport
from drnn_deploy.reports.regressions import Regression
from drnn_deploy.reports.text import (
    STAGE_COLUMNS,
    describe_file,
    explanation_details,
    failures,
    row_cells,
    stage_table,
    task_table,
    uncompared,
)

_MARKS = re.compile(r"[\\`*\[\]<>|~$&]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")  # an underscore within a word is none
_LINKS = re.compile(r"[@#]|:(?=//)|(?<=www)\.", re.IGNORECASE)  # of people, issues and addresses
_COLUMNS = ("runtime", "graph", "precision", "largest error", "in noise", "seconds")


def markdown(reports: Mapping[str, ParityReport], worse: Sequence[Regression] = ()) -> str:
    """Reports as Markdown: a table for each bundle, one of its task's metrics, and what did not run.

    Names and texts of bundles are shown as what they are.

    Args:
        reports: Name -> report.
        worse: What got worse than the baseline.
    """
    lines: list[str] = []
    if worse:
        lines += ["### FAILED: worse than the baseline", ""]
        lines += [*(f"- {_plain(f'{regression.where}: {regression.what}')}" for regression in worse), ""]
    for name, report in reports.items():
        lines += [f"### {'PASSED' if report.passed else 'FAILED'}: {_plain(name)}", ""]
        lines += [_table_row((*_COLUMNS, "verdict")), "|" + "---|" * (len(_COLUMNS) + 1)]
        for row in report.rows:
            cells = row_cells(row)
            verdict = cells["verdict"] if row.passed else f"**{cells['verdict']}** {_plain(row.error)}".rstrip()
            lines.append(f"| {' | '.join((*(_plain(cells[column]) for column in _COLUMNS), verdict))} |")
        for row in report.rows:
            if not row.error:
                lines += [f"- {_plain(f'{row.runtime} {row.graph}: {failure}')}" for failure in failures(row)]
        lines += [f"- {_plain(describe_file(file))}" for file in report.files if not file.passed]
        lines += ["", *_tasks(report)]
        lines += [_plain(f"Not run: {m.runtime} {m.graph}".rstrip() + f" ({m.reason})") for m in report.missing]
        lines += [*(_plain(f"Note: {note}") for note in (*uncompared(report), *report.notes)), ""]
    return "\n".join(lines)


def _tasks(report: ParityReport) -> list[str]:
    if not report.tasks:
        return []
    header, rows = task_table(report.tasks)
    lines = [_table_row(cells) for cells in (header, ["---"] * len(header), *rows)]
    sources = dict.fromkeys(result.source for result in report.tasks)
    return [*lines, "", *(_plain(f"Data: {source}") for source in sources), ""]


def explanations_markdown(explanations: Mapping[str, Sequence[Explanation]]) -> str:
    """Explanations as Markdown: a section for each explanation of each bundle."""
    lines: list[str] = []
    for path, entries in explanations.items():
        for explanation in entries:
            lines += [f"#### {_plain(f'{path}: {explanation.runtime} {explanation.graph}')}", ""]
            lines += [f"**{_plain(explanation.verdict)}**", ""]
            if explanation.stages:
                lines += [_table_row(STAGE_COLUMNS), _table_row(["---"] * len(STAGE_COLUMNS))]
                lines += [*map(_table_row, stage_table(explanation)), ""]
                lines += [_plain(f"On {explanation.case} inputs."), ""]
            lines += [f"- {_plain(line.strip())}" for line in explanation_details(explanation)]
            lines += [f"- reproduction: {_plain(explanation.reproduction)}"] if explanation.reproduction else []
            lines += ["", *_code(explanation.command), ""]
    return "\n".join(lines)


def _table_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Text as Markdown that shows it letter by letter, on one line."""
    return _LINKS.sub("\\g<0>\u200b", _MARKS.sub(r"\\\g<0>", _on_one_line(text)))


def _code(text: str) -> list[str]:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [fence, _on_one_line(text), fence]


def _on_one_line(text: str) -> str:
    return printable(text).replace("\n", " ")

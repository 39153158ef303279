"""A parity report as one HTML page that needs nothing else: no network, no scripts."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from html import escape
from typing import TYPE_CHECKING, Any

from drnn_core.errors import InputError
from drnn_core.text import printable
from drnn_deploy.parity.results import ParityReport, ParityRow
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_deploy.reports.regressions import Regression
from drnn_deploy.reports.text import (
    STAGE_COLUMNS,
    derivation,
    describe_file,
    explanation_details,
    failures,
    row_cells,
    stage_table,
    task_table,
    uncompared,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from drnn_deploy.debug.explanation import Explanation

_INK = "#010203"  # becomes the text's colour, whatever the reader's theme
_MOST_PLOTS = 12  # of error growth; a page with more is no more readable


def page(
    reports: Mapping[str, ParityReport],
    environment: Mapping[str, str],
    worse: Sequence[Regression] = (),
    baseline: str = "",
    explanations: Mapping[str, Sequence[Explanation]] | None = None,
    *,
    made: Mapping[str, str] | None = None,
    hashes: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Make the page of parity reports. Names in bundles are escaped.

    Args:
        reports: Name -> report.
        environment: What the check ran with.
        worse: What got worse than the baseline.
        baseline: The file that `worse` was found against, or "".
        explanations: Name of a report -> explanations of its failures.
        made: When, where and by which command the reports were made, for the head of the page.
        hashes: Name of a report -> file -> sha256, of what was checked.

    Returns:
        The page as text, which needs nothing else.

    Raises:
        InputError: jinja2 or matplotlib is not installed.
    """
    try:
        import jinja2
        import matplotlib as _  # noqa: F401
    except ModuleNotFoundError as error:
        what = f"the HTML page needs {error.name}, which is not installed"
        raise InputError(what, "Type: pip install 'drnn-deploy[report]'") from error
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("drnn_deploy.reports", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    explained = explanations or {}
    entries = [
        {
            **_entry(name, report, number),
            "explanations": [*map(_explanation, explained.get(name, ()))],
            "hashes": (hashes or {}).get(name, {}),
        }
        for number, (name, report) in enumerate(reports.items())
    ]
    passed = not worse and all(report.passed for report in reports.values())
    text: str = templates.get_template("parity.html").render(
        entries=entries, passed=passed, environment=environment, worse=worse, baseline=baseline, made=made or {}
    )
    return printable(text)


def _entry(name: str, report: ParityReport, number: int) -> dict[str, Any]:
    """What the template shows of one report."""
    header, tasks = task_table(report.tasks) if report.tasks else ([], [])
    return {
        "name": name,
        "id": f"report-{number}",
        "report": report,
        "rows": [_row(row) for row in report.rows],
        "failures": [
            f"{row.runtime} {row.graph}: {failure}"
            for row in report.rows
            if not row.passed and not row.error
            for failure in failures(row)
        ]
        + [describe_file(file) for file in report.files if not file.passed],
        "uncompared": uncompared(report),
        "derivation": derivation(report),
        "caveats": {row.runtime: row.caveat for row in report.rows if row.caveat},
        "task_header": header,
        "tasks": tasks,
        "bars": _bars(report, number),
        "curves": _curves(report, number),
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {
        "name": f"{explanation.runtime} {explanation.graph}",
        "verdict": explanation.verdict,
        "header": STAGE_COLUMNS if explanation.stages else (),
        "rows": stage_table(explanation) if explanation.stages else (),
        "details": (*explanation_details(explanation), f"again: {explanation.command}"),
    }


def _row(row: ParityRow) -> dict[str, Any]:
    cells = row_cells(row)
    return {
        "cells": [cells[column] for column in ("runtime", "graph", "precision")],
        "figures": [cells[c] for c in ("largest error", "in noise", "agreement", "ms/call", "ms/sequence", "seconds")],
        "passed": row.passed,
        "verdict": cells["verdict"],
        "remark": row.error,
    }


def _bars(report: ParityReport, number: int) -> str:
    """SVG: the largest error of every row, in noise, against the limit; "" where no row has numbers."""
    rows = [row for row in report.compared if row.worst and row.worst.in_noise is not None]
    if not rows:
        return ""
    figure = _figure(9, 0.9 + 0.28 * len(rows))
    with _style():
        axes = figure.subplots()
    values = [max(float(row.worst.in_noise or 0.0), 1e-3) for row in rows if row.worst]
    colours = ["tab:green" if row.passed else "tab:red" for row in rows]
    axes.barh(range(len(rows)), values, color=colours, height=0.7)
    axes.set_yticks(range(len(rows)), [f"{row.runtime} {row.graph}" for row in rows], parse_math=False)
    if report.tolerance.by_noise:
        axes.axvline(report.tolerance.noise_multiple, color=_INK, linestyle="--", linewidth=1)
    scale = "linear" if max(values) <= 3 * NOISE_MULTIPLE else "log"
    axes.set(xlabel="largest error, in units of noise; dashed: the limit", xscale=scale)
    axes.invert_yaxis()
    return _svg(figure, f"bars{number}", "Largest error of every runtime and graph, in units of noise")


def _curves(report: ParityReport, number: int) -> list[str]:
    """SVGs: error over output steps of every golden case with several steps, a line for each runtime and graph."""
    drawn: dict[tuple[str, str, tuple[float, ...]], list[tuple[str, Sequence[float | None]]]] = {}
    for row in report.compared:
        for case in row.cases:
            if len(case.growth) > 1:
                key = (case.case, row.precision, case.limits)
                drawn.setdefault(key, []).append((f"{row.runtime} {row.graph}", case.growth))
    plots = []
    for index, ((case_name, precision, limits), lines) in enumerate(list(drawn.items())[:_MOST_PLOTS]):
        figure = _figure(9, 2.6 + 0.16 * len(lines))
        with _style():
            axes = figure.subplots()
        curves = []
        for _, growth in lines:
            shown = [max(value, 1e-12) if value is not None else float("nan") for value in growth]
            curves += axes.plot([i / (len(shown) - 1) for i in range(len(shown))], shown, marker=".", linewidth=1)
        if limits:
            places = [i / (len(limits) - 1) for i in range(len(limits))]
            axes.plot(places, [max(limit, 1e-12) for limit in limits], color=_INK, linestyle="--", linewidth=1)
        axes.set(xlabel="share of the output steps", ylabel="error; dashed: the limit", yscale="log")
        axes.set_title(printable(f"{case_name:.80} inputs, {precision}"), parse_math=False)
        labels = [label for label, _ in lines]
        look: dict[str, Any] = {"frameon": False, "fontsize": "small", "labelcolor": _INK}
        legend = figure.legend(curves, labels, loc="outside lower center", **look)
        for text in legend.get_texts():
            text.set_parse_math(False)
        plots.append(
            _svg(figure, f"curve{number}-{index}", f"Error over output steps on {case_name} inputs, {precision}")
        )
    return plots


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    with _style():
        return Figure(figsize=(width, height), layout="constrained", facecolor="none")


def _style(salt: str = "") -> AbstractContextManager[None]:
    """The page's ink and text as text; identifiers that no other figure of the page has."""
    from matplotlib import rc_context

    inks = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": salt}
    return rc_context(settings | dict.fromkeys(inks, _INK))


def _svg(figure: Figure, salt: str, label: str) -> str:
    """The figure for a page: text as text, colours of the page, identifiers of its own, a label for screen readers."""
    buffer = io.StringIO()
    for axes in figure.axes:
        axes.set_facecolor("none")
    with _style(salt):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)

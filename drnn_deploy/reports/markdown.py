"""A parity report in the forms that others read: JUnit XML for CI servers, Markdown for pull requests."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree import ElementTree

from drnn_deploy.parity.results import CaseResult, ParityReport, ParityRow
from drnn_deploy.parity.task_results import task_table


def junit(reports: Mapping[str, ParityReport]) -> bytes:
    """JUnit XML: a suite for each bundle, a case for each runtime, graph and golden case; what did not run is skipped.

    A row that did not get as far as numbers is one case with an error.
    """
    root = ElementTree.Element("testsuites", name="drnn-parity")
    for name, report in reports.items():
        suite = ElementTree.SubElement(root, "testsuite", name=name)
        for row in report.rows:
            for case in row.cases or (None,):
                _junit_case(suite, row, case)
        for entry in report.missing:
            shown = ElementTree.SubElement(suite, "testcase", classname=entry.runtime, name=entry.graph or "all graphs")
            ElementTree.SubElement(shown, "skipped", message=entry.reason)
        found = [len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")]
        for kind, count in zip(("tests", "failures", "errors", "skipped"), (len(suite), *found), strict=True):
            suite.set(kind, str(count))
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _junit_case(suite: ElementTree.Element, row: ParityRow, case: CaseResult | None) -> None:
    name = row.graph if case is None else f"{row.graph} {case.case}"
    shown = ElementTree.SubElement(suite, "testcase", classname=row.runtime, name=name)
    if case is None:
        if not row.passed:
            ElementTree.SubElement(shown, "error", message=row.error or "no golden case fits this graph")
    elif not case.passed:
        ElementTree.SubElement(shown, "failure", message=describe(case))


def markdown(reports: Mapping[str, ParityReport]) -> str:
    """A table for each bundle, one of its task's metrics, and what did not run."""
    lines: list[str] = []
    for name, report in reports.items():
        lines += [f"### {'PASSED' if report.passed else 'FAILED'}: {name}", ""]
        lines += [
            "| runtime | graph | precision | largest error | in noise | seconds | verdict |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in report.rows:
            worst = row.worst
            error = f"{worst.absolute:.1e}" if worst and worst.absolute is not None else "-"
            noise = f"{worst.in_noise:.2f}" if worst and worst.in_noise is not None else "-"
            seconds = f"{row.seconds:.2f}" if row.seconds is not None else "-"
            verdict = "passed" if row.passed else f"**failed** {row.error}".rstrip()
            cells = (row.runtime, row.graph, row.precision, error, noise, seconds, verdict)
            lines.append(f"| {' | '.join(cells)} |")
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
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    sources = dict.fromkeys(result.source for result in report.tasks)
    return [*lines, "", *(f"Data: {source}" for source in sources), ""]


def describe(case: CaseResult) -> str:
    """One sentence on a case that failed."""
    found = "a missing, misshapen or not finite output" if case.absolute is None else f"error {case.absolute:.1e}"
    return f"{found} on {case.case} inputs from output step {case.first_bad_step}; the limit is {case.limit:.1e}"

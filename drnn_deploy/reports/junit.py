"""Parity reports as JUnit XML, for CI servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from drnn_core.text import printable
from drnn_deploy.parity.results import CaseResult, ParityReport, ParityRow
from drnn_deploy.reports.regressions import Regression
from drnn_deploy.reports.text import describe, describe_file


def junit(reports: Mapping[str, ParityReport], worse: Sequence[Regression] = ()) -> bytes:
    """Write reports as JUnit XML.

    A suite stands for each bundle, a case for each runtime, graph and golden case, and for each file; what did not run
    is skipped, and so is a case that was not compared, unless nothing of its row was. A row that did not get as far as
    numbers is one case with an error.

    Args:
        reports: Name -> report.
        worse: What got worse than the baseline: a failure each, in a suite of their own.

    Returns:
        The XML in UTF-8.
    """
    root = ElementTree.Element("testsuites", name="drnn-parity")
    for name, report in reports.items():
        suite = ElementTree.SubElement(root, "testsuite", name=name)
        for row in report.rows:
            for case in row.cases or (None,):
                _junit_case(suite, row, case)
        for file in report.files:
            shown = ElementTree.SubElement(suite, "testcase", classname="files", name=file.file)
            if not file.passed:
                ElementTree.SubElement(shown, "failure", message=describe_file(file))
        for entry in report.missing:
            shown = ElementTree.SubElement(suite, "testcase", classname=entry.runtime, name=entry.graph or "all graphs")
            ElementTree.SubElement(shown, "skipped", message=entry.reason)
        _count(suite)
    if worse:
        suite = ElementTree.SubElement(root, "testsuite", name="baseline")
        for regression in worse:
            shown = ElementTree.SubElement(suite, "testcase", classname="baseline", name=regression.where)
            ElementTree.SubElement(shown, "failure", message=regression.what)
        _count(suite)
    for element in root.iter():
        element.attrib = {key: printable(value) for key, value in element.attrib.items()}  # XML has no others
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _count(suite: ElementTree.Element) -> None:
    counts = [len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error", "skipped")]
    for kind, count in zip(("tests", "failures", "errors", "skipped"), (len(suite), *counts), strict=True):
        suite.set(kind, str(count))


def _junit_case(suite: ElementTree.Element, row: ParityRow, case: CaseResult | None) -> None:
    name = row.graph if case is None else f"{row.graph} {case.case}"
    shown = ElementTree.SubElement(suite, "testcase", classname=row.runtime, name=name)
    if case is None:
        if not row.passed:
            ElementTree.SubElement(shown, "error", message=row.error or "no golden case fits this graph")
    elif not case.passed:
        kind = "skipped" if case.verdict == "not compared" and row.verdict != "not compared" else "failure"
        ElementTree.SubElement(shown, kind, message=describe(case))

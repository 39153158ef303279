"""What reports say in words, whatever their form: cells of tables, sentences on failures, limits and explanations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from drnn_deploy.debug.explanation import Deviation, Explanation, StageResult
from drnn_deploy.parity.results import CaseResult, FileResult, ParityReport, ParityRow, TaskResult

STAGE_COLUMNS = ("part", "on right inputs", "as it ran", "limit", "first step off", "growth as it ran")
_BARS = "▁▂▃▄▅▆▇█"
_NOT_FINITE = "!"
_MOST_FINDINGS = 5
NO_CASE = "no golden case fits this graph"
REFERENCE_ERROR = "its error is that of the golden data in the file beside float64 of the weights, computed here"
NOT_COMPARED = "no runtime besides the reference ran, so nothing was compared"
_NOTHING_COMPARED = (
    "nothing could be compared: the network amplifies rounding until it drowns the outputs. "
    "Check shorter sequences ({shorter}), or every step of a stream (--form chunk)"
)
_NOTHING_TOLD = (
    "nothing could be compared: no output depends on the inputs by more than rounding, so a wrong graph passes too"
)


def shown_figure(value: float, digits: int = 3) -> str:
    """A figure with so many digits that count, and never with an exponent where it is large.

    Args:
        value: The figure, not negative.
        digits: That count, of a figure below ten to the power of them.
    """
    return f"{value:,.0f}" if value >= 10**digits - 0.5 else f"{value:.{digits}g}"


def row_cells(row: ParityRow) -> dict[str, str]:
    """What a row of a parity table shows, in every form of a report.

    Args:
        row: One runtime on one graph.

    Returns:
        Column -> text.
    """
    worst = row.worst
    absolute = None if worst is None else worst.absolute
    return {
        "runtime": row.runtime,
        "graph": row.graph,
        "precision": row.precision,
        "largest error": "-" if worst is None else "not finite" if absolute is None else f"{absolute:.1e}",
        "in noise": "-" if worst is None or worst.in_noise is None else f"{worst.in_noise:.2f}",
        "verdict": row.verdict,
        "agreement": "-" if not row.cases else f"{min(case.agreement for case in row.cases):.4f}",
        "ms/call": "-" if row.milliseconds is None else shown_figure(row.milliseconds * (row.batch or 1)),
        "ms/sequence": "-" if row.milliseconds is None or not row.is_whole else shown_figure(row.milliseconds),
        "seconds": "-" if row.seconds is None else f"{row.seconds:.2f}",
    }


def describe(case: CaseResult) -> str:
    """One sentence on a case that failed, was not compared, or only in part."""
    if case.verdict != "failed":
        return _uncompared(case)
    where = f"in {case.where} " if case.where else ""
    return f"{case.off}, {where}on {case.case} inputs from output step {case.first_bad_step}"


def describe_file(result: FileResult) -> str:
    """One sentence on a file that holds something else than it must."""
    more = f"; and {len(result.findings) - 1} more" if len(result.findings) > 1 else ""
    return f"{result.file} holds something else than it must: {result.findings[0]}{more}"


def _uncompared(case: CaseResult) -> str:
    since = "" if case.horizon is None else f" from time step {case.horizon} on"
    if case.verdict == "not compared":
        return (
            f"not compared on {case.case} inputs:{since} rounding moves the outputs so much that an error of "
            f"{case.limit:.1e} would pass, and a wrong graph with it"
        )
    if case.first_uncompared_step:
        return (
            f"compared on {case.case} inputs up to output step {case.first_uncompared_step}: then rounding drowns them"
        )
    return f"compared on {case.case} inputs in {case.compared:.0%} of the outputs: rounding drowns the others{since}"


def uncompared(report: ParityReport) -> list[str]:
    """Sentences on the cases that were compared in part or not at all, each once for all runtimes."""
    sentences = {
        f"{row.precision}, {row.steps} steps: {describe(case)}": None
        for row in report.rows
        for case in row.cases
        if case.compared < 1 and case.verdict != "failed"
    }
    return list(sentences)


def failures(row: ParityRow) -> list[str]:
    """Why a row is no pass, a sentence each."""
    if row.error:
        return [row.error]
    if row.verdict == "not compared":
        if all(case.passed for case in row.cases):
            return [_NOTHING_TOLD]
        horizons = [case.horizon for case in row.cases if case.horizon]
        shorter = f"--length {3 * min(horizons) // 4}" if horizons else "--length"
        return [_NOTHING_COMPARED.format(shorter=shorter)]
    return [describe(case) for case in row.cases if case.verdict == "failed"]


def case_lines(report: ParityReport, file: str) -> list[str]:
    """Sentences on the cases of a file of inputs, one for each runtime and graph.

    Args:
        report: Of a bundle.
        file: The file's name, with which the names of its cases begin.
    """
    return [
        f"{case.case}: {row.runtime} {row.graph} {case.verdict}, {_off(case)}"
        for row in report.rows
        for case in row.cases
        if case.case.startswith(file)
    ]


def _off(case: CaseResult) -> str:
    return case.off if case.in_noise is None else f"{case.off}, {case.in_noise:.2f} noises"


def why_failed(report: ParityReport) -> str:
    """The first reason why a report is no pass, and how many more there are; "" for a pass."""
    failed = [row for row in report.rows if not row.passed]
    reasons = [f"{row.runtime} {row.graph}: {next(iter(failures(row)), NO_CASE)}" for row in failed]
    reasons += [describe_file(file) for file in report.files if not file.passed]
    if not report.compared:
        reasons.append(NOT_COMPARED)
    more = f"; and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}" if reasons else ""


def task_table(results: Sequence[TaskResult]) -> tuple[list[str], list[list[str]]]:
    """The table of a task's metrics.

    Args:
        results: The metrics through each runtime and graph.

    Returns:
        The header, and rows of text: first what float64 gives on each source, then each runtime and graph.
    """
    names = list(dict.fromkeys(name for result in results for name in result.metrics))
    header = ["task", "runtime", "graph", *(name.replace("_", " ") for name in names), "sequences", "changed"]
    rows = []
    for task, source in dict.fromkeys((result.task, result.source) for result in results):
        group = [result for result in results if (result.task, result.source) == (task, source)]
        expected = {name: metric.reference for name, metric in group[0].metrics.items()}
        rows.append([task, "float64", "", *(_shown(expected, name) for name in names), f"{group[0].sequences:,}", ""])
        for result in group:
            measured = {name: metric.value for name, metric in result.metrics.items()}
            counts = f"{result.sequences:,}", f"{result.changed_predictions:,}"
            rows.append([task, result.runtime, result.graph, *(_shown(measured, name) for name in names), *counts])
    return header, rows


def _shown(values: Mapping[str, float | None], name: str) -> str:
    if name not in values:
        return ""
    value = values[name]
    return "not finite" if value is None else f"{value:.6f}"


def derivation(report: ParityReport) -> list[str]:
    """Say where the limits come from: the rule, the noise and limit of each precision, and what would have passed."""
    lines = [f"tolerance: {report.tolerance.rule}"]
    if report.tolerance.by_noise:
        lines.append("noise: what the precision's own roundings do to this network on these inputs, against float64")
    compared = sorted(((row, case) for row in report.compared for case in row.cases), key=_group)
    for (precision, steps), group in itertools.groupby(compared, _group):
        cases = {case.case: case for _, case in group}.values()
        low, high = min(cases, key=lambda case: case.noise), max(cases, key=lambda case: case.noise)
        lines.append(f"{' '.join(filter(None, (precision, report.network)))}, {steps} steps: {_limits(low, high)}")
    return [*lines, *_enough(report)]


def smallest_passing(report: ParityReport) -> tuple[ParityRow, CaseResult] | None:
    """The row and case with the largest error in noise, without the reference's; None where there is none."""
    compared = [(row, case) for row in report.compared for case in row.cases]
    return max(compared, key=lambda pair: math.inf if pair[1].in_noise is None else pair[1].in_noise, default=None)


def _group(pair: tuple[ParityRow, CaseResult]) -> tuple[str, int]:
    return pair[0].precision, pair[0].steps or 0


def _limits(low: CaseResult, high: CaseResult) -> str:
    if low is high:
        return f"noise {low.noise:.1e} ({low.case}), limit {low.limit:.1e}"
    return (
        f"noise {low.noise:.1e} ({low.case}) to {high.noise:.1e} ({high.case}), "
        f"limits {low.limit:.1e} to {high.limit:.1e}"
    )


def _enough(report: ParityReport) -> list[str]:
    worst = smallest_passing(report)
    if worst is None:
        return []
    row, case = worst
    where = f"{row.runtime} {row.graph} on {case.case} inputs"
    if case.in_noise is None:
        return [f"smallest tolerance that would have passed: none, {where} gives no numbers, or an error without noise"]
    absolute = max((result.absolute or 0.0 for entry in report.rows for result in entry.cases), default=0.0)
    either = f"--max-noise {case.in_noise:.3g} ({where}), or --atol {absolute:.2g}"
    return [f"smallest tolerance that would have passed: {either}"]


def stage_table(explanation: Explanation, *, ascii_only: bool = False) -> list[tuple[str, ...]]:
    """The table of an explanation: a row for each stage, by `STAGE_COLUMNS`, then one for each state that is wrong.

    Args:
        explanation: Of one failed row of a parity report.
        ascii_only: As for `sparkline`.
    """
    rows = [_row(stage, ascii_only) for stage in explanation.stages]
    for state in explanation.states:
        if not state.alone.passed:
            name = f"{state.name} ({state.stage})"
            rows.append((name, _error(state.alone), "", f"{state.alone.limit:.1e}", _step(state.alone), ""))
    return rows


def explanation_details(explanation: Explanation) -> list[str]:
    """What the verdict and the table of an explanation do not say, a line each."""
    lines = []
    if explanation.first_off is not None and explanation.first_off.whole is not None:
        first = explanation.first_off
        lines.append(f"as it ran, {first.stage} is the first past its limit, from step {_step(first.whole)}")
    if explanation.findings:
        count = len(explanation.findings)
        lines.append(f"differences from the graph that the weights make: {count}")
        lines += [f"  {finding}" for finding in explanation.findings[:_MOST_FINDINGS]]
        if count > _MOST_FINDINGS:
            lines.append(f"  and {count - _MOST_FINDINGS} more (all are in the JSON report)")
    if explanation.seen_on:
        lines.append(f"these are values of {explanation.seen_on}: {explanation.runtime} shows none of its own")
    if explanation.note:
        lines.append(explanation.note)
    return lines


def sparkline(deviation: Deviation | None, *, ascii_only: bool = False) -> str:
    """Draw an error over time in up to 16 characters.

    The lowest character is within the limit, each higher one a decade further past it, `!` is not finite.

    Args:
        deviation: The error of a tensor.
        ascii_only: Whether to write digits from 0 in place of bars.

    Returns:
        The characters; "" for no deviation.
    """
    if deviation is None:
        return ""
    bars = "01234567" if ascii_only else _BARS
    return "".join(_NOT_FINITE if value is None else bars[_level(value, deviation.limit)] for value in deviation.growth)


def _level(value: float, limit: float) -> int:
    if value <= limit:
        return 0
    return min(len(_BARS) - 1, 1 + int(math.log10(value / limit))) if limit > 0 else len(_BARS) - 1


def _row(stage: StageResult, ascii_only: bool) -> tuple[str, ...]:
    seen = next((deviation for deviation in (stage.alone, stage.whole) if deviation is not None), None)
    limit = "" if seen is None else f"{seen.limit:.1e}"
    growth = sparkline(stage.whole, ascii_only=ascii_only)
    return stage.stage, _error(stage.alone), _error(stage.whole), limit, _step(stage.whole), growth


def _error(deviation: Deviation | None) -> str:
    if deviation is None:
        return "not seen"
    text = "not finite" if deviation.absolute is None else f"{deviation.absolute:.1e}"
    return text if deviation.passed else f"{text} OFF"


def _step(deviation: Deviation | None) -> str:
    return "" if deviation is None or deviation.first_bad_step is None else str(deviation.first_bad_step)

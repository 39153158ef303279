"""Where a report's limits come from, and the smallest that would have passed, in sentences."""

from __future__ import annotations

import itertools
import math

from drnn_deploy.parity.results import CaseResult, ParityReport, ParityRow


def derivation(report: ParityReport) -> list[str]:
    """Sentences: the rule, the noise and limit per precision and length, and what would have been enough."""
    lines = [f"tolerance: {report.tolerance.rule}"]
    if report.tolerance.by_noise:
        lines.append("noise: what the precision's own roundings do to this network on these inputs, against float64")
    compared = [(row, case) for row in report.compared for case in row.cases]
    compared.sort(key=_group)
    for (precision, steps), group in itertools.groupby(compared, _group):
        cases = {case.case: case for _, case in group}.values()
        low, high = min(cases, key=lambda case: case.noise), max(cases, key=lambda case: case.noise)
        lines.append(f"{' '.join(filter(None, (precision, report.network)))}, {steps} steps: {_limits(low, high)}")
    return [*lines, *_enough(report)]


def smallest_passing(report: ParityReport) -> tuple[ParityRow, CaseResult] | None:
    """The row and case with the largest error in noise of all runtimes but the reference; None where there is none."""
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
    absolute = max((each.absolute or 0.0 for entry in report.rows for each in entry.cases), default=0.0)
    either = f"--max-noise {case.in_noise:.3g} ({where}), or --atol {absolute:.2g}"
    return [f"smallest tolerance that would have passed: {either}"]

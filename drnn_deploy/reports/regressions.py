"""A parity report against an earlier one: what got worse by more than noise, even where all of it still passes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drnn_core.errors import InputError
from drnn_core.plain_data import read_json
from drnn_deploy.parity.report_format import as_check, format_error

# The same versions on the same machine give the same bits. Another version or processor sums in another order, which
# moves an error by parts of a noise: only more than a whole noise, and more than twofold, is a change of substance.
_MORE_NOISE, _TIMES_NOISE = 1.0, 2.0
_LEAST_SHARE = 0.5  # of what was compared of a case, which rounding of another processor moves a little
_TIMES_GAP, _LEAST_GAP = 2.0, 1e-4  # of a task's metric from its float64 reference
_MOST_BYTES = 64 << 20  # of a report: one of all tasks has less than one
_FIX = "Write one: drnn-parity BUNDLE --json FILE"
Entry = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Regression:
    """One thing that got worse.

    Attributes:
        where: Where it is: a runtime and graph, and a case or task.
        what: A sentence with both figures.
    """

    where: str
    what: str


def read_baseline(path: Path) -> dict[str, Any]:
    """Read an earlier report: of `drnn-parity --json`, or a bundle's own `parity.json`.

    Args:
        path: The file.

    Returns:
        A report as `drnn-parity --json` writes it.

    Raises:
        InputError: The file is anything else.
    """
    try:
        report = read_json(path, _MOST_BYTES)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the baseline {path}: {error}", _FIX) from error
    if isinstance(report, dict) and "rows" in report:
        report = as_check(path.parent, report)
    if wrong := format_error(report):
        raise InputError(f"{path} is no report of drnn-parity: {wrong}", _FIX)
    if "error" in report:
        raise InputError(f"{path} is of a check that did not get as far as numbers: {report['error']['message']}", _FIX)
    checked: dict[str, Any] = report
    return checked


def regressions(before: Entry, now: Entry, slowdown: float | None = None) -> list[Regression]:
    """Find what is worse in a report than in an earlier one, both as `drnn-parity --json` writes them.

    Reports belong together by place, rows by runtime and graph, cases by name.

    Args:
        before: The earlier report.
        now: The report.
        slowdown: How many times longer a row may take; None: times do not count.

    Returns:
        What got worse by more than noise.
    """
    worse: list[Regression] = []
    if len(before["reports"]) != len(now["reports"]):
        counts = f"{len(before['reports'])} bundles or checkpoints were checked, now {len(now['reports'])}"
        worse.append(Regression("the check", counts))
    for old, new in zip(before["reports"], now["reports"], strict=False):
        worse += _of_report(old, new, slowdown)
    return worse


def _of_report(before: Entry, now: Entry, slowdown: float | None) -> Iterator[Regression]:
    rows = {_name(row): row for row in now["rows"]}
    for old in before["rows"]:
        name = _name(old)
        if name not in rows:
            yield Regression(name, "was checked, and is not any more")
        else:
            yield from _of_row(name, old, rows[name], slowdown)
    files = {entry["file"] for entry in now["files"]}
    for gone in (entry["file"] for entry in before["files"] if entry["file"] not in files):
        yield Regression(gone, "the file was checked, and is not any more")
    tasks = {_task(result): result for result in now["tasks"]}
    for old in before["tasks"]:
        if _task(old) not in tasks:
            yield Regression(_task(old), "the task was measured, and is not any more")
        else:
            yield from _of_task(_task(old), old, tasks[_task(old)])


def _of_row(name: str, before: Entry, now: Entry, slowdown: float | None) -> Iterator[Regression]:
    if before["passed"] and not now["passed"]:
        yield Regression(name, f"passed, and fails now {now['error']}".rstrip())
    cases = {case["case"]: case for case in now["cases"]}
    for old in before["cases"]:
        where = f"{name} on {old['case']} inputs"
        if old["case"] not in cases:
            if not now["error"]:
                yield Regression(where, "was checked, and is not any more")
            continue
        new = cases[old["case"]]
        if new["compared"] < _LEAST_SHARE * old["compared"]:
            yield Regression(
                where, f"{new['compared']:.1%} of the outputs are compared, {old['compared']:.1%} were before"
            )
        noises_before, noises = _noises(old), _noises(new)
        if noises > max(_TIMES_NOISE * noises_before, noises_before + _MORE_NOISE):
            yield Regression(where, f"error grew from {noises_before:.3g} to {noises:.3g} noises")
        if new["agreement"] < old["agreement"]:
            fell = f"from {old['agreement']:.4f} to {new['agreement']:.4f}"
            yield Regression(where, f"the share of the reference's predictions fell {fell}")
    times = before["milliseconds"], now["milliseconds"]
    if slowdown is not None and all(times) and times[1] > slowdown * times[0]:
        yield Regression(name, f"takes {times[1]:.3g} ms, {times[1] / times[0]:.2g} times the {times[0]:.3g} ms before")


def _of_task(name: str, before: Entry, now: Entry) -> Iterator[Regression]:
    # Of n changed predictions, another order of summation makes n + sqrt(n) at most every few times.
    if now["changed_predictions"] > before["changed_predictions"] + 2 * math.sqrt(before["changed_predictions"]):
        yield Regression(
            name, f"{now['changed_predictions']} predictions changed, {before['changed_predictions']} before"
        )
    for metric, old in before["metrics"].items():
        if (new := now["metrics"].get(metric)) is None:
            yield Regression(name, f"{metric} was measured, and is not any more")
        elif _gap(new) > max(_TIMES_GAP * _gap(old), _LEAST_GAP * max(1.0, abs(new["reference"]))):
            yield Regression(name, f"{metric} is {_gap(new):.3g} from float64's, {_gap(old):.3g} before")


def _gap(metric: Entry) -> float:
    return math.inf if metric["value"] is None else abs(metric["value"] - metric["reference"])


def _noises(case: Entry) -> float:
    return math.inf if case["in_noise"] is None else float(case["in_noise"])


def _name(row: Entry) -> str:
    return f"{row['runtime']} {row['graph']}"


def _task(result: Entry) -> str:
    return f"{result['runtime']} {result['graph']} on {result['task']} ({result['source']}, {result['sequences']})"

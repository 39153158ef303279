"""Whether results bear out a claim: decided by a rule, from the result files alone.

A claim is confirmed or not where every run that it names has its whole budget; otherwise it is not tested. Of a run
that was trained with several seeds the median counts.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from drnn_deploy.training.claims import Claim

LOWER_IS_BETTER = ("cross_entropy", "bits_per_character")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What became of a claim.

    Attributes:
        verdict: "confirmed", "not confirmed" or "not tested".
        reason: The numbers, or what is missing; of one that is not confirmed also why, where the claim says so.
    """

    verdict: str
    reason: str


def judge(
    claim: Claim, metric: str, results: Mapping[str, Sequence[float]], shortfalls: Mapping[str, str], number: str
) -> Finding:
    """Decide a claim.

    Args:
        claim: The claim.
        metric: The name of the metric that it is about.
        results: The name of each run that has a result -> its metric, of every seed.
        shortfalls: The name of each run whose result has not its whole budget -> what it lacks.
        number: How the metric is written, for `str.format`.
    """
    named = dict.fromkeys([*claim.runs, *([claim.than] if claim.than else [])])
    missing = [f"{shown(name)} is not trained" for name in named if name not in results]
    short = [f"{shown(name)} has {shortfalls[name]}" for name in named if name in shortfalls]
    if missing or short:
        return Finding("not tested", "; ".join([*missing, *short]))
    values = {name: statistics.median(results[name]) for name in named}
    better = -1 if metric in LOWER_IS_BETTER else 1
    if claim.at_least is not None:
        bar, sign = claim.at_least, 1
    elif claim.at_most is not None:
        bar, sign = claim.at_most, -1
    else:
        bar, sign = values[claim.than] + better * claim.by, better
    equals = not (claim.than and claim.by == 0)  # "better" without a margin is not "as good"
    holds = all(_reaches(sign * values[run], sign * bar, equals=equals) for run in claim.runs)
    seeds = {name: f" (median of {len(results[name])} seeds)" if len(results[name]) > 1 else "" for name in named}
    said = ", ".join(f"{shown(run)} {written(number, values[run])}{seeds[run]}" for run in named)
    unreachable = ", which no network can reach" if metric not in LOWER_IS_BETTER and bar > 1 else ""
    limit = f"the bar is {written(number, bar)}{unreachable}" if equals else ""
    reason = "; ".join(part for part in (said, limit) if part)
    if holds:
        return Finding("confirmed", reason)
    return Finding("not confirmed", f"{reason}. {claim.why_not.removesuffix('.')}" if claim.why_not else reason)


def _reaches(value: float, bar: float, *, equals: bool) -> bool:
    """Whether a value is above a bar, or at it where that is enough; 0.3 is at 0.1 + 0.2."""
    return equals if math.isclose(value, bar, rel_tol=1e-9) else value > bar


def shown(run: str) -> str:
    """A run's name as the page shows it.

    Args:
        run: The name.
    """
    return run.replace("-", " ")


def written(number: str, value: float) -> str:
    """A metric as the page shows it.

    Args:
        number: For `str.format`.
        value: The metric.
    """
    return number.format(value).replace("%", " %")

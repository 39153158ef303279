"""What a list of times says: its centre and spread, and how a cost grows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

_PERCENTILES = {
    "fastest": 0,
    "quartile1": 25,
    "median": 50,
    "quartile3": 75,
    "p90": 90,
    "p99": 99,
    "p9999": 99.99,
    "slowest": 100,
}


@dataclasses.dataclass(frozen=True)
class Timing:
    """The times of one call, in microseconds.

    Attributes:
        fastest: The least.
        quartile1: A quarter is below.
        median: Half is below.
        quartile3: A quarter is above.
        p90: A tenth is above.
        p99: A hundredth is above.
        p9999: One in ten thousand is above.
        slowest: The most.
        low: The least of the medians of the rounds.
        high: The most of them: where these two are far apart, the machine was not quiet.
        calls: How many there were.
        rounds: In how many rounds.
    """

    fastest: float
    quartile1: float
    median: float
    quartile3: float
    p90: float
    p99: float
    p9999: float
    slowest: float
    low: float
    high: float
    calls: int
    rounds: int


def summarise(rounds: Sequence[Sequence[float]]) -> Timing:
    """Summarise times.

    Args:
        rounds: The times of each round's calls, in microseconds; no round is empty.
    """
    times = np.concatenate([np.asarray(part, np.float64) for part in rounds])
    percentiles = np.percentile(times, list(_PERCENTILES.values()))
    figures = {name: float(value) for name, value in zip(_PERCENTILES, percentiles, strict=True)}
    medians = [float(np.median(part)) for part in rounds]
    return Timing(**figures, low=min(medians), high=max(medians), calls=len(times), rounds=len(rounds))


@dataclasses.dataclass(frozen=True)
class Growth:
    """How a cost grows: in proportion to size ** exponent.

    Attributes:
        exponent: 1 is linear growth.
        error: The standard error of the exponent.
        last: The exponent between the two largest sizes alone, where fixed costs count least.
    """

    exponent: float
    error: float
    last: float


def fit_growth(sizes: Sequence[float], costs: Sequence[float]) -> Growth:
    """Fit a straight line to the logarithms of sizes and costs.

    Args:
        sizes: At least three different ones, ascending, above 0.
        costs: The cost at each, above 0.
    """
    x, y = np.log(sizes), np.log(costs)
    exponent, start = np.polyfit(x, y, 1)
    rest = y - exponent * x - start
    error = np.sqrt(rest @ rest / (len(x) - 2) / np.sum((x - x.mean()) ** 2))
    return Growth(float(exponent), float(error), float((y[-1] - y[-2]) / (x[-1] - x[-2])))

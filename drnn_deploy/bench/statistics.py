"""What a list of times says: its centre and spread, and how a cost grows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
_FEWEST = {"p90": 10, "p99": 100, "p9999": 10_000}  # calls, of which one is above


@dataclasses.dataclass(frozen=True)
class Timing:
    """The times of one call, in microseconds. Every round counts alike, however many calls it had.

    Attributes:
        fastest: The least.
        quartile1: A quarter is below.
        median: Half is below.
        quartile3: A quarter is above.
        p90: A tenth is above; None of fewer than ten calls.
        p99: A hundredth is above; None of fewer than a hundred.
        p9999: One in ten thousand is above; None of fewer than that.
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
    p90: float | None
    p99: float | None
    p9999: float | None
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
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in rounds])
    shares = [share / 100 for share in _PERCENTILES.values()]
    figures: dict[str, Any] = dict(zip(_PERCENTILES, _quantiles(times, weights, shares), strict=True))
    figures |= {name: None for name, fewest in _FEWEST.items() if len(times) < fewest}
    medians = [float(np.median(part)) for part in rounds]
    return Timing(**figures, low=min(medians), high=max(medians), calls=len(times), rounds=len(rounds))


def _quantiles(values: NDArray[np.float64], weights: NDArray[np.float64], shares: Sequence[float]) -> list[float]:
    """Quantiles of values that do not count alike; where they do, those of `numpy.quantile`."""
    order = np.argsort(values, kind="stable")
    values, ends = values[order], np.cumsum(weights[order])
    middles = ends - weights[order] / 2
    places = middles[0] + np.asarray(shares) * (middles[-1] - middles[0])
    return [float(value) for value in np.interp(places, middles, values)]


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

"""Statistics by their properties."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_deploy.bench.statistics import fit_growth, summarise

TIMES = st.floats(1e-3, 1e7)
ROUNDS = st.lists(st.lists(TIMES, min_size=1, max_size=30), min_size=1, max_size=8)


@given(ROUNDS)
def test_percentiles_ascend_and_stay_within_the_times(rounds: list[list[float]]) -> None:
    found, times = summarise(rounds), [*itertools.chain(*rounds)]
    below = [found.fastest, found.quartile1, found.median]
    tail = [value for value in (found.p90, found.p99, found.p9999) if value is not None]
    ascending = [*below, found.quartile3, *tail, found.slowest]
    assert ascending == sorted(ascending)
    assert (found.fastest, found.slowest) == (min(times), max(times))
    assert found.fastest <= found.low <= found.high <= found.slowest
    assert (found.calls, found.rounds) == (len(times), len(rounds))


@given(ROUNDS, st.randoms())
def test_the_order_of_calls_does_not_matter(rounds: list[list[float]], random: object) -> None:
    shuffled = [sorted(part, key=lambda _: random.random()) for part in rounds]  # type: ignore[attr-defined]
    assert summarise(shuffled) == summarise(rounds)


@given(ROUNDS, st.integers(-8, 8))
def test_another_unit_scales_every_figure(rounds: list[list[float]], power: int) -> None:
    factor = 2.0**power  # exact
    scaled = dataclasses.asdict(summarise([[time * factor for time in part] for part in rounds]))
    for name, value in dataclasses.asdict(summarise(rounds)).items():
        if value is None:
            assert scaled[name] is None
        else:
            assert scaled[name] == pytest.approx(value * (1 if name in ("calls", "rounds") else factor))


@given(st.lists(TIMES, min_size=1, max_size=200))
def test_of_calls_that_count_alike_it_is_numpys(times: list[float]) -> None:
    found = summarise([times])
    assert [found.quartile1, found.median, found.quartile3] == pytest.approx(np.percentile(times, [25, 50, 75]))


def test_slow_rounds_count_as_much_as_fast_ones() -> None:
    """Of 20 bursts of equal time 11 are on a machine that is three times slower: that is its usual speed."""
    short = [[100.0] * 1500] * 9 + [[300.0] * 500] * 11
    long = [[150_000.0]] * 9 + [[450_000.0]] * 11
    assert (summarise(short).median, summarise(long).median) == (300.0, 450_000.0)


@pytest.mark.parametrize("calls, known", [(9, 0), (10, 1), (99, 1), (100, 2), (9_999, 2), (10_000, 3)])
def test_percentiles_are_of_enough_calls(calls: int, known: int) -> None:
    found = summarise([[1.0] * (calls - 1), [1.0]])
    assert [value is not None for value in (found.p90, found.p99, found.p9999)] == [n < known for n in range(3)]


@given(st.lists(TIMES, min_size=1, max_size=30), st.floats(1.5, 1e3))
def test_one_slow_round_shows(times: list[float], factor: float) -> None:
    found = summarise([times, times, [time * factor for time in times]])
    assert found.high / found.low == pytest.approx(factor)


@given(
    st.lists(st.integers(1, 10**6), min_size=3, max_size=12, unique=True).map(sorted),
    st.floats(-1, 3),
    st.floats(1e-3, 1e3),
)
def test_growth_of_a_power_is_that_power(sizes: list[int], exponent: float, start: float) -> None:
    found = fit_growth(sizes, [start * size**exponent for size in sizes])
    assert found.exponent == pytest.approx(exponent, abs=1e-6)
    assert found.last == pytest.approx(exponent, abs=1e-6)
    assert found.error < 1e-5


def test_growth_with_a_fixed_cost_is_below_linear_and_its_last_part_nearer() -> None:
    found = fit_growth([1, 10, 100, 1000], [5 + size for size in (1, 10, 100, 1000)])
    assert found.exponent < found.last < 1
    assert found.error > 0.05
    assert not math.isnan(found.exponent)

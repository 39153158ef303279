from __future__ import annotations

import dataclasses
import math
import tracemalloc
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_models.baseline_specs import ConvSpec, NetworkSpec, SkipSpec
from drnn_models.path_lengths import analyse, doubling_stacks, mean_recurrent_length, path_lengths, suggest
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import conv_specs, skip_specs, specs


def stack(*dilations: int, head: str = "last") -> ModelSpec:
    return ModelSpec("rnn", (4,) * len(dilations), dilations, Continuous(1), Head(head, 2))  # type: ignore[arg-type]


def searched(spec: NetworkSpec, longest: int) -> list[float]:
    """Shortest paths by breadth-first search over (layer, lag), edge by edge."""
    stack = spec.stack if isinstance(spec, SkipSpec) else spec
    layers, window = len(stack.dilations), stack.window if isinstance(stack, ModelSpec) else 1
    ends = [math.inf] * (longest + 1)
    edges = {(0, 0): 0}  # before the first layer, no lag yet
    todo = deque(edges)
    while todo:
        layer, lag = node = todo.popleft()
        if layer == layers:
            for end in (lag + offset for offset in range(window) if lag + offset <= longest):
                ends[end] = min(ends[end], edges[node] + (window > 1))
        leaving = [(layer + 1, lag)] if layer < layers else []
        if isinstance(spec, ConvSpec):
            leaving += [(layer + 1, lag + dilation) for dilation in spec.dilations[layer : layer + 1]]
        elif layer:  # recurrent edges, of the layer that the path has entered
            leaving += [(layer, lag + stack.dilations[layer - 1])] + [(layer, lag + 1)] * isinstance(spec, SkipSpec)
        for following in leaving:
            if following[1] <= longest and following not in edges:
                edges[following] = edges[node] + 1
                todo.append(following)
    return ends


@given(specs() | skip_specs() | conv_specs(), st.integers(0, 40))
def test_path_lengths_are_those_of_a_search_through_the_graph(spec: NetworkSpec, longest: int) -> None:
    assert path_lengths(spec, longest).tolist() == searched(spec, longest)


@pytest.mark.parametrize("layers", [2, 3, 5, 9])
def test_mean_recurrent_length_has_the_closed_form(layers: int) -> None:
    """(M + 1) / 2 * log_M m + 1 / m + 1 for M = 2 and m = 2 ** (layers - 1); 13.004 for nine layers."""
    period = 2 ** (layers - 1)
    expected = 1.5 * (layers - 1) + 1 / period + 1
    assert mean_recurrent_length(stack(*(2**i for i in range(layers)))) == pytest.approx(expected)


@pytest.mark.parametrize("layers", [3, 5, 9])
def test_skip_rnn_has_a_longer_one(layers: int) -> None:
    """(m - 1) / 2 + log_M m + 1 / m + 1 with skips of length m; 136.504 for m = 256."""
    period = 2 ** (layers - 1)
    skip = SkipSpec(dataclasses.replace(stack(*[period] * layers), fusion=False))
    expected = (period - 1) / 2 + (layers - 1) + 1 / period + 1
    assert mean_recurrent_length(skip) == pytest.approx(expected)
    assert mean_recurrent_length(stack(*(2**i for i in range(layers)))) < expected


def test_receptive_field_and_work_of_a_cnn() -> None:
    spec = ConvSpec((3, 4), (1, 2), Continuous(2), Head("last", 5))
    report = analyse(spec, 10)
    assert report.reachable == 4 / 10
    assert (report.longest_path, report.sequential_cells) == (2, 2)
    assert report.multiply_adds == 10 * 2 * (2 * 3 + 3 * 4) + 4 * 5
    assert report.parameters == 2 * 2 * 3 + 3 + 2 * 3 * 4 + 4 + 4 * 5 + 5


def test_work_of_a_skip_rnn_is_not_pruned() -> None:
    spec = SkipSpec(stack(1, 2, 4))
    report = analyse(spec, 10)
    assert report.evaluations == report.evaluations_unpruned == report.sequential_cells == 30
    assert report.multiply_adds == 10 * (4 * (1 + 8) + 2 * 4 * (4 + 8)) + 2 * 4


def test_without_dilation_the_path_is_as_long_as_the_lag() -> None:
    np.testing.assert_array_equal(path_lengths(stack(1, 1, 1), 100), 3 + np.arange(101))


def test_steps_out_of_reach_are_counted() -> None:
    spec = ModelSpec("rnn", (4,), (2,), Continuous(1), Head("last", 2), fusion=False)
    report = analyse(spec, 10)
    assert (report.reachable, report.mean_recurrent_length) == (0.5, math.inf)


@pytest.mark.parametrize(("length", "layers"), [(784, 9), (1020, 9)])
def test_suggestion_is_the_papers_own_choice(length: int, layers: int) -> None:
    stacks = doubling_stacks(length)
    chosen = stacks[suggest([analyse(stack(*dilations), length) for dilations in stacks])]
    assert chosen == tuple(2**i for i in range(layers))


def test_costs_of_the_paper_network_by_hand() -> None:
    """GRU 9 x 20 on 784 steps: layer l evaluates ceil(784 / 2**l) cells of 3 * 20 * (inputs + 20) products."""
    spec = ModelSpec("gru", (20,) * 9, tuple(2**i for i in range(9)), Continuous(1), Head("last", 10))
    report = analyse(spec, 784)
    cells = [math.ceil(784 / 2**layer) for layer in range(9)]
    assert report.evaluations == report.sequential_cells == sum(cells)
    assert report.evaluations_unpruned == 9 * 784
    assert report.multiply_adds == cells[0] * 60 * 21 + sum(cells[1:]) * 60 * 40 + 200
    assert report.parameters == 21_210 + 9 * 60  # the paper counts one bias per gate set, torch has two


@pytest.mark.parametrize("length", [0, (1 << 20) + 1])
def test_lengths_out_of_range_are_refused(length: int) -> None:
    for refused in (lambda: analyse(stack(1, 2), length), lambda: doubling_stacks(length)):
        with pytest.raises(InputError, match="from 1 to 1,048,576"):
            refused()
    with pytest.raises(InputError, match="the first dilation must be at least 1, got 0"):
        doubling_stacks(8, first=0)


def test_a_mean_over_no_lag_is_refused() -> None:
    for period in (0, -1):
        with pytest.raises(InputError, match="at least 1, got"):
            mean_recurrent_length(stack(1, 2), period)


def test_a_window_as_long_as_a_sequence_takes_no_table_of_both() -> None:
    """A first dilation of 2,000 over 200,000 steps: their product has 3.2 GB."""
    spec = ModelSpec("gru", (4,), (2000,), Continuous(1), Head("last", 2))
    tracemalloc.start()
    try:
        report = analyse(spec, 200_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50e6
    assert (report.reachable, report.longest_path) == (1.0, 101)


def test_a_dilation_beyond_a_million_has_a_mean_recurrent_length() -> None:
    assert (
        mean_recurrent_length(ModelSpec("gru", (1,), (1 << 21,), Continuous(1), Head("last", 1), fusion=False))
        == math.inf
    )


def test_there_is_something_to_choose_from() -> None:
    with pytest.raises(InputError, match="no stack to choose from"):
        suggest([])

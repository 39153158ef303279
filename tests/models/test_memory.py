from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_models.errors import InputError
from drnn_models.memory import analyse, doubling_stacks, mean_recurrent_length, path_lengths, suggest
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import specs


def stack(*dilations: int, head: str = "last") -> ModelSpec:
    return ModelSpec("rnn", (4,) * len(dilations), dilations, Continuous(1), Head(head, 2))  # type: ignore[arg-type]


def searched(spec: ModelSpec, longest: int) -> list[float]:
    """Shortest paths by breadth-first search over (layer, lag), edge by edge."""
    start = (0, 0)  # in the first layer, no lag yet; entering it was the first edge
    edges = {start: 1}
    todo = deque([start])
    ends = [math.inf] * (longest + 1)
    while todo:
        layer, lag = node = todo.popleft()
        if layer == spec.layers - 1:
            offsets = range(spec.window)
            for end in (lag + offset for offset in offsets if lag + offset <= longest):
                ends[end] = min(ends[end], edges[node] + (spec.window > 1))
        for following in ((layer + 1, lag), (layer, lag + spec.dilations[layer])):
            if following[0] < spec.layers and following[1] <= longest and following not in edges:
                edges[following] = edges[node] + 1
                todo.append(following)
    return ends


@given(specs(), st.integers(0, 40))
def test_path_lengths_are_those_of_a_search_through_the_graph(spec: ModelSpec, longest: int) -> None:
    assert path_lengths(spec, longest).tolist() == searched(spec, longest)


@pytest.mark.parametrize("layers", [2, 3, 5, 9])
def test_mean_recurrent_length_has_the_closed_form(layers: int) -> None:
    """(M + 1) / 2 * log_M m + 1 / m + 1 for M = 2 and m = 2 ** (layers - 1); 13.004 for nine layers."""
    period = 2 ** (layers - 1)
    expected = 1.5 * (layers - 1) + 1 / period + 1
    assert mean_recurrent_length(stack(*(2**i for i in range(layers)))) == pytest.approx(expected)


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


@pytest.mark.parametrize("length", [0, 1 << 21])
def test_lengths_out_of_range_are_refused(length: int) -> None:
    with pytest.raises(InputError):
        analyse(stack(1, 2), length)

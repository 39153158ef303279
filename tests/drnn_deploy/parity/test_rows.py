"""Every sequence is run, every row of every run has one, and no two rows always have the same."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drnn_deploy.parity.rows import assignments, batch_sizes, first_places
from tests.drnn_deploy.parity.test_inference import graph_of


@given(st.integers(1, 9), st.integers(1, 70), st.booleans())
def test_every_sequence_is_run_in_full_batches(count: int, size: int, apart: bool) -> None:
    runs = assignments(count, size, apart=apart)
    assert {len(rows) for rows in runs} == {size}
    assert set(np.concatenate(runs)) == set(range(count))
    np.testing.assert_array_equal(np.concatenate(runs)[first_places(runs, count)], np.arange(count))


@given(st.integers(2, 9), st.integers(2, 70))
def test_no_two_rows_get_the_same_sequence_in_every_run(count: int, size: int) -> None:
    runs = assignments(count, size, apart=True)
    for one, other in itertools.combinations(range(size), 2):
        assert any(rows[one] != rows[other] for rows in runs)
    assert len(runs) <= max(1, -(-count // size), int(np.ceil(np.log(size) / np.log(count) - 1e-9)))


@given(st.integers(1, 9))
def test_free_batch_without_a_profile_is_run_with_one_and_with_all_others(count: int) -> None:
    runs = assignments(count, None)
    np.testing.assert_array_equal(np.concatenate(runs), np.arange(count))
    assert [len(rows) for rows in runs] == ([1] if count == 1 else [1, count - 1])


def test_sizes_are_the_ends_of_the_profile_its_middle_and_some_between() -> None:
    assert batch_sizes(graph_of(7), between=True) == [7]
    assert batch_sizes(graph_of(None), between=True) == [None]
    graph = dataclasses.replace(graph_of(None), profile=(1, 8, 64))
    assert batch_sizes(graph, between=False) == [1, 8, 64]
    assert batch_sizes(graph, between=True) == [1, 4, 8, 36, 64]
    assert batch_sizes(dataclasses.replace(graph, profile=(3, 3, 3)), between=True) == [3]

"""Sequences through a graph in its batches: every one once, in order."""

from __future__ import annotations

import dataclasses
import itertools
import types
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_deploy.parity import inference
from drnn_deploy.parity.inference import median_milliseconds, run_case
from drnn_runtimes.bundle import GraphInfo

Array = NDArray[np.generic]


def graph_of(batch: int | None) -> GraphInfo:
    return GraphInfo("model.onnx", "sequence", "fused", True, 2, batch, "fp32", 13, 1, (), ())


class Echo:
    """Returns each row's sum and its first value, and remembers the batches that it got."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        batch = inputs["input"]
        assert batch.flags.c_contiguous
        self.batches.append(len(batch))
        return {"sum": batch.sum(axis=(1, 2)), "first": batch[:, 0, 0]}


@given(st.integers(1, 9), st.integers(1, 12))
def test_every_row_comes_back_once_and_in_order(count: int, batch: int) -> None:
    session, inputs = Echo(), np.arange(count * 2.0).reshape(count, 2, 1)
    outputs = run_case(session, graph_of(batch), inputs)
    np.testing.assert_array_equal(outputs["first"], inputs[:, 0, 0])
    np.testing.assert_array_equal(outputs["sum"], inputs.sum(axis=(1, 2)))
    assert session.batches == [batch] * -(-count // batch)


@given(st.integers(1, 9))
def test_dynamic_batch_runs_as_one_and_as_all_others(count: int) -> None:
    session, inputs = Echo(), np.arange(count * 2.0).reshape(count, 2, 1)
    np.testing.assert_array_equal(run_case(session, graph_of(None), inputs)["first"], inputs[:, 0, 0])
    assert session.batches == ([1] if count == 1 else [1, count - 1])


def test_time_is_the_median_of_the_runs_in_milliseconds_per_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of four sequences take 1, 1, 8, 2, 40 s, and the time ends with the fifth; then as many as are allowed."""
    now, lengths = [100.0], itertools.chain([1.0, 1.0, 8.0, 2.0, 40.0], itertools.repeat(3.0))

    class Slow(Echo):
        def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
            now[0] += next(lengths)
            return super().run(inputs)

    monkeypatch.setattr(inference, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(inference, "_TIMING_SECONDS", 50.0)
    session, inputs = Slow(), np.zeros((6, 2, 1))
    assert median_milliseconds(session, graph_of(4), inputs) == 500.0
    assert session.batches == [4] * 5
    monkeypatch.setattr(inference, "_TIMING_SECONDS", 1e9)
    assert median_milliseconds(session, graph_of(4), inputs) == 750.0
    assert len(session.batches) == 5 + 30


def test_a_graph_of_any_batch_runs_in_the_size_that_its_profile_is_best_for() -> None:
    """An engine takes no more than the largest, and no fewer than the least."""
    graph, inputs = dataclasses.replace(graph_of(None), profile=(2, 4, 8)), np.arange(20.0).reshape(10, 2, 1)
    session, timed = Echo(), Echo()
    np.testing.assert_array_equal(run_case(session, graph, inputs)["first"], inputs[:, 0, 0])
    assert session.batches == [4, 4, 4]
    median_milliseconds(timed, graph, inputs)
    assert set(timed.batches) == {2}

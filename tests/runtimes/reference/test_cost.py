"""The estimate of known answers grows with what they do, and is near the time that they take."""

from __future__ import annotations

import dataclasses
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_deploy.parity.cases import sequence_cases, sequence_rows
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.reference.cost import answer_needs, answer_seconds
from drnn_runtimes.reference.noise import answers
from tests.networks import random_weights, specs


@pytest.mark.parametrize(("cell", "hidden"), [("rnn", 4), ("gru", 40), ("lstm", 300)])
def test_estimate_is_near_the_time(cell: str, hidden: int) -> None:
    spec = ModelSpec(cell, (hidden,) * 2, (1, 2), Continuous(1), Head("last", 4))  # type: ignore[arg-type]
    weights, steps = random_weights(spec, 0), 30
    inputs = [case.inputs for case in sequence_cases(spec, steps)]
    started = time.process_time()
    answers(spec, weights, inputs)
    share = (time.process_time() - started) / answer_seconds(spec, sum(map(len, inputs)), steps)
    assert 1 / 8 < share < 8


@pytest.mark.parametrize(("hidden", "features"), [(1, 1), (2, 60)])
def test_estimate_is_near_the_time_of_many_short_sequences(hidden: int, features: int) -> None:
    """A few megabytes hold so many that the random roundings of each cost more than its steps."""
    spec = ModelSpec("rnn", (hidden,), (1,), Continuous(features), Head("last", 1))
    weights = random_weights(spec, 0)
    inputs = np.random.default_rng(0).standard_normal((20_000 // features, 5, features)).astype(np.float32)
    started = time.process_time()
    answers(spec, weights, [inputs])
    share = (time.process_time() - started) / answer_seconds(spec, len(inputs), 5)
    assert 1 / 6 < share < 6


@pytest.mark.parametrize(("spec", "sequences", "steps"), [
    (ModelSpec("gru", (2,), (1,), Continuous(100), Head("last", 1)), 600, 20),
    (ModelSpec("lstm", (10,), (256,), Continuous(1), Head("last", 2), fusion=False), 100, 5),
    (ModelSpec("rnn", (4,), (1,), Continuous(1), Head("last", 10)), 600, 100),
])  # fmt: skip
def test_memory_is_near_what_is_taken(spec: ModelSpec, sequences: int, steps: int) -> None:
    inputs = np.random.default_rng(0).standard_normal((sequences, steps, spec.input.width)).astype(np.float32)
    weights = random_weights(spec, 0)
    tracemalloc.start()
    answers(spec, weights, [inputs])
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 1 / 2 < taken / sum(need.bytes for need in answer_needs(spec, sequences, steps, "")) < 2


@given(specs(), st.integers(1, 50), st.integers(1, 50))
def test_it_grows_with_sequences_steps_precisions_and_units(spec: ModelSpec, sequences: int, steps: int) -> None:
    least = answer_seconds(spec, sequences, steps)
    wider = dataclasses.replace(spec, hidden=tuple(2 * width for width in spec.hidden))
    assert least > 0
    assert answer_seconds(spec, sequences + 1, steps) > least
    assert least < answer_seconds(spec, sequences, 2 * steps) < 2 * least
    assert answer_seconds(spec, sequences, steps, 3) == pytest.approx(3 * least)
    assert answer_seconds(wider, sequences, steps) > least


@given(specs(), st.integers(1, 40))
def test_rows_are_those_of_the_cases(spec: ModelSpec, length: int) -> None:
    assert sequence_rows(spec, length) == sum(len(case.inputs) for case in sequence_cases(spec, length))
    many = dataclasses.replace(spec, input=Tokens(700, 2))
    assert sequence_rows(many, length) == sum(len(case.inputs) for case in sequence_cases(many, length))

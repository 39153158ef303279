"""The estimate of known answers grows with what they do, and is near the time that they take."""

from __future__ import annotations

import dataclasses
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_deploy.parity.cases import sequence_cases, sequence_rows
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.reference.cost import answer_seconds
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


@given(specs(), st.integers(1, 50), st.integers(1, 50))
def test_it_grows_with_sequences_steps_precisions_and_units(spec: ModelSpec, sequences: int, steps: int) -> None:
    least = answer_seconds(spec, sequences, steps)
    wider = dataclasses.replace(spec, hidden=tuple(2 * width for width in spec.hidden))
    assert least > 0
    assert answer_seconds(spec, sequences + 1, steps) > least
    assert answer_seconds(spec, sequences, 2 * steps) == pytest.approx(2 * least)
    assert answer_seconds(spec, sequences, steps, 3) == pytest.approx(3 * least)
    assert answer_seconds(wider, sequences, steps) > least


@given(specs(), st.integers(1, 40))
def test_rows_are_those_of_the_cases(spec: ModelSpec, length: int) -> None:
    assert sequence_rows(spec, length) == sum(len(case.inputs) for case in sequence_cases(spec, length))
    many = dataclasses.replace(spec, input=Tokens(700, 2))
    assert sequence_rows(many, length) == sum(len(case.inputs) for case in sequence_cases(many, length))

"""The standard inputs: every token where it shows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_deploy.parity.cases import DIFFERENT_ROWS, answered_steps, sequence_cases, stream_case, stream_length
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from tests.networks import specs

HEADS = st.one_of(
    st.just(Head("last", 2)),
    st.just(Head("sequence", 2)),
    st.builds(Head, st.just("last_k"), st.just(2), st.integers(2, 5)),
)


def reader(symbols: int, head: Head) -> ModelSpec:
    return ModelSpec("rnn", (3,), (1,), Tokens(symbols, 2), head)


@given(st.integers(1, 250), st.integers(1, 40), HEADS)
def test_every_token_is_read_at_a_step_that_is_answered(symbols: int, length: int, head: Head) -> None:
    spec = reader(symbols, head)
    (ramp,) = (case for case in sequence_cases(spec, length) if case.name == "ramp")
    assert set(ramp.inputs[:, -head.output_steps(length) :].flat) == set(range(symbols))


@given(st.integers(1, 250), st.integers(1, 12), st.integers(2, 5), st.integers(0, 11), HEADS)
def test_every_token_of_a_stream_is_read_where_every_graph_answers(
    symbols: int, chunk: int, chunks: int, rest: int, head: Head
) -> None:
    spec, length = reader(symbols, head), chunk * chunks + rest % chunk
    stream = stream_case(spec, length, chunk)
    answered = answered_steps(chunk, head.output_steps(chunk), length)
    assert set(stream.inputs[:, answered].flat) == set(range(symbols))
    assert stream.inputs.shape[1] == length


@pytest.mark.parametrize("head", [Head("last", 2), Head("sequence", 2)], ids=["last", "sequence"])
def test_large_vocabulary_is_read_whole_in_few_sequences(head: Head) -> None:
    spec = reader(50_000, head)
    for inputs in (sequence_cases(spec, 100)[-1].inputs, stream_case(spec, 100, 10).inputs):
        assert set(inputs.flat) == set(range(50_000))
        assert len(inputs) <= math.ceil(50_000 / 100) + 1


@given(specs(), st.integers(1, 20))
def test_the_sequences_of_the_case_that_tells_rows_apart_differ(spec: ModelSpec, length: int) -> None:
    (case,) = (case for case in sequence_cases(spec, length) if case.name == DIFFERENT_ROWS)
    assert len(case.inputs) == 4
    if isinstance(spec.input, Continuous):
        assert len(np.unique(case.inputs, axis=0)) == 4


def test_stream_goes_round_the_delay_lines_where_that_is_short() -> None:
    graphs = [GraphRequest(32, form="chunk"), GraphRequest(1, form="step")]
    for dilation, steps in ((1, 64), (4, 64), (100, 232), (5000, 512)):
        spec = ModelSpec("rnn", (3,), (dilation,), Continuous(1), Head("last", 2))
        assert stream_length(spec, graphs) == steps

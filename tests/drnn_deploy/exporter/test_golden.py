from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from drnn_core.types import FLOAT64
from drnn_deploy.exporter import golden
from drnn_deploy.exporter.golden import make_golden, make_stream
from drnn_deploy.parity.compare import comparable, judge
from drnn_models.checkpoint import Checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.reference.loop import run_reference
from tests.networks import Case, cases, make_case

SMALL = make_case(ModelSpec("gru", (3, 4), (1, 2), Continuous(1), Head("last", 2)), 2, 7)


def chaotic(head: Head) -> Checkpoint:
    """A layer whose recurrence is torch's own advice for tanh: it amplifies rounding."""
    spec = ModelSpec("rnn", (64,), (1,), Continuous(1), head)
    torch.manual_seed(0)
    network = DilatedRNN(spec)
    torch.nn.init.orthogonal_(network.layers[0].weight_hh_l0, gain=5 / 3)
    return Checkpoint(spec, {name: value.numpy(force=True) for name, value in network.state_dict().items()})


@pytest.mark.parametrize("share, passes", [(1e-14, True), (1e-3, False)])
def test_torch_confirms_the_outputs(share: float, passes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    run_torch = golden._run_torch
    monkeypatch.setattr(golden, "_run_torch", lambda *arguments: run_torch(*arguments) * (1 + share))
    with contextlib.nullcontext() if passes else pytest.raises(AssertionError, match="disagree"):
        make_golden(SMALL.checkpoint(), 7)


def test_networks_that_amplify_rounding_even_in_float64_are_no_defect() -> None:
    """The two float64 computations part ways, and are compared up to there."""
    golden_cases = make_golden(chaotic(Head("sequence", 3)), 300)
    for case in golden_cases:
        assert judge(
            case.judged_as(FLOAT64), golden._run_torch(chaotic(Head("sequence", 3)).network().double(), case.inputs)
        ).passed
    ramp = golden_cases[-1]
    told = comparable(ramp)
    assert told[:10].all() and not told[-100:].any()
    assert comparable(ramp.judged_as(FLOAT64)).mean() > 2 * told.mean()


@given(cases())
@settings(max_examples=15)
def test_stream_has_an_output_for_every_step(case: Case) -> None:
    stream = make_stream(case.checkpoint(), case.length)
    every = dataclasses.replace(case.spec, head=Head("sequence", case.spec.head.outputs))
    assert stream.stream
    expected = run_reference(every, case.weights, stream.inputs)
    np.testing.assert_allclose(stream.outputs, expected.outputs, rtol=0, atol=1e-12 * expected.magnitude.max())
    assert stream.outputs.dtype == np.float64
    assert stream.outputs.shape[1] == case.length


def test_loop_in_float32_computes_in_float32() -> None:
    reference = SMALL.reference().outputs
    loop = run_reference(SMALL.spec, SMALL.weights, SMALL.inputs, precision=np.float32).outputs
    assert (loop.dtype, reference.dtype) == (np.float32, np.float64)
    assert 0 < np.abs(loop - reference).max() < 1e-5


@pytest.mark.parametrize("symbols, length", [(3, 5), (40, 10), (96, 24)])
def test_every_token_occurs_where_there_is_room(symbols: int, length: int) -> None:
    """A wrong row of an embedding is seen by no input that lacks its token."""
    case = make_case(ModelSpec("rnn", (3,), (1,), Tokens(symbols, 2), Head("sequence", 2)), 1, length)
    (ramp,) = (each for each in make_golden(case.checkpoint(), length) if each.name == "ramp")
    assert set(ramp.inputs.flat) == set(range(symbols))
    stream = make_stream(case.checkpoint(), symbols)
    assert set(stream.inputs.flat) == set(range(symbols))

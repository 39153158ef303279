from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from drnn_core.types import FLOAT64
from drnn_deploy.parity import golden
from drnn_deploy.parity.cases import sequence_cases, stream_case
from drnn_deploy.parity.compare import comparable, judge
from drnn_deploy.parity.golden import known_answer
from drnn_models.checkpoint import Checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec
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
        known_answer(SMALL.spec, SMALL.weights, sequence_cases(SMALL.spec, 7)[1], ())


def test_networks_that_amplify_rounding_even_in_float64_are_no_defect() -> None:
    """The two float64 computations part ways, and are compared up to there."""
    network = chaotic(Head("sequence", 3))
    inputs = sequence_cases(network.dilated, 300)
    golden_cases = [known_answer(network.dilated, network.weights, case, ()) for case in inputs]
    for case in golden_cases:
        outputs = golden._run_torch(network.network().double(), case.inputs)  # type: ignore[arg-type]
        assert judge(case.judged_as(FLOAT64), outputs).passed
    ramp = golden_cases[-1]
    told = comparable(ramp)
    assert told[:10].all() and not told[-100:].any()
    assert comparable(ramp.judged_as(FLOAT64)).mean() > 2 * told.mean()


@given(cases())
@settings(max_examples=15)
def test_stream_has_an_output_for_every_step(case: Case) -> None:
    stream = known_answer(case.spec, case.weights, stream_case(case.spec, case.length, 1), ())
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

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray

from drnn_deploy.parity import golden
from drnn_deploy.parity.cases import sequence_cases, stream_case
from drnn_deploy.parity.golden import known_answer
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.reference.loop import run_reference
from tests.networks import Case, cases, make_case

SMALL = make_case(ModelSpec("gru", (3, 4), (1, 2), Continuous(1), Head("last", 2)), 2, 7)
OFF = 0.5


@pytest.mark.parametrize("wrong", ["torch", "loop"])
def test_noise_is_the_larger_of_two_float32_computations(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_torch = golden._run_torch

    def torch_off(model: Any, inputs: NDArray[np.generic]) -> NDArray[np.float64]:
        off = OFF if wrong == "torch" and model.head.weight.dtype == torch.float32 else 0.0
        return run_torch(model, inputs) + off

    def loop_off(*arguments: Any, **precision: Any) -> Any:
        found = run_reference(*arguments, **precision)
        off = OFF if wrong == "loop" and precision else 0.0
        return dataclasses.replace(found, outputs=found.outputs + off)

    inputs = sequence_cases(SMALL.spec, 7)
    assert all(known_answer(SMALL.spec, SMALL.weights, case, ()).noise < 1e-5 for case in inputs)
    monkeypatch.setattr(golden, "_run_torch", torch_off)
    monkeypatch.setattr(golden, "run_reference", loop_off)
    noises = [known_answer(SMALL.spec, SMALL.weights, case, ()).noise for case in inputs]
    assert noises == pytest.approx([OFF] * 4, abs=1e-4)


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

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given

from drnn_deploy.golden import make_golden, make_stream
from drnn_models.spec import Head
from drnn_runtimes.reference import run_reference
from tests.networks import Case, cases


@given(cases())
def test_noise_is_the_larger_of_two_float32_computations(case: Case) -> None:
    checkpoint = case.checkpoint()
    for golden in make_golden(checkpoint, case.length):
        reference = run_reference(case.spec, case.weights, golden.inputs)
        loop = run_reference(case.spec, case.weights, golden.inputs, precision=np.float32).outputs
        with torch.inference_mode():
            found = checkpoint.network()(torch.from_numpy(golden.inputs)).numpy()
        assert loop.dtype == found.dtype == np.float32
        assert golden.outputs.dtype == np.float64
        errors = [float(np.abs(outputs - golden.outputs).max()) for outputs in (loop, found)]
        floor = np.finfo(np.float32).eps * float(reference.magnitude.max())
        assert golden.noise == pytest.approx(max(*errors, floor), rel=1e-12)


@given(cases())
def test_stream_has_an_output_for_every_step(case: Case) -> None:
    golden = make_stream(case.checkpoint(), case.length)
    every = dataclasses.replace(case.spec, head=Head("sequence", case.spec.head.outputs))
    assert golden.stream
    np.testing.assert_array_equal(golden.outputs, run_reference(every, case.weights, golden.inputs).outputs)
    assert golden.outputs.shape[1] == case.length

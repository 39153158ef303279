"""Which outputs pass beside float64's, and what is said of those that do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.results import all_passed
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE, Tolerance
from drnn_runtimes.bundle import GoldenCase

Array = NDArray[np.generic]
NOISE = 1e-6
STEPS = 6


def sequence_case(**changes: Any) -> GoldenCase:
    """Three sequences of six steps of four outputs."""
    outputs = np.random.default_rng(0).standard_normal((3, STEPS, 4))
    return dataclasses.replace(GoldenCase("normal", np.zeros((3, 9, 2), np.float32), outputs, NOISE), **changes)


def last_case(**changes: Any) -> GoldenCase:
    """Three sequences of one output step."""
    return sequence_case(**{"outputs": np.random.default_rng(1).standard_normal((3, 4)), **changes})


CASES = pytest.mark.parametrize("case", [sequence_case(), last_case()], ids=["sequence", "last"])


@CASES
def test_reference_itself_passes(case: GoldenCase) -> None:
    result = judge(case, case.outputs)
    assert result.passed
    assert (result.absolute, result.in_noise, result.first_bad_step, result.agreement) == (0.0, 0.0, None, 1.0)


@given(st.lists(st.floats(1e-9, 1e-2), min_size=8, max_size=8), st.sampled_from([Tolerance(), Tolerance(atol=1e-4)]))
def test_what_is_said_is_of_the_output_that_fails(values: list[float], tolerance: Tolerance) -> None:
    """Each output has a limit of its own: an error may be the largest and pass, and a smaller one may fail."""
    noise, error = np.array(values).reshape(2, 1, 4)
    case = GoldenCase("normal", np.zeros((1, 9, 2), np.float32), np.full((1, 1, 4), 10.0), noise)
    result = judge(case, case.outputs + error, tolerance)
    assert result.worst is not None
    found, limit = result.worst
    assert result.passed == (found <= limit)
    limits = np.broadcast_to(tolerance.limit(case), noise.shape)[0]
    at = (error[0] / limits).argmax()
    assert (found, limit) == pytest.approx((error[0, at], limits[at]), rel=1e-5)
    assert result.off == f"error {found:.1e} where {limit:.1e} passes"


@CASES
def test_rounding_to_float32_passes(case: GoldenCase) -> None:
    assert judge(case, case.outputs.astype(np.float32)).passed


@CASES
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("multiple", [NOISE_MULTIPLE, 1e30, 1e300])
def test_outputs_that_are_not_finite_fail_whatever_the_limit(case: GoldenCase, value: float, multiple: float) -> None:
    outputs = case.outputs.copy()
    outputs.flat[-1] = value
    result = judge(case, outputs, Tolerance(multiple))
    assert not result.passed
    assert (result.absolute, result.relative, result.in_noise, result.growth[-1]) == (None, None, None, None)
    assert result.first_bad_step == (STEPS - 1 if outputs.ndim == 3 else 0)


@CASES
@pytest.mark.parametrize("change", [
    lambda outputs: outputs[:-1],
    lambda outputs: outputs[..., :-1],
    lambda outputs: outputs[:, None],
    lambda outputs: outputs.T,
    lambda outputs: np.concatenate([outputs, outputs]),
    lambda outputs: outputs[:1],
    lambda outputs: outputs.reshape(-1),
    lambda outputs: np.zeros(0),
])  # fmt: skip
def test_another_shape_fails(case: GoldenCase, change: Callable[[Array], Array]) -> None:
    result = judge(case, change(case.outputs), Tolerance(1e30))
    assert not result.passed
    assert (result.absolute, result.first_bad_step, result.growth) == (None, 0, ())


@CASES
@pytest.mark.parametrize("share, passed", [(0.999, True), (1.001, False), (-0.999, True), (-1.001, False)])
def test_limit_is_the_stated_multiple_of_the_noise(case: GoldenCase, share: float, passed: bool) -> None:
    outputs = case.outputs.copy()
    outputs[1, ..., 2] += share * NOISE_MULTIPLE * NOISE
    result = judge(case, outputs)
    assert result.passed is passed
    assert result.limit == NOISE_MULTIPLE * NOISE
    assert result.absolute == pytest.approx(abs(share) * NOISE_MULTIPLE * NOISE)
    assert result.in_noise == pytest.approx(abs(share) * NOISE_MULTIPLE)
    assert result.relative == pytest.approx(abs(share) * NOISE_MULTIPLE * NOISE / np.abs(case.outputs).max())


def drowned_but(output: int, **changes: Any) -> GoldenCase:
    """A case of which one output alone has little noise."""
    noise = np.full((STEPS, 4), 10.0)
    noise[:, output] = NOISE
    return sequence_case(noise=noise, **changes)


def test_output_that_no_input_reaches_lets_no_case_count_as_compared() -> None:
    inputs = np.random.default_rng(2).standard_normal((3, 9, 2)).astype(np.float32)
    live = drowned_but(1, inputs=inputs)
    assert (judge(live, live.outputs).verdict, judge(live, live.outputs).tells) == ("passed", True)
    dead = dataclasses.replace(live, outputs=np.where(np.arange(4) == 1, 0.5, live.outputs))
    assert (judge(dead, dead.outputs).verdict, judge(dead, dead.outputs).tells) == ("not compared", False)
    wrong = dead.outputs + np.where(np.arange(4) == 1, 1e-3, 0.0)
    assert judge(dead, wrong).verdict == "failed"


def test_zeros_pass_and_tell_nothing() -> None:
    same = np.repeat(sequence_case().outputs[:1], 3, axis=0)
    zeros = sequence_case(outputs=same)
    result = judge(zeros, same)
    assert (result.passed, result.tells, all_passed([result])) == (True, False, False)
    assert judge(zeros, same, Tolerance(atol=1e-3)).tells, "a limit of the user's own"
    alone = sequence_case(inputs=np.ones((3, 9, 2), np.float32), outputs=same)
    assert judge(alone, same).tells, "one sequence, of which there is nothing else"
    nearly = np.repeat(alone.inputs[:1], 3, axis=0) * np.array([1, 1 + 1e-6, 1], np.float32)[:, None, None]
    assert judge(dataclasses.replace(alone, inputs=nearly), same).tells, "nearly one sequence"


@given(st.integers(0, STEPS - 1), st.integers(0, STEPS - 1))
def test_first_bad_step_is_the_first(one: int, other: int) -> None:
    case = sequence_case()
    outputs = case.outputs.copy()
    outputs[2, one, 1] += 1e-3
    outputs[0, other, 3] -= 1e-2
    result = judge(case, outputs)
    assert result.first_bad_step == min(one, other)
    assert [step for step, error in enumerate(result.growth) if error] == sorted({one, other})


def test_growth_samples_long_outputs_from_first_to_last_step() -> None:
    case = sequence_case(outputs=np.zeros((1, 100, 1)), inputs=np.zeros((1, 100, 1), np.float32))
    growth = judge(case, np.arange(100.0)[None, :, None]).growth
    assert (len(growth), growth[0], growth[-1]) == (16, 0.0, 99.0)
    assert np.all(np.diff(np.array(growth, float)) > 0)


def test_case_without_noise_takes_nothing_but_the_exact_outputs() -> None:
    case = last_case(outputs=np.zeros((3, 4)), noise=0.0)
    assert judge(case, np.zeros((3, 4), np.float32)).passed
    result = judge(case, np.full((3, 4), 1e-30))
    assert (result.passed, result.in_noise, result.first_bad_step) == (False, None, 0)


def test_noise_that_is_no_number_fails() -> None:
    case = last_case(noise=np.nan)
    assert not judge(case, case.outputs).passed


def test_agreement_and_accuracy_count_predictions() -> None:
    outputs = np.eye(4)[[0, 1, 2]]
    case = last_case(outputs=outputs, targets=np.array([0, 1, 3]))
    result = judge(case, np.eye(4)[[0, 3, 3]])
    assert (result.agreement, result.accuracy) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert judge(last_case(), last_case().outputs).accuracy is None

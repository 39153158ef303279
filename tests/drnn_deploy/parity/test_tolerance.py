"""What passes, in whose words, and that the limit is computed in one place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE, Tolerance
from drnn_runtimes.bundle import GoldenCase

positive = st.floats(1e-12, 1e6)
SCALE = 3.0


def golden(noise: float = 1e-6) -> GoldenCase:
    return GoldenCase("normal", np.zeros((2, 4, 1), np.float32), np.array([[1.0, -SCALE], [0.5, 2.0]]), noise)


@given(multiple=positive, noise=positive)
def test_noise_decides_unless_the_user_does(multiple: float, noise: float) -> None:
    assert Tolerance(multiple).limit(golden(noise)) == multiple * noise
    assert Tolerance().limit(golden(noise)) == NOISE_MULTIPLE * noise


@given(atol=positive, rtol=positive, noise=positive)
def test_users_limits_take_the_place_of_noise(atol: float, rtol: float, noise: float) -> None:
    assert Tolerance(atol=atol).limit(golden(noise)) == atol
    assert Tolerance(rtol=rtol).limit(golden(noise)) == rtol * SCALE
    assert Tolerance(atol=atol, rtol=rtol).limit(golden(noise)) == atol + rtol * SCALE


@given(atol=st.floats(1e-3, 1.0), share=st.floats(0.0, 2.0))
def test_an_error_passes_exactly_up_to_the_limit(atol: float, share: float) -> None:
    outputs = golden().outputs.copy()
    outputs[1, 0] += share * atol
    error = abs(outputs[1, 0] - golden().outputs[1, 0])
    assert judge(golden(), outputs, Tolerance(atol=atol)).passed == (error <= atol)


def test_nothing_but_the_same_numbers_passes_at_zero() -> None:
    assert judge(golden(), golden().outputs, Tolerance(atol=0.0)).passed
    assert not judge(golden(), golden().outputs + 1e-9, Tolerance(atol=0.0)).passed


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf])
@pytest.mark.parametrize("name", ["atol", "rtol"])
def test_limits_that_are_none_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name) as caught:
        Tolerance(**{name: value})
    assert f"--{name}" in caught.value.fix


@pytest.mark.parametrize("multiple", [0.0, -1.0, np.nan, np.inf])
def test_limit_must_be_a_positive_number(multiple: float) -> None:
    with pytest.raises(InputError, match="must be a positive number"):
        Tolerance(multiple)

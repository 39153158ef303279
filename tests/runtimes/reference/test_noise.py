"""The noise: what a right arithmetic does stays within some of it, and it knows bias, precision and chaos."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from drnn_core.types import FLOAT64
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.reference.loop import Array, run_reference
from drnn_runtimes.reference.noise import answer, answers, estimate_noise
from tests.networks import Case, cases, make_case, random_inputs

CASE = make_case(ModelSpec("gru", (6, 5), (1, 2), Continuous(2), Head("sequence", 3)), 3, 40)


@given(cases())
@settings(max_examples=25)
def test_noise_has_the_shape_of_outputs_and_never_falls(case: Case) -> None:
    found, right = answer(case.spec, case.weights, case.inputs, ["fp16", "int8"]), case.reference()
    np.testing.assert_allclose(found.outputs, right.outputs, rtol=0, atol=1e-12 * right.magnitude.max())
    assert set(found.noises) == {"fp32", FLOAT64, "fp16", "int8"}
    for noise in found.noises.values():
        assert noise.shape == right.outputs.shape[1:]
        assert np.isfinite(noise).all()
        assert noise.ndim == 1 or np.all(np.diff(noise, axis=0) >= 0)
    assert np.all(found.noises["fp32"] <= found.noises["fp16"])


def test_noise_is_the_same_every_time() -> None:
    one, other = (answer(CASE.spec, CASE.weights, CASE.inputs) for _ in range(2))
    np.testing.assert_array_equal(one.noises["fp32"], other.noises["fp32"])


@given(cases())
@settings(max_examples=25)
def test_each_of_several_cases_has_the_answer_that_it_has_alone(case: Case) -> None:
    """Up to the order in which a library sums the products of more rows."""
    several = [case.inputs, np.zeros_like(case.inputs), np.repeat(case.inputs[:1], 3, axis=0)]
    for inputs, found in zip(several, answers(case.spec, case.weights, several, ["fp16"]), strict=True):
        alone = answer(case.spec, case.weights, inputs, ["fp16"])
        np.testing.assert_allclose(found.outputs, alone.outputs, rtol=0, atol=1e-12 * alone.magnitude)
        assert set(found.noises) == set(alone.noises)
        for precision, noise in found.noises.items():
            np.testing.assert_allclose(noise, alone.noises[precision], rtol=0.75)
        np.testing.assert_allclose(found.every_noise, alone.every_noise, rtol=0.75)
        np.testing.assert_allclose(found.signal, alone.signal, rtol=1e-9)


def test_each_output_has_its_own_noise() -> None:
    """An output a million times larger than the others gives them no larger limit."""
    weights = {name: value.copy() for name, value in CASE.weights.items()}
    weights["head.weight"][0] *= 1e6
    loud, quiet = (answer(CASE.spec, w, CASE.inputs).noises["fp32"] for w in (weights, CASE.weights))
    assert loud[-1, 0] > 1e5 * loud[-1, 1]
    np.testing.assert_allclose(loud[:, 1:], quiet[:, 1:])


def test_errors_that_add_up_are_noise_too() -> None:
    """A slow unit adds the bias of a runtime's tanh up, where independent roundings would cancel."""
    spec = ModelSpec("rnn", (1,), (1,), Continuous(1), Head("sequence", 1))
    one = np.ones((1, 1), np.float32)
    zero = np.zeros(1, np.float32)
    weights = {"layers.0.weight_ih_l0": 0.01 * one, "layers.0.weight_hh_l0": 0.999 * one, "layers.0.bias_ih_l0": zero,
               "layers.0.bias_hh_l0": zero, "head.weight": one, "head.bias": zero}  # fmt: skip
    inputs = np.linspace(0, 0.01, 2000, dtype=np.float32)[None, :, None]
    right = run_reference(spec, weights, inputs)
    biased = run_reference(spec, weights, inputs, rounded=lambda value: value * (1 - 2.0**-23))
    error = np.abs(biased.outputs - right.outputs)[0]
    assert np.all(error <= 4 * estimate_noise(spec, weights, inputs, right).outputs)
    assert error[-1] > 50 * 2.0**-23 * right.outputs[0, -1]


def test_small_activations_that_are_off_by_a_spacing_of_one_are_noise_too() -> None:
    """A unit that swings out from zero keeps the first error of a tanh that is computed from exponentials."""
    spec = ModelSpec("rnn", (1,), (1,), Continuous(1), Head("sequence", 1))
    one, zero = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    weights = {"layers.0.weight_ih_l0": one, "layers.0.weight_hh_l0": -1.06 * one, "layers.0.bias_ih_l0": zero,
               "layers.0.bias_hh_l0": zero, "head.weight": one, "head.bias": zero}  # fmt: skip
    inputs = np.zeros((2, 100, 1), np.float32)
    inputs[0, 0] = 1e-4

    def from_exponentials(exact: Array) -> Array:
        shrunk = np.exp(-2 * np.arctanh(exact).astype(np.float32))
        return ((1 - shrunk) / (1 + shrunk)).astype(np.float64)  # type: ignore[no-any-return]

    right = run_reference(spec, weights, inputs)
    error = np.abs(run_reference(spec, weights, inputs, activated=from_exponentials).outputs - right.outputs)
    noise = estimate_noise(spec, weights, inputs, right).outputs
    assert np.all(error <= 4 * noise)
    assert error[0, -1] > 50 * 2.0**-23 * np.abs(right.outputs[0, -1])
    assert np.all(estimate_noise(spec, weights, inputs[1:], run_reference(spec, weights, inputs[1:])).outputs == 0)


def test_float64_has_its_own_noise() -> None:
    found = answer(CASE.spec, CASE.weights, CASE.inputs)
    own = estimate_noise(CASE.spec, CASE.weights, CASE.inputs, CASE.reference(), FLOAT64).outputs
    np.testing.assert_allclose(np.log(own[-1]), np.log(found.noises[FLOAT64][-1]), atol=np.log(4))


@pytest.mark.parametrize("bias", [0.0, 1000.0])
def test_signal_leaves_out_the_bias_but_for_outputs_that_do_not_depend_on_the_input(bias: float) -> None:
    spec = ModelSpec("rnn", (32,), (1,), Continuous(1), Head("last", 2))
    weights = make_case(spec, 1, 1).weights
    weights = {**weights, "head.bias": np.full(2, bias, np.float32), "head.weight": weights["head.weight"] * [[0], [1]]}
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    weights["layers.0.weight_hh_l0"] *= 4
    found = answer(spec, weights, random_inputs(spec, 3, 200, 0))
    assert found.signal[0] == bias
    assert found.signal[1] == pytest.approx(np.abs(found.outputs[:, 1] - np.float32(bias)).max())

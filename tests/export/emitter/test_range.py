"""Weights beyond a precision's numbers are named, and what is emitted holds none."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, Emission, Precision
from drnn_export.emitter.emit import emit
from drnn_export.emitter.range import largest_input
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from tests.networks import random_weights, specs

SPEC = ModelSpec("gru", (4, 4), (1, 2), Continuous(3), Head("sequence", 2))
FP16 = GraphRequest(3, 1, "unrolled", precision="fp16")


@given(specs(), st.sampled_from(get_args(Precision)), st.sampled_from(get_args(Emission)), st.integers(0, 2**31))
@settings(max_examples=60)
def test_no_constant_is_infinite_and_what_is_refused_is_named(
    spec: ModelSpec, precision: Precision, emission: Emission, seed: int
) -> None:
    """Weights of all sizes, some of them at or just beyond the largest number of a type."""
    random = np.random.default_rng(seed)
    weights = random_weights(spec, seed)
    name = random.choice(sorted(weights))
    largest = PRECISIONS[random.choice(list(PRECISIONS))].largest
    factor = random.choice([0.4, 0.6, 1.0, 1.01])
    size = np.float32(min(factor * largest, PRECISIONS["fp32"].largest))
    weights[name].flat[random.integers(weights[name].size)] = size * random.choice([-1, 1])
    form = "step" if emission == "skewed" else "sequence"
    try:
        request = GraphRequest(1 if form == "step" else 3, 1, emission, form=form, precision=precision)  # type: ignore[arg-type]
    except InputError:
        reject()  # there is no such graph
    try:
        model = emit(spec, weights, request)
    except InputError as error:
        assert name in error.message
        assert size > PRECISIONS[precision].largest / 2
        return
    for constant in model.graph.initializer:
        assert np.isfinite(numpy_helper.to_array(constant).astype(np.float64)).all(), constant.name
    assert "bias" in name or size <= PRECISIONS[precision].largest


@pytest.mark.parametrize("emission", ["fused", "unrolled", "mixed", "blocked"])
@pytest.mark.parametrize("name", ["layers.0.weight_ih_l0", "layers.1.weight_hh_l0", "head.weight"])
def test_a_weight_beyond_float16_is_named_with_its_value_and_the_limit(name: str, emission: Emission) -> None:
    weights = random_weights(SPEC, 0)
    weights[name][1, 2] = -7e4
    request = dataclasses.replace(FP16, emission=emission)
    with pytest.raises(InputError, match=rf"{name} holds -70000, and sequence/{emission}/fp16 takes .* 65504"):
        emit(SPEC, weights, request)
    emit(SPEC, weights, dataclasses.replace(request, precision="fp32"))
    weights[name][1, 2] = -65504
    emit(SPEC, weights, request)


def test_biases_count_where_an_operator_holds_them_in_float16() -> None:
    weights = random_weights(SPEC, 0)
    weights["layers.1.bias_hh_l0"][0] = 7e4
    emit(SPEC, weights, FP16)  # adds them in float32
    with pytest.raises(InputError, match=r"layers\.1\.bias_hh_l0 holds 70000"):
        emit(SPEC, weights, dataclasses.replace(FP16, emission="fused"))


def test_the_sum_of_two_biases_counts_where_they_are_added() -> None:
    weights = random_weights(SPEC, 0)
    for part in ("bias_ih", "bias_hh"):
        weights[f"layers.0.{part}_l0"][0] = 4e4
    with pytest.raises(InputError, match=r"the sum of layers\.0\.bias_ih_l0 and layers\.0\.bias_hh_l0 holds 80000"):
        emit(SPEC, weights, dataclasses.replace(FP16, emission="fused"))
    for part in ("bias_ih", "bias_hh"):
        weights[f"layers.0.{part}_l0"][[0, -1]] = 0, 4e4  # of gate n, which are not added
    emit(SPEC, weights, dataclasses.replace(FP16, emission="fused"))


def test_a_matrix_that_vanishes_is_named() -> None:
    weights = random_weights(SPEC, 0)
    weights["layers.0.weight_ih_l0"] *= 1e-9
    with pytest.raises(InputError, match=r"every number of layers\.0\.weight_ih_l0 is rounded to 0 in fp16"):
        emit(SPEC, weights, FP16)
    emit(SPEC, weights, dataclasses.replace(FP16, precision="bf16"))
    weights["layers.0.weight_ih_l0"][:] = 0
    emit(SPEC, weights, FP16)


@given(specs(), st.sampled_from(get_args(Precision)), st.floats(1e-3, 1e6))
@settings(max_examples=30)
def test_no_sum_of_the_first_product_overflows_within_the_range(
    spec: ModelSpec, precision: Precision, scale: float
) -> None:
    weights = random_weights(spec, 0)
    weights["layers.0.weight_ih_l0"] *= np.float32(scale)
    most = largest_input(spec, weights, precision)
    if isinstance(spec.input, Tokens):
        assert most is None
        return
    assert most is not None and most == np.float32(most)
    assert 0 < most <= PRECISIONS[precision].largest
    assert most == 65504 or precision != "fp16"
    sums = np.float32(most) * np.abs(weights["layers.0.weight_ih_l0"]).cumsum(axis=1, dtype=np.float32)
    assert np.isfinite(sums).all()

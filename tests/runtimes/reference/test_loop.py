from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from drnn_deploy.debug.isolate_weights import one_layer
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.reference.loop import run_reference
from tests.networks import Case, cases, make_case


@pytest.mark.parametrize(("cell", "activation"), [("rnn", "tanh"), ("rnn", "relu"), ("gru", "tanh"), ("lstm", "tanh")])
def test_with_dilation_one_it_is_torchs_own_layer(cell: str, activation: str) -> None:
    spec = ModelSpec(cell, (5,), (1,), Continuous(3), Head("sequence", 2), activation)  # type: ignore[arg-type]
    case = make_case(spec, 2, 9)
    model = case.checkpoint().network().double()
    hidden, _ = model.layers[0](torch.from_numpy(case.inputs).double().transpose(0, 1))
    expected = model.head(hidden.transpose(0, 1)).detach().numpy()
    np.testing.assert_allclose(case.reference().outputs, expected, atol=1e-12, rtol=0)


def test_by_hand() -> None:
    """One tanh unit of dilation 2, all weights 1 but the head's, which doubles: h0 = tanh(x0), h2 = tanh(x2 + h0)."""
    spec = ModelSpec("rnn", (1,), (2,), Continuous(1), Head("sequence", 1), fusion=False)
    weights = {name: np.ones(shape, np.float32) for name, shape in spec.weight_shapes().items()}
    for name in ("layers.0.bias_ih_l0", "layers.0.bias_hh_l0", "head.bias"):
        weights[name][:] = 0
    weights["head.weight"][:] = 2
    outputs = run_reference(spec, weights, np.array([[[0.1], [0.2], [0.3]]])).outputs.ravel()
    np.testing.assert_allclose(outputs, 2 * np.tanh([0.1, 0.2, 0.3 + np.tanh(0.1)]), atol=1e-15)


@given(cases())
def test_carried_state_continues_the_sequence(case: Case) -> None:
    whole = case.reference()
    middle = case.length // 2
    if middle == 0:
        return
    first = run_reference(case.spec, case.weights, case.inputs[:, :middle])
    second = run_reference(case.spec, case.weights, case.inputs[:, middle:], first.state)
    steps = 1 if case.spec.head.kind == "last" else second.outputs.shape[1]
    np.testing.assert_array_equal(
        second.outputs.reshape(len(case.inputs), steps, -1)[:, -1], _last(case, whole.outputs)
    )
    for name, value in whole.state.items():
        np.testing.assert_array_equal(second.state[name], value)


def _last(case: Case, outputs: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return outputs if case.spec.head.kind == "last" else outputs[:, -1]


@given(cases())
@settings(max_examples=20)
def test_trace_holds_what_is_between_the_layers(case: Case) -> None:
    spec, found = case.spec, run_reference(case.spec, case.weights, case.inputs, traced=True)
    assert run_reference(spec, case.weights, case.inputs).trace == {}
    for name, line in found.state.items():
        if name == "fusion":
            continue
        length = spec.dilations[int(name[1:].partition("_")[0])]
        values = np.concatenate([np.zeros_like(line), found.trace[name]], axis=1)
        np.testing.assert_array_equal(values[:, -length:], line)
    for layer in range(spec.layers):
        alone, weights = one_layer(spec, case.weights, layer)
        below = found.trace["input" if layer == 0 else f"l{layer - 1}_h"]
        np.testing.assert_array_equal(run_reference(alone, weights, below).outputs, found.trace[f"l{layer}_h"])

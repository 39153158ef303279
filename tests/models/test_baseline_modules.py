from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import SpecError
from drnn_models.baseline_modules import make_network
from drnn_models.baseline_specs import ConvSpec, NetworkSpec, SkipSpec, read_spec
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from tests.networks import conv_specs, random_inputs, skip_specs, specs

Weights = dict[str, NDArray[np.float64]]


def drawn_weights(spec: NetworkSpec, seed: int) -> Weights:
    random = np.random.default_rng(seed)
    shapes = spec.weight_shapes().items()
    return {name: random.standard_normal(shape) / np.sqrt(np.prod(shape[1:])) for name, shape in shapes}


def torch_outputs(spec: NetworkSpec, weights: Weights, inputs: NDArray[np.generic]) -> NDArray[np.float64]:
    model = make_network(spec).double()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    x = torch.from_numpy(inputs)
    with torch.inference_mode():
        outputs: NDArray[np.float64] = model(x.double() if x.is_floating_point() else x).numpy()
    return outputs


def stack_of(spec: NetworkSpec) -> ModelSpec:
    """A recurrent spec of the same input, head and widths."""
    if isinstance(spec, ConvSpec):
        return ModelSpec("rnn", spec.channels, spec.dilations, spec.input, spec.head, fusion=False)
    return spec.stack if isinstance(spec, SkipSpec) else spec


def first_inputs(spec: NetworkSpec, weights: Weights, inputs: NDArray[np.generic]) -> NDArray[np.float64]:
    if isinstance(spec.input, Continuous):
        return inputs.astype(np.float64)
    return weights.get("embedding.weight", np.eye(spec.input.vocabulary))[inputs]


def read_out(spec: NetworkSpec, weights: Weights, top: NDArray[np.float64]) -> NDArray[np.float64]:
    outputs = top[:, -spec.head.output_steps(top.shape[1]) :] @ weights["head.weight"].T + weights["head.bias"]
    return outputs[:, -1] if spec.head.kind == "last" else outputs


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def skip_oracle(spec: SkipSpec, weights: Weights, inputs: NDArray[np.generic]) -> NDArray[np.float64]:
    """The docstring's equation, one step at a time."""
    x = first_inputs(spec, weights, inputs)
    for layer, (hidden, skip) in enumerate(zip(spec.stack.hidden, spec.stack.dilations, strict=True)):
        w_ih, w_hh, b_ih, b_hh = (
            weights[f"layers.{layer}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        past = {step: np.zeros((len(x), hidden)) for step in range(-max(skip, 1), 0)}
        c = np.zeros((len(x), hidden))
        for t in range(x.shape[1]):
            seen, remembered = x[:, t] @ w_ih.T + b_ih, np.hstack([past[t - 1], past[t - skip]]) @ w_hh.T + b_hh
            if spec.stack.cell == "rnn":
                total = seen + remembered
                past[t] = np.maximum(total, 0) if spec.stack.activation == "relu" else np.tanh(total)
            elif spec.stack.cell == "gru":
                (r, z, n), (rr, zz, nn) = np.split(seen, 3, axis=1), np.split(remembered, 3, axis=1)
                update = sigmoid(z + zz)
                past[t] = update * past[t - 1] + (1 - update) * np.tanh(n + sigmoid(r + rr) * nn)
            else:
                i, f, g, o = np.split(seen + remembered, 4, axis=1)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                past[t] = sigmoid(o) * np.tanh(c)
        x = np.stack([past[t] for t in range(x.shape[1])], axis=1)
    return read_out(spec, weights, x)


def conv_oracle(spec: ConvSpec, weights: Weights, inputs: NDArray[np.generic]) -> NDArray[np.float64]:
    """The docstring's equation, one step at a time."""
    x = first_inputs(spec, weights, inputs)
    for layer, dilation in enumerate(spec.dilations):
        kernel, bias = weights[f"layers.{layer}.weight"], weights[f"layers.{layer}.bias"]
        steps = []
        for t in range(x.shape[1]):
            before = x[:, t - dilation] if t >= dilation else np.zeros_like(x[:, 0])
            y = np.maximum(before @ kernel[:, :, 0].T + x[:, t] @ kernel[:, :, 1].T + bias, 0)
            steps.append(x[:, t] + y if x.shape[2] == y.shape[1] else y)
        x = np.stack(steps, axis=1)
    return read_out(spec, weights, x)


@given(skip_specs() | conv_specs(), st.integers(1, 3), st.integers(1, 30), st.integers(0, 2**31))
def test_network_computes_its_equation(spec: SkipSpec | ConvSpec, batch: int, length: int, seed: int) -> None:
    weights, inputs = drawn_weights(spec, seed), random_inputs(stack_of(spec), batch, length, seed)
    oracle = skip_oracle(spec, weights, inputs) if isinstance(spec, SkipSpec) else conv_oracle(spec, weights, inputs)
    np.testing.assert_allclose(torch_outputs(spec, weights, inputs), oracle, atol=1e-9, rtol=1e-9)


@given(skip_specs(), st.integers(1, 30), st.integers(0, 2**31))
def test_skip_rnn_without_its_skips_is_the_network_without_dilations(spec: SkipSpec, length: int, seed: int) -> None:
    weights, inputs = drawn_weights(spec, seed), random_inputs(spec.stack, 2, length, seed)
    plain = dataclasses.replace(spec.stack, dilations=(1,) * spec.stack.layers)
    kept = dict(weights)
    for layer, hidden in enumerate(spec.stack.hidden):
        name = f"layers.{layer}.weight_hh_l0"
        weights[name] = weights[name] * np.repeat([1.0, 0.0], hidden)
        kept[name] = weights[name][:, :hidden]
    np.testing.assert_allclose(
        torch_outputs(spec, weights, inputs), torch_outputs(plain, kept, inputs), atol=1e-9, rtol=1e-9
    )


@given(skip_specs() | conv_specs() | specs())
def test_spec_survives_json_and_names_the_weights_of_the_module(spec: NetworkSpec) -> None:
    assert read_spec(spec.to_json()) == spec
    state = make_network(spec).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == spec.weight_shapes()


def test_first_weights_of_a_skip_rnn_keep_the_length_of_what_it_remembers() -> None:
    """Rows of a gate are orthonormal over both edges together."""
    stack = ModelSpec("lstm", (6, 6), (2, 4), Continuous(1), Head("last", 2), fusion=False)
    for name, value in make_network(SkipSpec(stack)).state_dict().items():
        if name.endswith("weight_hh_l0"):
            for block in value.split(6):
                torch.testing.assert_close(block @ block.T, torch.eye(6), atol=1e-5, rtol=0)


EDGES = {"input": Continuous(1), "head": Head("last", 2)}
TABLES = {name: dataclasses.asdict(edge) for name, edge in EDGES.items()}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"network": "transformer", **TABLES}, "spec.network: must be dilated, skip or cnn, got 'transformer'"),
        ({"network": "cnn", **TABLES}, "channels"),
        ({"network": "cnn", "channels": [1, 2], "dilations": [1], **TABLES}, "1 dilations for 2 layers"),
        ({"network": "cnn", "channels": [0], "dilations": [1], **TABLES}, r"spec\.channels\[0\]"),
        ({"network": "cnn", "channels": [2], "dilations": [1], "cell": "rnn", **TABLES}, "'cell'"),
        ({"network": "skip", "cell": "rnn", "hidden": [2], "dilations": [0], **TABLES}, r"spec\.dilations\[0\]"),
        ({"network": "skip", "cell": "rnn", "hidden": [2], "dilations": [2], "fusion": True, **TABLES}, "has none"),
        (
            {"network": "skip", "cell": "gru", "hidden": [2], "dilations": [2], "reset": "before", **TABLES},
            "spec.reset",
        ),
        ({"network": "skip", "stack": {}}, "unknown field 'stack'"),
        ({"network": ["skip"], **TABLES}, "must be dilated, skip or cnn"),
        ([], "must be an object, got list"),
    ],
)
def test_what_describes_no_network_is_refused(data: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_spec(data)


def test_a_dilated_network_may_say_that_it_is_one() -> None:
    table = {"cell": "gru", "hidden": [3], "dilations": [2], **TABLES}
    assert read_spec({"network": "dilated", **table}) == read_spec(table) == ModelSpec("gru", (3,), (2,), **EDGES)  # type: ignore[arg-type]


def test_conv_spec_takes_tokens() -> None:
    spec = ConvSpec((3,), (2,), Tokens(5, embedding=4), Head("sequence", 5))
    assert spec.weight_shapes()["layers.0.weight"] == (3, 4, 2)
    assert spec.weight_shapes()["embedding.weight"] == (5, 4)

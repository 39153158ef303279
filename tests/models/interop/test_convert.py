"""Imported networks compute what the originals compute: fixtures made with their code, and torch's own modules."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.interop.choices import Choices
from drnn_models.interop.convert import UNSEEN, Imported, import_weights
from drnn_models.interop.import_file import import_file
from drnn_models.interop.layouts import Layout
from drnn_models.interop.state_dict import read_state_dict
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.reference.loop import run_reference
from tests.models.interop.foreign_states import FIXTURES, drnn, ones, renamed, stack, wrapped
from tests.networks import Case, random_weights, specs

DECODER = ("context_adapter.*", "mlp_decoder.*")

ORIGINALS: dict[str, tuple[str, Layout, Choices, ModelSpec]] = {
    "DRNN, time-major": (
        "zalando-rnn.pt", "zalando", Choices(),
        ModelSpec("rnn", (5, 5, 5), (1, 2, 4), Continuous(2), Head("sequence", 5)),
    ),
    "DRNN_Copy, batch-first": (
        "zalando-gru-copy.pt", "zalando", Choices(),
        ModelSpec("gru", (4, 4, 4, 4), (1, 2, 4, 8), Continuous(3), Head("sequence", 6)),
    ),
    "Classifier": (
        "zalando-lstm-classifier.pt", "zalando", Choices(head="last"),
        ModelSpec("lstm", (4, 4, 4), (1, 2, 4), Continuous(1), Head("last", 5)),
    ),
    "neuralforecast RNN": (
        "neuralforecast-rnn.safetensors", "neuralforecast", Choices((1, 2, 4), ignore=DECODER),
        ModelSpec("rnn", (4, 4, 4), (1, 2, 4), Continuous(2), Head("sequence", 4)),
    ),
    "neuralforecast GRU": (
        "neuralforecast-gru.safetensors", "neuralforecast", Choices((1, 3), ignore=DECODER),
        ModelSpec("gru", (4, 4), (1, 3), Continuous(2), Head("sequence", 4)),
    ),
    "neuralforecast LSTM": (
        "neuralforecast-lstm.safetensors", "neuralforecast", Choices((4, 5, 1), ignore=DECODER),
        ModelSpec("lstm", (4, 4, 4), (4, 5, 1), Continuous(2), Head("sequence", 4), fusion=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize("steps", [3, 8, 13])
@pytest.mark.parametrize("original", ORIGINALS)
def test_outputs_are_the_originals(original: str, steps: int) -> None:
    file, layout, choices, spec = ORIGINALS[original]
    imported = import_weights(read_state_dict(FIXTURES / file).arrays, layout, choices)
    assert imported.spec == spec
    with np.load((FIXTURES / file).with_suffix(".npz")) as stored:
        inputs, outputs = stored[f"inputs_{steps}"], stored[f"outputs_{steps}"]
    assert outputs.std() > 0.05  # or any network would do
    case = Case(spec, imported.weights, inputs)
    np.testing.assert_allclose(case.reference().outputs, outputs, rtol=0, atol=1e-13)
    case.assert_within_noise(case.torch_outputs())


@st.composite
def torch_modules(draw: st.DrawFn) -> tuple[torch.nn.Module, dict[str, Any]]:
    """A stacked nn.RNN, nn.GRU or nn.LSTM, with or without biases, and what `Choices` must say of it."""
    kind = draw(st.sampled_from(["tanh", "relu", "gru", "lstm"]))
    sizes = {"input_size": draw(st.integers(1, 4)), "hidden_size": draw(st.integers(1, 6))}
    options = {"num_layers": draw(st.integers(1, 4)), "bias": draw(st.booleans())}
    torch.manual_seed(draw(st.integers(0, 2**31)))
    if kind in ("gru", "lstm"):
        return (torch.nn.GRU if kind == "gru" else torch.nn.LSTM)(**sizes, **options), {}
    return torch.nn.RNN(**sizes, **options, nonlinearity=kind), {"activation": kind}


class Wrapped(torch.nn.Module):
    """A stack with a linear head, as people write it."""

    def __init__(self, rnn: torch.nn.RNNBase, head: torch.nn.Linear | None) -> None:
        super().__init__()
        self.rnn, self.fc = rnn, head

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        top: torch.Tensor = self.rnn(inputs.transpose(0, 1))[0].transpose(0, 1)
        return top if self.fc is None else self.fc(top)


@given(torch_modules(), st.integers(0, 3), st.booleans(), st.integers(1, 3), st.integers(1, 12), st.data())
def test_stacked_torch_layers_compute_the_same(
    made: tuple[torch.nn.RNNBase, dict[str, Any]], outputs: int, bias: bool, batch: int, steps: int, data: st.DataObject
) -> None:
    rnn, says = made
    model = Wrapped(rnn, torch.nn.Linear(rnn.hidden_size, outputs, bias=bias) if outputs else None)
    prefix = data.draw(st.sampled_from(["", "module.", "net.encoder."]))
    head = data.draw(st.sampled_from([Choices(), Choices(head="last"), Choices(head="last_k", steps=3)]))
    state = {f"{prefix}{name}": value.numpy(force=True) for name, value in model.state_dict().items()}
    named = {"head_weight": f"{prefix}fc"} if outputs else {}
    imported = import_weights(state, "torch", dataclasses.replace(head, **says, **named))
    inputs = torch.randn(batch, steps, rnn.input_size)
    with torch.no_grad():
        expected = model.double()(inputs.double()).numpy()
    expected = {"sequence": expected, "last": expected[:, -1], "last_k": expected[:, -3:]}[head.head or "sequence"]
    found = run_reference(imported.spec, imported.weights, inputs.numpy()).outputs
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@given(specs(), st.integers(0, 2**31))
def test_any_network_comes_back_from_other_names(spec: ModelSpec, seed: int) -> None:
    assume(not isinstance(spec.input, Tokens) or spec.input.embedding is not None)
    spec = dataclasses.replace(spec, fusion=False, reset="after")  # as all of the originals are
    weights = random_weights(spec, seed)
    choices = Choices(
        spec.dilations,
        spec.activation,
        spec.head.kind,
        spec.head.steps if spec.head.kind == "last_k" else None,
        "linear",
        "encoder" if isinstance(spec.input, Tokens) else None,
    )
    imported = import_weights(renamed(dict(weights)), "zalando", choices)
    assert imported.spec == spec
    assert list(imported.weights) == list(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(imported.weights[name], value, strict=True)


def test_head_is_found_and_without_one_the_top_layer_is_given_as_it_is() -> None:
    found = import_weights(drnn(), "zalando")
    assert (found.origins["head.weight"], found.origins["head.bias"]) == ("linear.weight", "linear.bias")
    bare = import_weights(drnn(), "zalando", Choices(ignore=("linear.*",)))
    assert bare.spec.head == Head("sequence", 4)
    assert (bare.origins["head.weight"], bare.ignored) == (None, ["linear.bias", "linear.weight"])
    np.testing.assert_array_equal(bare.weights["head.weight"], np.eye(4))
    assert not bare.weights["head.bias"].any()
    assert any("no linear head" in note for note in bare.notes)


def test_head_of_neuralforecast_is_never_guessed() -> None:
    state = {f"rnn_stack.0.{name}": value for name, value in drnn().items() if name.startswith("cells")}
    with pytest.raises(InputError, match=r"1 weights are left over: 'fc\.weight'"):
        import_weights({**state, "fc.weight": ones(3, 4)}, "neuralforecast", Choices((1, 2, 4)))


def test_own_dilations_of_each_layout() -> None:
    assert import_weights(drnn(), "zalando").spec.dilations == (1, 2, 4)
    assert import_weights(stack(3), "torch").spec.dilations == (1, 1, 1)
    state = {f"rnn_stack.0.{name}": value for name, value in drnn().items() if name.startswith("cells")}
    with pytest.raises(InputError, match="do not say the dilations of their 3 layers"):
        import_weights(state, "neuralforecast")


def test_first_dilation_above_one_makes_no_fusion_layer() -> None:
    assert import_weights(drnn(), "zalando", Choices((2, 4, 8))).spec.window == 1


def test_embedding_makes_the_input_tokens() -> None:
    imported = import_weights(drnn(encoder_weight=ones(9, 2)), "zalando", Choices(embedding="encoder"))
    assert imported.spec.input == Tokens(9, 2)
    assert imported.origins["embedding.weight"] == "encoder.weight"


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_weights_of_any_floating_type_become_float32(dtype: Any) -> None:
    state = {name: value.astype(dtype) for name, value in drnn().items()}
    imported = import_weights(state, "zalando")
    for name, value in imported.weights.items():
        np.testing.assert_array_equal(value, state[str(imported.origins[name])].astype(np.float32), strict=True)


def test_decoder_of_neuralforecast_is_left_out_on_purpose_only() -> None:
    state = read_state_dict(FIXTURES / "neuralforecast-gru.safetensors").arrays
    with pytest.raises(InputError, match="6 weights are left over") as refused:
        import_weights(state, "neuralforecast", Choices((1, 3)))
    assert "mixes time steps" in refused.value.fix
    assert "--ignore" not in refused.value.fix
    imported: Imported = import_weights(state, "neuralforecast", Choices((1, 3), ignore=DECODER))
    assert len(imported.ignored) == 6
    assert imported.doubts == []  # as it is known what the encoder is
    assert any("the encoder alone" in note for note in imported.notes)


def test_what_is_left_out_raises_a_doubt() -> None:
    state = drnn(scale=ones(1))
    assert import_weights(drnn(), "zalando", Choices((1, 2, 4))).doubts == []
    (doubt,) = import_weights(state, "zalando", Choices((1, 2, 4), ignore=("scale",))).doubts
    assert "--ignore leaves out 'scale'" in doubt.message


def test_dilations_of_cells_beside_other_weights_raise_a_doubt() -> None:
    assert import_weights(wrapped(), "zalando").doubts == []
    (doubt,) = import_weights(drnn(), "zalando").doubts
    assert "the dilations are not certain" in doubt.message
    assert "--dilations 1,1,1 --compare" in doubt.fix
    assert "--dilations 1,2,4 --compare" in doubt.fix


def test_every_network_comes_with_a_note_on_what_the_weights_cannot_show() -> None:
    assert UNSEEN in import_weights(stack(), "torch").notes


def test_tensors_are_taken_as_they_come() -> None:
    torch.manual_seed(0)
    model = Wrapped(torch.nn.GRU(2, 5, num_layers=2), torch.nn.Linear(5, 3)).to(torch.bfloat16)
    state = model.state_dict(keep_vars=True)
    imported = import_weights(state, "torch")
    for name, origin in imported.origins.items():
        assert origin is not None
        np.testing.assert_array_equal(imported.weights[name], state[origin].detach().float().numpy())


@pytest.mark.parametrize("choices", [None, Choices(), Choices(reset="after"), Choices(dilations=(1, 2))])
def test_what_a_file_says_of_its_head_is_not_overruled_by_other_choices(
    choices: Choices | None, tmp_path: Path
) -> None:
    spec = ModelSpec("gru", (4, 4), (1, 2), Continuous(1), Head("last", 2))
    torch.save(DilatedRNN(spec).state_dict(), tmp_path / "weights.pt")
    assert import_file(tmp_path / "weights.pt", tmp_path / "model.pt", choices=choices).spec == spec

from __future__ import annotations

import copy
import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from drnn_core.errors import InputError
from drnn_models import dilated_rnn
from drnn_models.cells import Cell
from drnn_models.checkpoint import load_checkpoint
from drnn_models.dilated_rnn import DilatedRNN, State, call_layer
from drnn_models.path_lengths import analyse
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import Case, cases

EXACT = 1e-12  # float64 on numbers of order one
ZOO = Path(__file__).parents[2] / "models" / "zoo"
UNEVEN = ModelSpec("rnn", (3,) * 3, (1, 2, 4), Continuous(1), Head("last_k", 2, 3))  # pruned to no even spacing
cuts = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def double(case: Case) -> tuple[DilatedRNN, torch.Tensor]:
    inputs = torch.from_numpy(case.inputs)
    return case.checkpoint().network().double(), inputs.double() if inputs.is_floating_point() else inputs


@given(cases(), st.booleans())
def test_module_computes_the_equation(case: Case, prune: bool) -> None:
    model, inputs = double(case)
    outputs = model(inputs, prune=prune).detach().numpy()
    reference = case.reference()
    assert outputs.shape == reference.outputs.shape
    np.testing.assert_allclose(outputs, reference.outputs, atol=EXACT * reference.magnitude.max(), rtol=0)


@given(cases())
def test_state_after_a_sequence_is_the_references(case: Case) -> None:
    model, inputs = double(case)
    _, state = model.advance(inputs)
    expected = case.reference().state
    assert {name: tuple(value.shape) for name, value in state.items()} == case.spec.state_shapes(len(inputs))
    for name, value in state.items():
        np.testing.assert_allclose(value.detach().numpy(), expected[name], atol=1e-9, rtol=1e-9)


@given(cases(), cuts)
def test_pieces_of_any_lengths_give_what_the_whole_gives(case: Case, lengths: list[int]) -> None:
    model, inputs = double(case)
    whole, state = model.advance(inputs)
    carried: State | None = None
    pieces, start = [], 0
    while start < case.length:
        stop = min(case.length, start + lengths[len(pieces) % len(lengths)])
        piece, carried = model.advance(inputs[:, start:stop], carried)
        pieces.append(piece)
        start = stop
    assert carried is not None
    scale = max(1.0, float(case.reference().magnitude.max()))
    for name, value in state.items():
        torch.testing.assert_close(carried[name], value, atol=1e-9, rtol=1e-9)
    joined = pieces[-1] if case.spec.head.kind == "last" else torch.cat(pieces, dim=1)[:, -whole.shape[1] :]
    torch.testing.assert_close(joined, whole, atol=EXACT * scale, rtol=0)
    torch.testing.assert_close(whole, model(inputs), atol=EXACT * scale, rtol=0)


@given(cases())
def test_pruning_changes_no_gradient(case: Case) -> None:
    model, inputs = double(case)
    gradients = []
    for prune in (True, False):
        model.zero_grad()
        model(inputs, prune=prune).square().sum().backward()
        gradients.append({name: value.grad for name, value in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-9, rtol=1e-9)


@given(cases(), st.booleans())
def test_what_is_dropped_is_what_a_layer_delivers_and_not_its_own_past(case: Case, prune: bool) -> None:
    """Halving what layers deliver is halving the weights that read it, with and without pruning."""
    model, inputs = double(case)
    halved = copy.deepcopy(model)
    for module in [*halved.layers[1:], halved.head]:
        weight = module.weight if module is halved.head else module.weight_ih_l0
        assert isinstance(weight, torch.Tensor)
        weight.data *= 0.5
    expected = halved(inputs)
    for outputs in (
        model(inputs, prune=prune, drop=lambda x: x * 0.5),
        model.advance(inputs, drop=lambda x: x * 0.5)[0],
    ):
        torch.testing.assert_close(outputs, expected, atol=1e-9, rtol=1e-9)


@given(cases(), cuts, st.integers(0, 99))
def test_dropping_in_pieces_is_dropping_in_the_whole(case: Case, lengths: list[int], seed: int) -> None:
    """Also in the fusion window, which reads what was dropped in the piece before."""
    model, inputs = double(case)
    generator = torch.Generator().manual_seed(seed)
    masks = [
        torch.rand((case.length, len(inputs), hidden), generator=generator).double().round()
        for hidden in case.spec.hidden
    ]

    def advance(start: int, stop: int, state: State | None) -> tuple[torch.Tensor, State]:
        of_layers = iter(masks)
        return model.advance(inputs[:, start:stop], state, drop=lambda x: x * next(of_layers)[start:stop])

    whole, state = advance(0, case.length, None)
    carried: State | None = None
    start, number = 0, 0
    while start < case.length:
        stop = min(case.length, start + lengths[number % len(lengths)])
        piece, carried = advance(start, stop, carried)
        start, number = stop, number + 1
    assert carried is not None
    torch.testing.assert_close(carried, state, atol=1e-9, rtol=1e-9)
    last = piece if case.spec.head.kind == "last" else piece[:, -1]
    torch.testing.assert_close(last, whole if case.spec.head.kind == "last" else whole[:, -1], atol=1e-9, rtol=1e-9)


@given(cases())
def test_rows_of_a_batch_do_not_touch_each_other(case: Case) -> None:
    model, inputs = double(case)
    together = model(inputs)
    alone = torch.cat([model(inputs[row : row + 1]) for row in range(len(inputs))])
    torch.testing.assert_close(together, alone, atol=1e-9, rtol=1e-9)


@given(cases())
def test_weights_are_those_the_spec_names(case: Case) -> None:
    state = DilatedRNN(case.spec).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == case.spec.weight_shapes()


@pytest.mark.parametrize(("cell", "reset"), [("rnn", "after"), ("gru", "after"), ("gru", "before"), ("lstm", "after")])
def test_fresh_recurrent_weights_are_orthogonal_per_gate_and_only_the_forget_gate_has_a_bias(
    cell: str, reset: str
) -> None:
    spec = ModelSpec(cell, (6, 6), (1, 2), Continuous(1), Head("last", 2), reset=reset)  # type: ignore[arg-type]
    weights = DilatedRNN(spec).state_dict()
    for layer in range(spec.layers):
        for block in weights[f"layers.{layer}.weight_hh_l0"].split(6):
            torch.testing.assert_close(block @ block.T, torch.eye(6), atol=1e-5, rtol=0)
        biases = weights[f"layers.{layer}.bias_ih_l0"] + weights[f"layers.{layer}.bias_hh_l0"]
        gates = [set(block.tolist()) for block in biases.split(6)]
        assert gates == ([{0.0}, {1.0}, {0.0}, {0.0}] if cell == "lstm" else [{0.0}] * spec.gates)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_fresh_input_weights_are_those_of_xavier_per_gate(cell: Cell) -> None:
    """torch's own lie within 1/sqrt(H), which one feature and thirty units leave behind."""
    spec = ModelSpec(cell, (30,), (1,), Continuous(1), Head("last", 2))
    torch.manual_seed(0)
    bound = math.sqrt(6 / (1 + 30))
    for block in DilatedRNN(spec).state_dict()["layers.0.weight_ih_l0"].split(30):
        assert 1.5 / math.sqrt(30) < block.abs().max() <= bound
        assert block.std() == pytest.approx(bound / math.sqrt(3), rel=0.3)


class Cells(DilatedRNN):
    """Counts the cells that are computed, of one sequence."""

    evaluations = 0

    def counted(self, layer: torch.nn.Module, x: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        self.evaluations += x.shape[0] * x.shape[1]
        return call_layer(layer, x, state)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_pruning_computes_what_the_plan_says(cell: Cell) -> None:
    spec = ModelSpec(cell, (20,) * 9, tuple(2**i for i in range(9)), Continuous(1), Head("last", 10))
    report, found = analyse(spec, 256), {}
    for prune in (True, False):
        model = Cells(spec)
        model.call_layer = model.counted
        model(torch.zeros(1, 256, 1), prune=prune)
        found[prune] = model.evaluations
    assert found == {True: report.evaluations, False: report.evaluations_unpruned}
    assert 3 * report.evaluations < report.evaluations_unpruned


@pytest.mark.parametrize("name, other", [("dilations", (1, 3)), ("activation", "relu"), ("dilations", (2, 2))])
def test_weights_of_a_network_that_computes_otherwise_are_not_taken(name: str, other: Any, tmp_path: Path) -> None:
    spec = ModelSpec("rnn", (4, 4), (1, 2), Continuous(1), Head("last", 2), fusion=False)
    torch.save(DilatedRNN(spec).state_dict(), tmp_path / "weights.pt")
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    changed = DilatedRNN(dataclasses.replace(spec, **{name: other}))
    with pytest.raises(RuntimeError, match=f"the weights are of a network with {name} .*and this one has"):
        changed.load_state_dict(weights)
    changed.load_state_dict(dict(weights))
    DilatedRNN(dataclasses.replace(spec, head=Head("sequence", 2))).load_state_dict(weights)
    torch.nn.Sequential(DilatedRNN(spec)).load_state_dict(torch.nn.Sequential(DilatedRNN(spec)).state_dict())
    with pytest.raises(RuntimeError, match=f"a network with {name}"):
        torch.nn.Sequential(changed).load_state_dict(torch.nn.Sequential(DilatedRNN(spec)).state_dict())


def test_sequences_and_states_of_other_sizes_are_refused() -> None:
    network = DilatedRNN(ModelSpec("lstm", (4, 3), (1, 2), Continuous(2), Head("last", 2)))
    nothing = "there is nothing in inputs of shape"
    for call in (network, network.advance):
        with pytest.raises(InputError, match=r"reads a float tensor \(B, T, 2\)"):
            call(torch.zeros(1, 5, 3))
        for inputs in (torch.zeros(1, 0, 2), torch.zeros(0, 5, 2)):
            with pytest.raises(InputError, match=nothing):
                call(inputs)
    _, state = network.advance(torch.zeros(2, 5, 2))
    for wrong in ({}, {**state, "more": state["l0_h"]}, {**state, "l0_h": state["l0_h"][:1]}):
        with pytest.raises(InputError, match="the state is not this network's for 2 sequences"):
            network.advance(torch.zeros(2, 5, 2), wrong)
    with pytest.raises(InputError, match="for 3 sequences"):
        network.advance(torch.zeros(3, 5, 2), state)


class Copies(TorchDispatchMode):
    """The operators that bring a tensor from one device to another, or a value to the host: they hold up the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        devices = {value.device for value in (*args, result) if isinstance(value, torch.Tensor)}
        if len(devices) > 1 or "_local_scalar_dense" in str(func):
            self.found.append(str(func))
        return result


@pytest.mark.parametrize("task", ["copy-memory", "pixel-mnist", "ptb-char", "speaker-id"])
def test_only_the_first_call_copies_from_the_host(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU the device without data, "meta", takes its part; torch's own layers, slow there, do nothing."""
    monkeypatch.setattr(
        dilated_rnn,
        "_run",
        lambda _call, _layer, rows, lines: (rows.new_empty(*rows.shape[:2], lines[0].shape[2]), lines),
    )
    checkpoint = load_checkpoint(ZOO / task / "model.pt")
    model, tokens = checkpoint.network().to("meta"), checkpoint.spec.input.kind == "tokens"
    shape = (2, checkpoint.task["length"])
    inputs = (
        torch.zeros(shape, dtype=torch.int64, device="meta")
        if tokens
        else torch.zeros(*shape, checkpoint.spec.input.width, device="meta")
    )
    with Copies() as first:
        model(inputs)
    assert bool(first.found) == (task in ("copy-memory", "speaker-id"))  # whose pruned steps are unevenly spaced
    with Copies() as second:
        model(inputs)
    assert second.found == []


def test_kept_indices_are_of_their_length_and_belong_to_no_state() -> None:
    model = DilatedRNN(UNEVEN)
    names, inputs = list(model.state_dict()), torch.randn(2, 30, 1)
    for length in (21, 30, 22, 21):
        torch.testing.assert_close(model(inputs[:, :length]), model(inputs[:, :length], prune=False))
    assert model._indices
    assert list(model.state_dict()) == names
    DilatedRNN(UNEVEN).load_state_dict(model.state_dict(), strict=True)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert other._indices == {}
        torch.testing.assert_close(other(inputs), model(inputs))


def test_a_network_trains_also_after_it_was_evaluated() -> None:
    """What inference mode makes cannot be part of a backward pass."""
    model, inputs = DilatedRNN(UNEVEN), torch.randn(2, 21, 1)
    with torch.inference_mode():
        model(inputs)
    model(inputs).sum().backward()
    assert model.layers[0].weight_ih_l0.grad is not None


def test_tracing_leaves_no_stand_ins_behind() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        model = DilatedRNN(UNEVEN)
        model(torch.zeros(2, 21, 1))
    assert model._indices == {}

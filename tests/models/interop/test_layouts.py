"""Files whose names say that there is no stack of plain recurrent layers in them, or another one than asked for."""

from __future__ import annotations

import pytest
import torch

from drnn_core.errors import InputError
from drnn_models.interop.convert import Choices, import_weights
from drnn_models.interop.layouts import Layout, find_layers
from drnn_models.interop.state_dict import read_state_dict
from tests.models.interop.foreign_states import FIXTURES, State, drnn, ones, stack

DECODER = ("context_adapter.*", "mlp_decoder.*")

REFUSED: dict[str, tuple[State, Layout, Choices, str, str]] = {
    "nothing": ({}, "torch", Choices(), "no recurrent layers in it; its weights are none", ""),
    "cells without the module": (
        {"weight_ih": ones(4, 2), "weight_hh": ones(4, 4)}, "torch", Choices(), "no recurrent layers", "nn.RNN",
    ),
    "zalando as torch": (drnn(), "torch", Choices(), "not those of layout torch but of zalando", "--layout zalando"),
    "torch as zalando": (stack(), "zalando", Choices(), "but of torch", "--layout torch"),
    "neuralforecast as zalando": (
        {f"model.rnn_stack.0.{name}": value for name, value in drnn().items()}, "zalando", Choices(),
        "but of neuralforecast", "--layout neuralforecast",
    ),
    "bidirectional": (
        {n: v.numpy(force=True) for n, v in torch.nn.GRU(2, 3, bidirectional=True).state_dict().items()},
        "torch", Choices(), "'bias_hh_l0_reverse' belongs to a bidirectional layer", "",
    ),
    "projection": (
        {n: v.numpy(force=True) for n, v in torch.nn.LSTM(2, 4, proj_size=3).state_dict().items()},
        "torch", Choices(), "'weight_hr_l0' belongs to a projection", "",
    ),
    "QRNN": ({"cells.0.layers.0.linear.weight": ones(9, 2)}, "zalando", Choices(), "belongs to QRNN", ""),
    "a cell of one's own": ({"cells.0.cell.weight_ih": ones(9, 2)}, "zalando", Choices(), "not one of torch's", ""),
    "second group": (
        {f"rnn_stack.{group}.{name}": value for group in (0, 1) for name, value in drnn().items()},
        "neuralforecast", Choices(), "group of layers rnn_stack.1: neuralforecast adds", "single group",
    ),
    "second group alone": (
        {f"rnn_stack.{group}.{name}": value for group in (0, 1) for name, value in drnn().items()},
        "neuralforecast", Choices(ignore=("rnn_stack.0.*",)), "group of layers rnn_stack.1", "",
    ),
    "two stacks": (
        {f"{part}.{name}": value for part in ("down", "up") for name, value in stack().items()}, "torch", Choices(),
        "2 modules with recurrent layers, 'down.', 'up.'", "--ignore 'up.*'",
    ),
    "list of layers": (
        {f"layers.{layer}.{name}": value for layer in (0, 1) for name, value in stack(1).items()}, "torch", Choices(),
        "layout torch is one module with num_layers", "rename them in the file to cells.0.",
    ),
    "layer missing in the middle": (
        {name: value for name, value in drnn().items() if "cells.1" not in name}, "zalando", Choices(),
        "layer 1 is missing: there are 2 layers, numbered up to 2", "",
    ),
    "far layer": (stack(weight_ih_l9999=ones(12, 3)), "torch", Choices(), "layer 2 is missing", ""),
    "one bias of two": (
        drnn(cells_1_bias_ih_l0=None), "zalando", Choices(), "'cells.1.weight_ih_l0' but no bias_ih", "",
    ),
    "no recurrent weight": (
        drnn(cells_2_weight_hh_l0=None), "zalando", Choices(), "'cells.2.weight_ih_l0' but no weight_hh", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_imported(case: str) -> None:
    state, layout, choices, says, advice = REFUSED[case]
    with pytest.raises(InputError) as refused:
        import_weights(state, layout, choices)
    assert says in refused.value.message
    assert advice in refused.value.fix
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("file, says", [
    ("neuralforecast-groups", "neuralforecast adds the input of every group but the first"),
    ("neuralforecast-reslstm", "'rnn_stack.0.cells.0.cell.weight_ic' belongs to ResLSTM"),
    ("neuralforecast-attentivelstm", "belongs to AttentiveLSTM"),
])  # fmt: skip
def test_originals_of_other_kinds_are_refused_by_name(file: str, says: str) -> None:
    state = read_state_dict(FIXTURES / f"{file}.safetensors").arrays
    with pytest.raises(InputError) as refused:
        import_weights(state, "neuralforecast", Choices(ignore=DECODER))
    assert says in refused.value.message


@pytest.mark.parametrize("prefix", ["", "module.", "net.drnn."])
def test_layers_are_found_behind_any_prefix(prefix: str) -> None:
    names = [prefix + name for name in drnn()]
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    expected = [{part: f"{prefix}cells.{layer}.{part}_l0" for part in parts} for layer in range(3)]
    assert find_layers(names, "zalando") == expected


def test_eleventh_layer_comes_after_the_second() -> None:
    names = list(reversed(stack(11)))
    assert [layer["weight_hh"] for layer in find_layers(names, "torch")] == [f"weight_hh_l{n}" for n in range(11)]

"""Files whose names say that there is no stack of plain recurrent layers in them, or another one than asked for."""

from __future__ import annotations

import pytest
import torch

from drnn_core.errors import InputError
from drnn_models.interop.choices import Choices
from drnn_models.interop.convert import import_weights
from drnn_models.interop.layouts import Layout, choose_layout, find_layers
from drnn_models.interop.state_dict import read_state_dict
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.models.interop.foreign_states import FIXTURES, State, check_refused, drnn, ones, stack
from tests.networks import random_weights

OWN = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
DECODER = ("context_adapter.*", "mlp_decoder.*")

REFUSED: dict[str, tuple[State, Layout, Choices, str, str]] = {
    "nothing": ({}, "torch", Choices(), "no recurrent layers in it; its weights are none", ""),
    "cells without the module": (
        {"weight_ih": ones(4, 2), "weight_hh": ones(4, 4)}, "torch", Choices(), "no recurrent layers", "nn.RNN",
    ),
    "zalando as torch": (
        drnn(), "torch", Choices(), "3 recurrent modules, and does not say their dilations",
        "DRNN made them, with dilations 1, 2, 4, ..., type: --layout zalando --compare",
    ),
    "cells of one's own as torch": (
        drnn(), "torch", Choices(), "does not say their dilations", "type: --layout torch --dilations 1,1,1 --compare",
    ),
    "QRNN as torch": (
        {"cells.0.layers.0.linear.weight": ones(9, 2)}, "torch", Choices(), "but of zalando", "--layout zalando",
    ),
    "this project's own as torch": (
        dict(random_weights(OWN, 0)), "torch", Choices(), "but of drnn", "type: --layout drnn --dilations D0,D1",
    ),
    "torch as this project's own": (stack(), "drnn", Choices(), "but of torch", "--layout torch"),
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
        "2 recurrent modules, 'down', 'up', and does not say how they are connected", "--layer BOTTOM ... --layer TOP",
    ),
    "two lists": (
        {f"{part}.0.{name}": value for part in ("down", "up") for name, value in stack().items()}, "torch", Choices(),
        "2 recurrent modules, 'down.0', 'up.0', and does not say how they are connected", "save its own state dict",
    ),
    "two stacks of zalando's": (
        {f"{part}.{name}": value for part in ("down", "up") for name, value in drnn().items()}, "zalando", Choices(),
        "2 modules with recurrent layers, 'down.', 'up.'", "save its own state dict",
    ),
    "list of layers": (
        {f"rnns.{layer}.{name}": value for layer in (0, 1) for name, value in stack(1).items()}, "torch", Choices(),
        "2 recurrent modules, and does not say their dilations", "type: --dilations 1,1 --compare original.npz",
    ),
    "module that is not there": (
        stack(), "torch", Choices(layers=("rnn",)), "--layer 'rnn': there is no such recurrent module", "",
    ),
    "module named twice": (
        {f"a.{name}": value for name, value in stack().items()}, "torch", Choices(layers=("a", "a")), "twice", "",
    ),
    "layers in another layout": (drnn(), "zalando", Choices(layers=("cells.0",)), "--layer is for layout torch", ""),
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
    check_refused(*REFUSED[case])


@pytest.mark.parametrize("names, layout", [
    (list(drnn()), "cells"), (list(stack()), "torch"), ([f"rnns.1.{name}" for name in stack()], "torch"),
    ([f"a.rnn_stack.0.{name}" for name in drnn()], "neuralforecast"), (list(OWN.weight_shapes()), "drnn"),
    ([f"module.{name}" for name in OWN.weight_shapes()], "drnn"),
    ([name for name in OWN.weight_shapes() if name != "head.bias"], "torch"), ([*OWN.weight_shapes(), "fc"], "torch"),
    (["fc.weight"], "nothing"),
])  # fmt: skip
def test_layout_is_chosen_where_the_names_show_it(names: list[str], layout: str) -> None:
    if layout in ("cells", "nothing"):
        with pytest.raises(InputError) as refused:
            choose_layout(names)
        assert ("--layout zalando" in refused.value.fix) == (layout == "cells")
        assert ("--layout torch --dilations 1,1,1" in refused.value.fix) == (layout == "cells")
    else:
        assert choose_layout(names) == layout


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


def test_modules_of_a_list_come_in_the_order_of_their_numbers() -> None:
    names = [f"rnns.{number}.{name}" for number in (10, 2, 0) for name in stack()]
    modules = [layer["weight_hh"].partition(".weight")[0] for layer in find_layers(names, "torch")]
    assert modules == ["rnns.0", "rnns.0", "rnns.2", "rnns.2", "rnns.10", "rnns.10"]


def test_modules_that_are_named_come_in_that_order_and_no_others() -> None:
    names = [f"{module}.{name}" for module in ("a", "b", "c") for name in stack(1)]
    layers = find_layers(names, "torch", ("c", "a"))
    assert [layer["weight_hh"] for layer in layers] == ["c.weight_hh_l0", "a.weight_hh_l0"]


def test_eleventh_layer_comes_after_the_second() -> None:
    names = list(reversed(stack(11)))
    assert [layer["weight_hh"] for layer in find_layers(names, "torch")] == [f"weight_hh_l{n}" for n in range(11)]

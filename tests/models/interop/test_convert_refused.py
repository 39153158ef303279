"""What is no network of a layout is refused, whatever names and shapes it has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_models.interop.choices import Choices
from drnn_models.interop.convert import import_weights
from drnn_models.interop.layouts import Layout
from tests.models.interop.foreign_states import State, check_refused, drnn, ones, stack

REFUSED: dict[str, tuple[State, Layout, Choices, str, str]] = {
    "rows that are no gates": (
        drnn(cells_0_weight_hh_l0=ones(13, 4)), "zalando", Choices(), "13 rows for 4 columns, and not 1 (RNN)", "",
    ),
    "two gates": (drnn(cells_0_weight_hh_l0=ones(8, 4)), "zalando", Choices(), "8 rows for 4 columns", ""),
    "vector for a matrix": (drnn(cells_0_weight_hh_l0=ones(12)), "zalando", Choices(), "(12,), expected a matrix", ""),
    "width nought": (drnn(cells_0_weight_hh_l0=ones(12, 0)), "zalando", Choices(), "expected a matrix", ""),
    "layers that do not fit": (
        drnn(cells_1_weight_ih_l0=ones(12, 5)), "zalando", Choices(),
        "'cells.1.weight_ih_l0' has shape (12, 5), the others call for (12, 4)", "",
    ),
    "gates that do not fit": (
        drnn(cells_1_weight_ih_l0=ones(16, 4)), "zalando", Choices(), "has shape (16, 4), the others call for", "",
    ),
    "short bias": (drnn(cells_0_bias_hh_l0=ones(11)), "zalando", Choices(), "has shape (11,), the others", ""),
    "bias of the head": (drnn(linear_bias=ones(5)), "zalando", Choices(), "'linear.bias' has shape (5,)", ""),
    "several cells": (
        drnn(cells_1_weight_hh_l0=ones(16, 4)), "zalando", Choices(), "several kinds: gru, lstm, gru", "",
    ),
    "NaN": (
        drnn(cells_1_bias_hh_l0=np.full(12, np.nan, np.float32)), "zalando", Choices(),
        "'cells.1.bias_hh_l0' holds 12 values that are NaN", "",
    ),
    "beyond float32": (drnn(linear_bias=np.full(3, 1e300)), "zalando", Choices(), "'linear.bias' holds 3 values", ""),
    "whole numbers": (
        drnn(cells_1_bias_hh_l0=ones(12, dtype=np.int64)), "zalando", Choices(), "'cells.1.bias_hh_l0' has type int64",
        "",
    ),
    "layers after the head": (
        drnn(out_weight=ones(2, 3), out_bias=ones(2)), "zalando", Choices(), "4 weights are left over: 'linear.bias'",
        "A head of several layers",
    ),
    "batch normalisation": (
        drnn() | {"bn.weight": ones(4), "bn.bias": ones(4), "bn.running_mean": ones(4), "bn.running_var": ones(4)},
        "zalando", Choices(), "4 weights are left over", "Batch normalisation has no place",
    ),
    "no such head": (drnn(), "zalando", Choices(head_weight="fc"), "--head-weight 'fc': there is no such weight", ""),
    "head of another width": (
        drnn(fc_weight=ones(3, 5)), "zalando", Choices(head_weight="fc"), "(3, 5), but the top layer gives 4", "",
    ),
    "no such embedding": (drnn(), "zalando", Choices(embedding="emb"), "--embedding 'emb': there is no such", ""),
    "layer as head": (
        drnn(), "zalando", Choices(head_weight="cells.1.weight_hh_l0"), "there is no such weight", "",
    ),
    "ignore that fits nothing": (drnn(), "zalando", Choices(ignore=("fc.*",)), "--ignore 'fc.*' fits no weight", ""),
    "too few dilations": (drnn(), "zalando", Choices((1, 2)), "2 dilations for 3 layers", ""),
    "dilation nought": (drnn(), "zalando", Choices((1, 0, 2)), "spec.dilations[1]", ""),
    "relu in a GRU": (drnn(), "zalando", Choices(activation="relu"), "'relu' is only for cell 'rnn'", ""),
    "last_k without steps": (drnn(), "zalando", Choices(head="last_k"), "how many of the last steps", "--steps"),
    "steps without last_k": (drnn(), "zalando", Choices(steps=3), "only head 'last_k' takes steps", ""),
    "65 layers": (stack(65), "torch", Choices(), "spec.hidden: must be a list of 1 to 64", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_imported(case: str) -> None:
    check_refused(*REFUSED[case])


@st.composite
def altered_states(draw: st.DrawFn) -> State:
    """A right state dict, or none, with a few weights taken out, renamed or replaced."""
    state = dict(draw(st.sampled_from([drnn(), stack(), {}])))
    names = st.text(max_size=12) | st.sampled_from(sorted(drnn() | stack()))
    shapes = [ones(12, 4), ones(12, 2), ones(12), ones(), ones(0, 4), ones(3, 4, dtype=np.int8), np.array("x")]
    for name in draw(st.lists(names, max_size=4)):
        state.pop(name, None)
        if draw(st.booleans()):
            state[name] = draw(st.sampled_from(shapes))
    return state


@given(altered_states(), st.sampled_from(["zalando", "neuralforecast", "torch"]))
def test_any_names_and_shapes_are_a_network_or_an_input_error(state: State, layout: Layout) -> None:
    try:
        imported = import_weights(state, layout)
    except InputError as error:
        assert all(line.isprintable() for line in str(error).split("\n"))
    else:
        assert {name: value.shape for name, value in imported.weights.items()} == imported.spec.weight_shapes()
        assert {name for name in imported.origins.values() if name} | set(imported.ignored) == set(state)

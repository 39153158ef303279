"""State dicts under the names of other code, and where the fixtures made with that code are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_models.interop.choices import Choices
from drnn_models.interop.convert import import_weights
from drnn_models.interop.layouts import Layout
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import random_weights

FIXTURES = Path(__file__).parents[1] / "fixtures"
State = dict[str, NDArray[Any]]


def renamed(weights: State) -> State:
    """Our own weights under the names of a module around zalando's DRNN."""
    return {
        name.replace("layers.", "drnn.cells.").replace("head.", "linear.").replace("embedding.", "encoder."): value
        for name, value in weights.items()
    }


def drnn(**changes: NDArray[Any] | None) -> State:
    """A GRU of three layers of width 4 on 2 features; changes: "cells_1_bias_ih_l0" and the like, None to take out."""
    weights = random_weights(ModelSpec("gru", (4, 4, 4), (1, 2, 4), Continuous(2), Head("sequence", 3)), 0)
    state = {name.replace("drnn.", ""): value for name, value in renamed(dict(weights)).items()}
    for name, value in changes.items():
        where = name.replace("cells_", "cells.").replace("_bias", ".bias").replace("_weight", ".weight")
        state.pop(where, None)
        if value is not None:
            state[where] = value
    return state


def wrapped() -> State:
    """The same in a module of its own, `drnn`, as in a module around zalando's DRNN."""
    return {f"drnn.{name}" if name.startswith("cells") else name: value for name, value in drnn().items()}


def ones(*shape: int, dtype: Any = np.float32) -> NDArray[Any]:
    return np.ones(shape, dtype)


def stack(layers: int = 2, **changes: NDArray[Any]) -> State:
    """The state dict of nn.LSTM(2, 3, layers), changed."""
    return {n: v.numpy(force=True) for n, v in torch.nn.LSTM(2, 3, layers).state_dict().items()} | changes


def check_refused(state: State, layout: Layout, choices: Choices, says: str, advice: str) -> None:
    """That it cannot be imported, for a reason that can be read and with what to do."""
    with pytest.raises(InputError) as refused:
        import_weights(state, layout, choices)
    assert says in refused.value.message
    assert advice in refused.value.fix
    assert len(str(refused.value)) < 1000

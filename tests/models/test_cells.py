from __future__ import annotations

from typing import get_args

import numpy as np
import onnx
import pytest
import torch

from drnn_models.cells import CELLS, Cell


def test_every_cell_has_a_row() -> None:
    assert list(CELLS) == list(get_args(Cell))


@pytest.mark.parametrize(
    ("cell", "torch_order", "onnx_order"), [("rnn", "h", "h"), ("gru", "rzn", "zrn"), ("lstm", "ifgo", "iofg")]
)
def test_orders_are_those_of_the_libraries_documentation(cell: Cell, torch_order: str, onnx_order: str) -> None:
    assert (CELLS[cell].torch, CELLS[cell].onnx) == (torch_order, onnx_order)


@pytest.mark.parametrize("cell", [cell for cell, info in CELLS.items() if info.module])
def test_gates_and_states_are_those_of_torch_and_onnx(cell: Cell) -> None:
    info = CELLS[cell]
    module = getattr(torch.nn, info.module)(2, 3)
    _, state = module(torch.zeros(1, 1, 2))
    assert len(module.weight_hh_l0) == 3 * len(info.torch)
    assert len(state if isinstance(state, tuple) else (state,)) == len(info.states)
    schema = onnx.defs.get_schema(info.operator, 13)
    assert [output.name for output in schema.outputs] == ["Y", *(f"Y_{state}" for state in info.states)]


@pytest.mark.parametrize("cell", [cell for cell, info in CELLS.items() if info.forget_gate])
def test_the_forget_gate_is_the_one_that_keeps_the_state(cell: Cell) -> None:
    """With its bias far up and all else zero, what is carried from step to step stays as it is."""
    info = CELLS[cell]
    module = getattr(torch.nn, info.module)(2, 3)
    rows = 3 * info.torch.index(info.forget_gate)
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
        module.bias_ih_l0[rows : rows + 3] = 50.0
        kept = torch.tensor([[[0.5, -2.0, 3.0]]])
        _, (_, after) = module(torch.zeros(1, 1, 2), (torch.zeros_like(kept), kept))
    np.testing.assert_array_equal(after.numpy(), kept.numpy())

from __future__ import annotations

import pytest

from drnn_models.gates import GATES


@pytest.mark.parametrize(
    ("cell", "torch_order", "onnx_order"), [("rnn", "h", "h"), ("gru", "rzn", "zrn"), ("lstm", "ifgo", "iofg")]
)
def test_orders_are_those_of_the_libraries_documentation(cell: str, torch_order: str, onnx_order: str) -> None:
    assert (GATES[cell].torch, GATES[cell].onnx) == (torch_order, onnx_order)

"""The one table of cells: their gates, states and choices. Their arithmetic is with those who compute it.

A weight matrix of a recurrent layer stacks one block of H rows per gate, and every library stacks them differently.
Checkpoints, bundles and the reference use torch's order; the ONNX emitter reorders with this table.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

Cell = Literal["rnn", "gru", "lstm"]
Activation = Literal["tanh", "relu"]
Reset = Literal["after", "before"]


@dataclasses.dataclass(frozen=True)
class CellInfo:
    """What a cell is made of.

    Attributes:
        torch: Gate blocks of torch's weights from top to bottom.
        onnx: Gate blocks of ONNX's weights; the same letter means the same gate as in `torch`.
        operator: The ONNX operator.
        module: The class of torch.nn whose state dicts can be imported, or "".
        states: What a layer carries from step to step, a letter each.
        forget_gate: The gate whose bias starts at 1, or "".
        activations: The activations that a spec may choose.
        resets: Where a spec may reset, relative to the recurrent product.
    """

    torch: str
    onnx: str
    operator: str
    module: str
    states: str = "h"
    forget_gate: str = ""
    activations: tuple[Activation, ...] = ("tanh",)
    resets: tuple[Reset, ...] = ("after",)


# h: the only block of an RNN. r, z, n: reset, update, new (ONNX calls n "h"). i, f, g, o: input, forget, cell, output
# (ONNX calls g "c"). Sources: torch.nn.GRU and torch.nn.LSTM, ONNX operators RNN, GRU and LSTM (opset 7 to 22).
CELLS: dict[Cell, CellInfo] = {
    "rnn": CellInfo("h", "h", "RNN", "RNN", activations=("tanh", "relu")),
    "gru": CellInfo("rzn", "zrn", "GRU", "GRU", resets=("after", "before")),
    "lstm": CellInfo("ifgo", "iofg", "LSTM", "LSTM", states="hc", forget_gate="f"),
}

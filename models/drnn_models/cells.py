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

    torch, onnx: gate blocks from top to bottom; the same letter means the same gate in both libraries. operator: of
    ONNX. module: of torch.nn, whose state dicts can be imported; "" where there is none. states: the vectors that are
    carried from step to step, a letter each. forget_gate: whose bias starts at 1. activations, resets: that a spec may
    choose.
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

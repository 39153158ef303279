"""The one table of gate orders.

A weight matrix of a recurrent layer stacks one block of H rows per gate, and every library stacks them differently.
Checkpoints, bundles and the reference use torch's order; the ONNX emitter reorders with this table.
"""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class GateOrder:
    """Gate blocks from top to bottom. The same letter means the same gate in both libraries."""

    torch: str
    onnx: str

    def permutation(self, *, to: Literal["torch", "onnx"]) -> tuple[int, ...]:
        """Block `i` of the wanted order is block `permutation[i]` of the other."""
        source, target = (self.torch, self.onnx) if to == "onnx" else (self.onnx, self.torch)
        return tuple(source.index(gate) for gate in target)


# h: the only block of an RNN. r, z, n: reset, update, new (ONNX calls n "h"). i, f, g, o: input, forget, cell, output
# (ONNX calls g "c"). Sources: torch.nn.GRU and torch.nn.LSTM, ONNX operators RNN, GRU and LSTM (opset 7 to 22).
GATES: dict[str, GateOrder] = {
    "rnn": GateOrder(torch="h", onnx="h"),
    "gru": GateOrder(torch="rzn", onnx="zrn"),
    "lstm": GateOrder(torch="ifgo", onnx="iofg"),
}

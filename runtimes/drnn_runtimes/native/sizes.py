"""The memory that the functions of a compiled network take: what `drnn.h` says, as numbers and as constants of C."""

from __future__ import annotations

import dataclasses
import re

from drnn_models.spec import ModelSpec
from drnn_runtimes.native.network import padded

_BLOCK, _ROWS, _RUN_VALUES, _RUN_SEQUENCES = 256, 16, 1 << 16, 4  # as in drnn.h; the self-test compares


@dataclasses.dataclass(frozen=True)
class MemorySizes:
    """Bytes for a network.

    Attributes:
        header: Of a stream, in front of its delay lines.
        state: Of the delay lines of a sequence.
        row: Of the widest row of values.
        seen: Of what the head reads for an output.
        work: Of a layer's sums.
        layers: The number of layers.
        answers: Steps that the head answers; 0 for all.
    """

    header: int
    state: int
    row: int
    seen: int
    work: int
    layers: int
    answers: int

    @classmethod
    def of(cls, spec: ModelSpec, header: str) -> MemorySizes:
        """The sizes for a network.

        Args:
            spec: The network.
            header: `PackedNetwork.header` of it.
        """
        macros = {name: int(value) for name, value in re.findall(r"^#define DRNN_(\w+) (\d+)$", header, re.MULTILINE)}
        return cls(
            header=-(-4 * (spec.layers + 2) // 32) * 32,
            state=4 * macros["STATE"],
            row=4 * macros["WIDEST"],
            seen=4 * macros["WINDOW"] * macros["TOP"],
            work=4 * _ROWS * max((spec.gates + 2) * macros["WIDEST"], padded(spec.head.outputs)),
            layers=spec.layers,
            answers=macros["LAST"],
        )

    def stream(self, batch: int) -> int:
        """The state of `batch` sequences."""
        return self.header + batch * self.state

    def push(self, batch: int) -> int:
        """Scratch memory of pushes into a stream of `batch` sequences."""
        return max(batch, _BLOCK) * 3 * self.row + batch * self.seen + self.work

    def run(self, batch: int, length: int) -> int:
        """Scratch memory of whole sequences.

        Args:
            batch: How many.
            length: Their time steps.
        """
        if not self.answers:
            return self.stream(batch) + self.push(batch)
        together = min(batch, max(_RUN_SEQUENCES, _RUN_VALUES * 4 // (length * self.row)))
        per_step = together * 3 * self.row + 4 * (self.layers + 2)
        return length * per_step + batch * self.answers * self.seen + self.work + self.row

    def macros(self, prefix: str) -> dict[str, str]:
        """C expressions of the three, that are constants where their arguments are.

        Args:
            prefix: What the names of the macros begin with.
        """
        rows = f"((batch) > {_BLOCK} ? (size_t)(batch) : {_BLOCK})"
        at_least = f"{_RUN_VALUES * 4} / {self.row} / (length)"
        at_least = f"({at_least} > {_RUN_SEQUENCES} ? {at_least} : {_RUN_SEQUENCES})"
        together = f"(size_t)((batch) < {at_least} ? (batch) : {at_least})"
        fixed = self.work + self.row
        run = (
            f"((size_t)(length) * ({together} * {3 * self.row} + {4 * (self.layers + 2)}) + "
            f"(size_t)(batch) * {self.answers * self.seen} + {fixed})"
        )
        both = f"({prefix}_STREAM_BYTES(batch) + {prefix}_PUSH_BYTES(batch))"
        return {
            "STREAM_BYTES": f"({self.header} + (size_t)(batch) * {self.state})",
            "PUSH_BYTES": f"({rows} * {3 * self.row} + (size_t)(batch) * {self.seen} + {self.work})",
            "RUN_BYTES": run if self.answers else both,
        }

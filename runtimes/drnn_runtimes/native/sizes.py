"""The memory that the functions of a compiled network take: what `drnn.h` says, as numbers and as constants of C."""

from __future__ import annotations

import dataclasses

from drnn_models.spec import ModelSpec
from drnn_runtimes.native.network import PackedNetwork, padded

_BLOCK, _ROWS, _RUN_VALUES, _RUN_SEQUENCES = 256, 32, 1 << 16, 4  # as in drnn.h; the self-test compares


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
    def of(cls, spec: ModelSpec, packed: PackedNetwork) -> MemorySizes:
        """The sizes for a network.

        Args:
            spec: The network.
            packed: It as `drnn.h` describes it.
        """
        widest, window, top = packed.sizes["widest"], spec.window, spec.hidden[-1]
        lines = sum((d + 1) * padded(h) for d, h in zip(spec.dilations, spec.hidden, strict=True)) * len(
            spec.cell_states
        )
        return cls(
            header=4 * padded(spec.layers + 2),
            state=4 * (lines + (window * padded(top) if window > 1 else 0)),
            row=4 * widest,
            seen=4 * window * top,
            work=4 * _ROWS * max((spec.gates + 2) * widest, padded(spec.head.outputs)),
            layers=spec.layers,
            answers=packed.sizes["last"],
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
        together = min(batch, max(_RUN_SEQUENCES, _RUN_VALUES * 4 // self.row // length))
        plan = 4 * (length + 5) * (self.layers + 2)
        seen = batch * min(self.answers, length) * self.seen
        return (together * length * 3 + 2 * self.layers + 1) * self.row + seen + self.work + plan

    def macros(self, prefix: str) -> dict[str, str]:
        """C expressions of the three, that are constants where their arguments are.

        Args:
            prefix: What the names of the macros begin with.
        """
        rows = f"((batch) > {_BLOCK} ? (size_t)(batch) : {_BLOCK})"
        most = f"{_RUN_VALUES * 4 // self.row} / ((length) > 0 ? (length) : 1)"  # of 0 the size is asked before the run
        most = f"({most} > {_RUN_SEQUENCES} ? {most} : {_RUN_SEQUENCES})"
        together = f"(size_t)((batch) < {most} ? (batch) : {most})"
        answers = f"((length) < {self.answers} ? (size_t)(length) : {self.answers})"
        step, plan = 3 * self.row, 4 * (self.layers + 2)
        run = (
            f"({together} * (size_t)(length) * {step} + (size_t)(length) * {plan} + "
            f"(size_t)(batch) * {answers} * {self.seen} + {self.work + (2 * self.layers + 1) * self.row + 5 * plan})"
        )
        both = f"({prefix}_STREAM_BYTES(batch) + {prefix}_PUSH_BYTES(batch))"
        return {
            "STREAM_BYTES": f"({self.header} + (size_t)(batch) * {self.state})",
            "PUSH_BYTES": f"({rows} * {step} + (size_t)(batch) * {self.seen} + {self.work})",
            "RUN_BYTES": run if self.answers else both,
        }

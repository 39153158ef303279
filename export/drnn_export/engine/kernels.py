"""The kernels of an engine, read back from what NVIDIA's builder logs of it ("Layers:", with detailed profiling).

That works without a GPU, where the engine inspector does not.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from drnn_core.types import PRECISIONS, Precision

_LAYER = re.compile(r"^Name: .*?, LayerType: (\w+),", re.MULTILINE)
_DATA_TYPE = re.compile(r"Datatype: (\w+)")
_CONTROL = {"memset", "add", "cjmp", "jmp"}  # counters and jumps of loops, not work on the GPU's cores
_MARKS = {precision: info.kernel for precision, info in PRECISIONS.items() if info.kernel}


@dataclasses.dataclass(frozen=True)
class Kernels:
    """`count`: kernels of the engine, those in a loop once. `loops`: on the device. `types`: NVIDIA's names."""

    count: int
    loops: int
    types: tuple[str, ...]

    def mismatch(self, precision: Precision) -> str:
        """What keeps these kernels from being of the precision that was asked for, or ""."""
        others = sorted(({*_MARKS.values()} - {_MARKS.get(precision, "")}) & {*self.types})
        if others:
            return f"its kernels hold {', '.join(others)}, which {precision} has not"
        if precision in _MARKS and _MARKS[precision] not in self.types:
            return f"none of its kernels holds {_MARKS[precision]}"
        return ""


def read_kernels(messages: Sequence[str]) -> Kernels | None:
    """Of the builder's messages that start with "Layers:"; None where there is none. Of several, the first."""
    for text in messages:
        kinds = _LAYER.findall(text)
        if kinds:
            loops = sum(kind in ("cjmp", "jmp") for kind in kinds)
            types = tuple(sorted(set(_DATA_TYPE.findall(text))))
            return Kernels(sum(kind not in _CONTROL for kind in kinds), loops, types)
    return None

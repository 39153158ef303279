"""Small types that export and runtimes share."""

from __future__ import annotations

import dataclasses
from typing import Literal

Emission = Literal["fused", "unrolled"]  # one ONNX operator per layer, or per-step nodes with static shapes


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """An input or output of a graph or engine. `dtype`: NumPy's name. `shape`: -1 for a free batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Availability:
    """Whether a runtime or builder works here. `detail`: its version and device, or why not. `fix`: what to do then."""

    usable: bool
    detail: str
    fix: str = ""

"""Small types that tasks, export and runtimes share. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# fused: one ONNX operator per layer. unrolled: nodes for every step, with static shapes. mixed: long, narrow layers as
# operators and short, wide ones unrolled. skewed: all layers of a step as one batched product, layer l is l steps late.
Emission = Literal["fused", "unrolled", "mixed", "skewed"]
# Of matrix products; all else is float32 (`drnn_export.emitter.precision`). int8: weights only, products in float32.
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Form = Literal["sequence", "chunk", "step"]  # whole sequences from zero, or n steps or one with states in and out


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """An input or output of a graph or engine. `dtype`: NumPy's name. `shape`: -1 for a free batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> TensorInfo:
        """Read the JSON form, `name`, `dtype` and `shape` (a list), which has been checked before."""
        return cls(entry["name"], entry["dtype"], tuple(entry["shape"]))


@dataclasses.dataclass(frozen=True)
class Availability:
    """Whether a runtime or builder works here. `detail`: its version and device, or why not. `fix`: what to do then."""

    usable: bool
    detail: str
    fix: str = ""


@dataclasses.dataclass(frozen=True)
class Examples:
    """A few real inputs with their true answers, and where they come from."""

    inputs: NDArray[np.generic]  # (N, T, C) float32, or (N, T) int64 tokens
    targets: NDArray[np.int64]  # (N,) or (N, k)
    source: str

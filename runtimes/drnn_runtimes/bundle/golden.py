"""Golden data: the inputs that every runtime is checked on, and what float64 makes of them. The file golden.npz."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.npz import reading_npz, write_npz
from drnn_core.types import Precision

REBUILD = "Export it again: drnn-export model.pt --output DIR"
_INDEX = "index"


@dataclasses.dataclass(frozen=True)
class GoldenCase:
    """Inputs with what the float64 reference makes of them.

    Attributes:
        name: For example "normal".
        inputs: (N, T, C) float32 or (N, T) int64.
        outputs: float64, (N, outputs) or (N, k, outputs); of a `stream` (N, T, outputs), what the head makes of each
            step.
        noise: The error of float32 on these inputs, see `drnn_deploy.exporter.golden`.
        targets: The true classes of real data.
        source: Where the inputs come from.
        stream: Whether the case is for graphs with state.
        narrow_noise: Precision -> its noise, of precisions other than fp32.
    """

    name: str
    inputs: NDArray[np.generic]
    outputs: NDArray[np.float64]
    noise: float
    targets: NDArray[np.int64] | None = None
    source: str = ""
    stream: bool = False
    narrow_noise: dict[str, float] = dataclasses.field(default_factory=dict)

    def noise_of(self, precision: Precision) -> float:
        """The noise of a precision.

        Raises:
            InputError: The bundle was exported without it.
        """
        if precision == "fp32":
            return self.noise
        if precision not in self.narrow_noise:
            raise InputError(f"the golden data says nothing of {precision}", REBUILD)
        return self.narrow_noise[precision]


def write_golden(path: Path, cases: Sequence[GoldenCase]) -> None:
    """Write the cases for `read_golden`, whole or not at all.

    Args:
        path: The file `golden.npz` to write.
        cases: The cases, each with a name of its own.

    Raises:
        InputError: The file cannot be written.
    """
    index = [
        {
            "name": case.name,
            "noise": case.noise,
            "narrow_noise": case.narrow_noise,
            "source": case.source,
            "labelled": case.targets is not None,
            "stream": case.stream,
        }
        for case in cases
    ]
    arrays: dict[str, NDArray[np.generic]] = {}
    for case in cases:
        arrays |= {f"{case.name}.inputs": case.inputs, f"{case.name}.outputs": case.outputs}
        if case.targets is not None:
            arrays[f"{case.name}.targets"] = case.targets
    write_npz(path, index, arrays, key=_INDEX)


def read_golden(path: Path) -> tuple[GoldenCase, ...]:
    """Read what `write_golden` wrote.

    Raises:
        InputError: The file is missing or damaged, or a case is misshapen or not finite.
    """
    with reading_npz(path, f"cannot read {path}", REBUILD, key=_INDEX) as (index, arrays):
        cases = tuple(
            GoldenCase(
                name=entry["name"],
                inputs=arrays[f"{entry['name']}.inputs"],
                outputs=arrays[f"{entry['name']}.outputs"],
                noise=float(entry["noise"]),
                targets=arrays[f"{entry['name']}.targets"] if entry["labelled"] else None,
                source=entry["source"],
                stream=entry["stream"],
                narrow_noise={str(name): float(value) for name, value in entry["narrow_noise"].items()},
            )
            for entry in index
        )
        if not cases or not all(map(_is_whole, cases)):
            raise ValueError("a case is missing, misshapen or not finite")
    return cases


def _is_whole(case: GoldenCase) -> bool:
    """Whether a comparison with the case means something."""
    outputs = case.outputs
    fits = outputs.dtype == np.float64 and outputs.ndim in (2, 3) and outputs.size and len(outputs) == len(case.inputs)
    noises = (case.noise, *case.narrow_noise.values())
    return bool(fits and np.isfinite(outputs).all() and all(0 <= noise < float("inf") for noise in noises))

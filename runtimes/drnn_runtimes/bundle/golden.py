"""Golden data: the inputs that every runtime is checked on, and what float64 makes of them. The file golden.npz."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.npz import reading_npz, write_npz
from drnn_core.plain_data import schema_error
from drnn_core.types import Precision
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle.fit import check_case, check_values
from drnn_runtimes.bundle.infos import GraphInfo
from drnn_runtimes.bundle.manifest import REBUILD

_INDEX = "index"
_SCHEMA = "drnn_runtimes.bundle", "golden.schema.json"
_SHOWN = 300  # characters of what is wrong
Array = NDArray[Any]
Part = TypeVar("Part")


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


def write_golden(path: Path, spec: ModelSpec, graphs: Sequence[GraphInfo], cases: Sequence[GoldenCase]) -> None:
    """Write the cases for `read_golden`, whole or not at all.

    Args:
        path: The file `golden.npz` to write.
        spec: The network.
        graphs: The graphs that are checked on the cases.
        cases: The cases, each with a name of its own.

    Raises:
        InputError: The file cannot be written, or a case is none of the network's.
    """
    for case in cases:
        check_case(case.name, spec, graphs, case.inputs, case.outputs, case.targets, stream=case.stream)
        check_values(case.name, spec, case.inputs, case.outputs)
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


def read_golden(path: Path, spec: ModelSpec, graphs: Sequence[GraphInfo]) -> tuple[GoldenCase, ...]:
    """Read what `write_golden` wrote.

    Args:
        path: The file.
        spec: The network.
        graphs: The graphs that are checked on the cases.

    Raises:
        InputError: The file is missing or damaged, or a case is none of the network's. The message names it.
    """
    with reading_npz(path, f"cannot read {path}", REBUILD, key=_INDEX) as (index, arrays):
        if wrong := schema_error(index, *_SCHEMA):
            raise ValueError(f"{wrong.json_path:.{_SHOWN}}: {wrong.message:.{_SHOWN}}")
        if len({entry["name"] for entry in index}) < len(index):
            raise ValueError("two cases have the same name")
        for entry in index:  # all of them, before anything large is read
            check_case(entry["name"], spec, graphs, *_parts(entry, arrays.headers), stream=entry["stream"])
        cases = tuple(_case(entry, *_parts(entry, arrays)) for entry in index)
        for case in cases:
            check_values(case.name, spec, case.inputs, case.outputs)
    return cases


def _parts(entry: Mapping[str, Any], arrays: Mapping[str, Part]) -> tuple[Part, Part, Part | None]:
    """Inputs, outputs and targets of a case."""
    names = [f"{entry['name']}.{side}" for side in ("inputs", "outputs", *(("targets",) if entry["labelled"] else ()))]
    for name in names:
        if name not in arrays:
            raise ValueError(f"it holds no {name!r:.{_SHOWN}}")
    found = [arrays[name] for name in names]
    return found[0], found[1], found[2] if entry["labelled"] else None


def _case(entry: Mapping[str, Any], inputs: Array, outputs: Array, targets: Array | None) -> GoldenCase:
    return GoldenCase(
        name=entry["name"],
        inputs=inputs,
        outputs=outputs,
        noise=float(entry["noise"]),
        targets=targets,
        source=entry["source"],
        stream=entry["stream"],
        narrow_noise={name: float(value) for name, value in entry["narrow_noise"].items()},
    )

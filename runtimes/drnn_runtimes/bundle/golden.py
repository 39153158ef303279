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
from drnn_core.types import FLOAT64
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle.fit import check_case, check_values
from drnn_runtimes.bundle.infos import GraphInfo
from drnn_runtimes.bundle.manifest import REBUILD

_INDEX = "index"
_SCHEMA = "drnn_runtimes.bundle", "golden.schema.json"
_SHOWN = 300  # characters of what is wrong
Array = NDArray[Any]
Part = TypeVar("Part")
Noise = float | NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class GoldenCase:
    """Inputs with what the float64 reference makes of them.

    Attributes:
        name: For example "normal".
        inputs: (N, T, C) float32 or (N, T) int64.
        outputs: float64, (N, outputs) or (N, k, outputs); of a `stream` (N, T, outputs), what the head makes of each
            step.
        noise: What float32 rounding does to the outputs of a sequence (`drnn_runtimes.reference.noise`): of each step
            and output, like a row of `outputs`; of old bundles one number for all.
        targets: The true classes of real data.
        source: Where the inputs come from.
        stream: Whether the case is for graphs with state.
        narrow_noise: Precision -> its noise, of precisions other than fp32, and of `FLOAT64` where it is known.
        narrow_outputs: Precision -> what float64 makes of the weights that its graphs hold, which are rounded
            (`drnn_runtimes.reference.low_precision.graph_weights`); of old bundles nothing.
        signal: What noise is held against, (outputs,): how far an output gets from what any input gives; of old bundles
            None.
        horizon: The first time step of the input after which float32's rounding drowns an output; None for none.
    """

    name: str
    inputs: NDArray[np.generic]
    outputs: NDArray[np.float64]
    noise: Noise
    targets: NDArray[np.int64] | None = None
    source: str = ""
    stream: bool = False
    narrow_noise: Mapping[str, Noise] = dataclasses.field(default_factory=dict)
    narrow_outputs: Mapping[str, NDArray[np.float64]] = dataclasses.field(default_factory=dict)
    signal: NDArray[np.float64] | None = None
    horizon: int | None = None

    @property
    def largest_noise(self) -> float:
        """The noise of the output and step that has most."""
        return float(np.max(self.noise))

    def noise_of(self, precision: str) -> Noise:
        """The noise of a precision, or of `FLOAT64`.

        Raises:
            InputError: The bundle was exported without it.
        """
        if precision in self.narrow_noise:
            return self.narrow_noise[precision]
        if precision == FLOAT64:  # an old bundle's
            return self.noise
        if precision != "fp32":
            raise InputError(f"the golden data says nothing of {precision}", REBUILD)
        return self.noise

    def judged_as(self, precision: str) -> GoldenCase:
        """The case with the outputs and the noise of a precision in place of float32's.

        Raises:
            InputError: The bundle was exported without it.
        """
        outputs = self.narrow_outputs.get(precision, self.outputs)
        return dataclasses.replace(self, outputs=outputs, noise=self.noise_of(precision), narrow_outputs={})

    def at_steps(self, steps: slice | NDArray[np.int64]) -> GoldenCase:
        """The case with these steps of its outputs alone."""

        def chosen(noise: Noise) -> Noise:
            return noise if isinstance(noise, float) else noise[steps]

        narrow = {precision: chosen(noise) for precision, noise in self.narrow_noise.items()}
        return dataclasses.replace(
            self,
            outputs=self.outputs[:, steps],
            noise=chosen(self.noise),
            narrow_noise=narrow,
            narrow_outputs={precision: outputs[:, steps] for precision, outputs in self.narrow_outputs.items()},
        )


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
            **largest_noises(case),
            "source": case.source,
            "labelled": case.targets is not None,
            "stream": case.stream,
            "horizon": case.horizon,
        }
        for case in cases
    ]
    arrays: dict[str, NDArray[np.generic]] = {}
    for case in cases:
        arrays |= {f"{case.name}.inputs": case.inputs, f"{case.name}.outputs": case.outputs}
        if case.targets is not None:
            arrays[f"{case.name}.targets"] = case.targets
        arrays |= noise_arrays(case)
    write_npz(path, index, arrays, key=_INDEX)


def largest_noises(case: GoldenCase) -> dict[str, Any]:
    """The largest noise of each precision, as JSON."""
    others = {precision: float(np.max(noise)) for precision, noise in case.narrow_noise.items()}
    return {"noise": float(np.max(case.noise)), "narrow_noise": others}


def noise_arrays(case: GoldenCase) -> dict[str, NDArray[np.generic]]:
    """What of a case is of one precision and no single number, by the names that `with_noise` asks for."""
    noises = {"fp32": case.noise, **case.narrow_noise}
    arrays: dict[str, NDArray[np.generic]] = {
        f"{case.name}.noise.{precision}": noise for precision, noise in noises.items() if not isinstance(noise, float)
    }
    arrays |= {f"{case.name}.outputs.{precision}": outputs for precision, outputs in case.narrow_outputs.items()}
    return arrays if case.signal is None else {**arrays, f"{case.name}.signal": case.signal}


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
        cases = tuple(with_noise(_case(entry, *_parts(entry, arrays)), arrays) for entry in index)
        for case in cases:
            check_values(case.name, spec, case.inputs, case.outputs)
            if not is_whole(case):
                what = f"the noise of golden case {case.name!r:.80} is misshapen, not finite or not float64"
                raise ValueError(what)
    return cases


def with_noise(case: GoldenCase, arrays: Mapping[str, NDArray[Any]]) -> GoldenCase:
    """Put what `noise_arrays` made into a case that knows the largest of each noise.

    Args:
        case: The case, with one number for each precision.
        arrays: Those of a file of golden data, by name. Old files have none of noise, which leaves the case as it is.
    """

    def scaled(precision: str, largest: Noise) -> Noise:
        if f"{case.name}.noise.{precision}" not in arrays:
            return largest
        noise = arrays[f"{case.name}.noise.{precision}"]
        if noise.dtype != np.float64:  # is refused by `is_whole`, too
            return noise
        with np.errstate(all="ignore"):  # what is not finite is refused by `is_whole`
            return noise * (largest / noise.max()) if noise.max() > 0 else np.full(noise.shape, largest)

    outputs = {precision: f"{case.name}.outputs.{precision}" for precision in case.narrow_noise}
    return dataclasses.replace(
        case,
        noise=scaled("fp32", case.noise),
        narrow_noise={precision: scaled(precision, noise) for precision, noise in case.narrow_noise.items()},
        narrow_outputs={precision: arrays[name] for precision, name in outputs.items() if name in arrays},
        signal=arrays.get(f"{case.name}.signal"),
    )


def is_whole(case: GoldenCase) -> bool:
    """Whether a comparison with the case means something."""
    outputs, signal = case.outputs, case.signal
    fits = outputs.ndim in (2, 3) and outputs.size and len(outputs) == len(case.inputs)
    every = (outputs, *case.narrow_outputs.values())
    noises = [np.asarray(noise) for noise in (case.noise, *case.narrow_noise.values())]
    return bool(
        fits
        and (case.horizon is None or isinstance(case.horizon, int))
        and all(o.dtype == np.float64 and o.shape == outputs.shape and np.isfinite(o).all() for o in every)
        and all(noise.shape in ((), outputs.shape[1:]) and _is_size(noise) for noise in noises)
        and (signal is None or (signal.shape == outputs.shape[-1:] and _is_size(signal)))
    )


def _is_size(values: Array) -> bool:
    """Whether values may be of noise or signal: float64, finite and not negative."""
    return bool(values.dtype == np.float64 and np.isfinite(values).all() and (values >= 0).all())


def _parts(entry: Mapping[str, Any], arrays: Mapping[str, Part]) -> tuple[Part, Part, Part | None]:
    """Inputs, outputs and targets of a case."""
    names = [f"{entry['name']}.{side}" for side in ("inputs", "outputs", *(("targets",) if entry["labelled"] else ()))]
    for name in names:
        if name not in arrays:
            raise ValueError(f"it holds no {name!r:.{_SHOWN}}")
    stored = [arrays[name] for name in names]
    return stored[0], stored[1], stored[2] if entry["labelled"] else None


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
        horizon=entry.get("horizon"),
    )

"""What an original module computed, saved as a file: its reader, and the code that writes one."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_core.npz import StoredArrays
from drnn_models.sequences import as_sequences, check_sequences
from drnn_models.spec import ModelSpec, Tokens

_MOST_BYTES = 1 << 28  # of all arrays in a file, unpacked
_MOST = {
    "steps of all layers": 20_000,  # each is a step of Python in every computation that is compared
    "values of all gates": 10_000_000,
    "multiplications": 1_000_000_000,
}
_SNIPPET_STEPS = 16  # or twice the largest dilation


@dataclasses.dataclass(frozen=True)
class Recorded:
    """Sequences and what the original made of them.

    Attributes:
        name: What their names in the file end in.
        inputs: (B, T, C) float32 or float64, or (B, T) int64 tokens.
        outputs: (B, outputs) or (B, k, outputs), float32 or float64.
    """

    name: str
    inputs: NDArray[Any]
    outputs: NDArray[Any]


def snippet(spec: ModelSpec) -> str:
    """The code that saves what an original computes, for where its module `model` is."""
    steps = _steps(spec)
    if isinstance(spec.input, Tokens):
        made = f"torch.randint({spec.input.vocabulary}, (2, {steps}))  # sequences, steps"
        if spec.input.embedding is None:
            made += "; where the model takes one-hot vectors, give it those, and save the tokens"
    else:
        made = f"torch.randn(2, {steps}, {spec.input.features})  # sequences, steps, features"
    return f"""\
import numpy, torch
inputs = {made}
with torch.no_grad():
    outputs = model.float().cpu().eval()(inputs)  # a model that takes steps first: transpose(0, 1) before and after
outputs = outputs[0] if isinstance(outputs, tuple) else outputs
numpy.savez("original.npz", inputs=inputs.numpy(), outputs=outputs.numpy())"""


def read_recorded(path: Path, spec: ModelSpec) -> list[Recorded]:
    """Read what an original computed. The file cannot make Python run code.

    Args:
        path: An .npz file with `inputs` and `outputs`; or several pairs whose names end alike, such as `inputs_9` and
            `outputs_9`.
        spec: The network that it is to be compared with.

    Returns:
        The pairs, at least one.

    Raises:
        InputError: The file is missing, damaged or too large, or the network does not take such inputs.
    """
    fix = f"Save it where the original is:\n{snippet(spec)}"
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file", fix)
    try:
        arrays = _arrays(path)
    except Exception as error:  # zipfile, zlib and NumPy each raise their own on damaged files
        raise InputError(f"{path} cannot be read as saved inputs and outputs: {error!s:.200}", fix) from error
    names = sorted(name.removeprefix("inputs") for name in arrays if name.startswith("inputs"))
    if not names or {f"{kind}{name}" for name in names for kind in ("inputs", "outputs")} - set(arrays):
        raise InputError(f"{path} does not hold inputs with their outputs", fix)
    try:
        pairs = [_pair(name, arrays[f"inputs{name}"], arrays[f"outputs{name}"], spec) for name in names]
    except InputError as error:
        raise InputError(f"{path}: {error.message}", fix) from error
    _refuse_long(path, pairs, spec, fix)
    return pairs


def _refuse_long(path: Path, pairs: list[Recorded], spec: ModelSpec, fix: str) -> None:
    """Refuse what would take minutes or gigabytes to compute, and more than what `snippet` saves."""
    steps = sum(pair.inputs.shape[1] for pair in pairs)
    rows = sum(pair.inputs.shape[0] * pair.inputs.shape[1] for pair in pairs)
    asked, advised = _costs(spec, steps, rows), _costs(spec, _steps(spec), 2 * _steps(spec))
    for what, most in _MOST.items():
        if asked[what] > max(most, advised[what]):
            raise InputError(
                f"{path}: {asked[what]:,} {what} are too many to compare (at most {most:,}). A few short sequences do.",
                fix,
            )


def _costs(spec: ModelSpec, steps: int, rows: int) -> dict[str, int]:
    """What sequences cost: `steps` one after the other, of which there are `rows` in all sequences."""
    return {
        "steps of all layers": spec.layers * steps,
        "values of all gates": rows * (spec.input.width + spec.gates * sum(spec.hidden)),
        "multiplications": rows * sum(math.prod(shape) for shape in spec.weight_shapes().values()),
    }


def _steps(spec: ModelSpec) -> int:
    """Enough for every layer to read its past."""
    return max(_SNIPPET_STEPS, 2 * max(spec.dilations)) + 1


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    with bounds.open_file(path) as file, bounds.open_zip(file, _MOST_BYTES) as archive:
        return dict(StoredArrays(archive))


def _pair(name: str, inputs: NDArray[Any], outputs: NDArray[Any], spec: ModelSpec) -> Recorded:
    """One pair, checked against what the network takes."""
    name = f"inputs{name}"[:80]
    check_sequences(spec, name, inputs)
    if outputs.dtype not in (np.float32, np.float64):
        raise InputError(
            f"the outputs of {name!r} are {outputs.dtype!s:.80}: to be compared, the original must run in float32"
        )
    if not np.isfinite(outputs).all():
        raise InputError(f"the outputs of {name!r} hold NaN or infinity")
    if inputs.dtype == np.float64:
        return Recorded(name, inputs, outputs)
    return Recorded(name, as_sequences(spec, name, inputs), outputs)

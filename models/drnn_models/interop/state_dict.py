"""`import_file`: a network that other PyTorch code trained, from its file to a checkpoint of this project."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_core.plain_data import parse_json
from drnn_models.checkpoint import FORMAT, Checkpoint, load_plain, save_checkpoint, to_arrays
from drnn_models.interop.convert import Choices, Imported, import_weights
from drnn_models.interop.layouts import Layout, shown

_CONTAINERS = ("state_dict", "model_state_dict", "model")  # where training scripts keep the state dict
_TAKE_OUT = (
    "import sys, torch; x = torch.load(sys.argv[1], weights_only=False); "
    "torch.save(x['state_dict'] if isinstance(x, dict) else x.state_dict(), 'weights.pt')"
)


@dataclasses.dataclass(frozen=True)
class StateDict:
    """The weights in a file.

    Attributes:
        arrays: Name -> array.
        dilations: What the file says of them beside the weights, if anything.
    """

    arrays: dict[str, NDArray[Any]]
    dilations: tuple[int, ...] | None = None


def import_file(path: Path, output: Path, layout: Layout, choices: Choices, *, force: bool = False) -> Imported:
    """Import a network that other PyTorch code trained, from file to file.

    Args:
        path: The file with its weights.
        output: The checkpoint to write.
        layout: How the names of the weights are written.
        choices: What the weights do not say.
        force: Whether `output` may be replaced.

    Returns:
        The network.

    Raises:
        InputError: The file cannot be imported, or `output` exists and `force` is not set.
    """
    if output.exists() and path.exists() and output.samefile(path):
        raise InputError(f"{output} is the file to import", "Choose another --output.")
    if output.exists() and not force:
        raise InputError(f"{output} exists already", "Choose another --output, or replace it with --force.")
    state = read_state_dict(path)
    from_file = choices.dilations is None and layout == "neuralforecast" and state.dilations is not None
    if from_file:
        choices = dataclasses.replace(choices, dilations=state.dilations)
    try:
        imported = import_weights(state.arrays, layout, choices)
    except InputError as error:
        advice = error.fix or "Correct the options, see drnn-deploy import --help, or save the state dict again."
        raise InputError(f"{path}: {error.message}", advice) from error
    if from_file:
        imported.notes.append("dilations are those that the file says; others: --dilations")
    options = {name: value for name, value in dataclasses.asdict(choices).items() if value not in (None, ())}
    provenance = {"imported_from": layout, "file": path.name, "options": options}
    save_checkpoint(output, Checkpoint(imported.spec, imported.weights, provenance=provenance))
    return imported


def read_state_dict(path: Path) -> StateDict:
    """Read a state dict without executing anything in it.

    Args:
        path: A safetensors file, or a torch file of tensors and plain data. A torch file may hold the state dict
            itself, or under "state_dict", "model_state_dict" or "model".

    Raises:
        InputError: The file is anything else.
    """
    if _is_safetensors(path):
        return _read_safetensors(path)
    take_out = f"If you trust its maker, take the weights out there: python -c {shlex.quote(_TAKE_OUT)} "
    data = load_plain(path, if_objects=f"{take_out}{shlex.quote(str(path))}\nThen import weights.pt.")
    if isinstance(data, dict) and data.get("format") == FORMAT:
        raise InputError(f"{path} is a drnn-deploy checkpoint already", f"Type: drnn-export {path}")
    return StateDict(_arrays(path, _state_dict(path, data)))


def _state_dict(path: Path, data: object) -> Mapping[Any, object]:
    if isinstance(data, Mapping):
        for container in _CONTAINERS:
            if isinstance(inner := data.get(container), Mapping):
                return inner
        if data and all(not isinstance(value, Mapping) for value in data.values()):
            return data
    keys = f"a dict with {shown(map(str, data))}" if isinstance(data, Mapping) else f"a {type(data).__name__}"
    raise InputError(
        f"{path} holds no state dict but {keys}",
        "Save one where the network was made: torch.save(module.state_dict(), 'weights.pt')",
    )


def _arrays(path: Path, state: Mapping[Any, object]) -> dict[str, NDArray[Any]]:
    try:
        return to_arrays(state)
    except InputError as error:
        raise InputError(
            f"{path}: {error.message}",
            error.fix or "Save the network's own: torch.save(module.state_dict(), 'weights.pt')",
        ) from error


def _is_safetensors(path: Path) -> bool:
    """Whether the file starts like one: eight bytes of length, then a JSON object. The format has no magic number."""
    try:
        with path.open("rb") as file:
            start, size = file.read(9), path.stat().st_size
    except OSError:  # which `load_plain` explains
        return False
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") < size


def _read_safetensors(path: Path) -> StateDict:
    from safetensors import SafetensorError, safe_open

    try:
        bounds.check_safetensors(path, bounds.UNPACKED)
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
            metadata = file.metadata() or {}
    except (SafetensorError, bounds.TooLargeError) as error:
        raise InputError(
            f"{path} cannot be read as a safetensors file: {error}",
            "It is damaged or cut short: copy or save it again.",
        ) from error
    return StateDict(_arrays(path, tensors), _stored_dilations(metadata))


def _stored_dilations(metadata: Mapping[str, str]) -> tuple[int, ...] | None:
    """The dilations in a file of neuralforecast 3.3 or later, if it has one group of layers."""
    try:
        (dilations,) = parse_json(metadata["hyper_parameters"])["dilations"]
    except (KeyError, ValueError, TypeError):
        return None
    return tuple(dilations) if isinstance(dilations, list) else None

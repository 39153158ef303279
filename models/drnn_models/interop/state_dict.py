"""The weights of other PyTorch code out of a file, and what the file says beside them. Nothing in it is executed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_core.plain_data import parse_json
from drnn_models.checkpoint import FORMAT
from drnn_models.file_kinds import STATE_DICTS, is_safetensors, refuse_other_kinds, take_out_advice
from drnn_models.interop.layouts import own_prefix, shown
from drnn_models.plain_files import load_plain
from drnn_models.spec import ModelSpec
from drnn_models.tensors import to_arrays


@dataclasses.dataclass(frozen=True)
class StateDict:
    """The weights in a file.

    Attributes:
        arrays: Name -> array.
        dilations: What the file says of them beside the weights, if anything.
        spec: What the file says of the whole network: of a `DilatedRNN` its spec, if it was saved with it.
    """

    arrays: dict[str, NDArray[Any]]
    dilations: tuple[int, ...] | None = None
    spec: ModelSpec | None = None


def read_state_dict(path: Path) -> StateDict:
    """Read a state dict without executing anything in it.

    Args:
        path: A safetensors file, or a torch file of tensors and plain data. A torch file may hold the state dict
            itself, or under "state_dict", "model_state_dict" or "model".

    Raises:
        InputError: The file is anything else.
    """
    if is_safetensors(path):
        return _read_safetensors(path)
    refuse_other_kinds(path)
    data = load_plain(path, if_objects=lambda: take_out_advice(path))
    if isinstance(data, dict) and data.get("format") == FORMAT:
        raise InputError(f"{path} is a drnn-deploy checkpoint already", f"Type: drnn-export {path}")
    state = _state_dict(path, data)
    return StateDict(_arrays(path, state), spec=_stored_spec(path, state))


def _state_dict(path: Path, data: object) -> Mapping[Any, object]:
    if isinstance(data, Mapping):
        inner = {name: data[name] for name in STATE_DICTS if isinstance(data.get(name), Mapping)}
        if len(inner) > 1:
            raise InputError(
                f"{path} holds several state dicts: {shown(inner)}", "Save the one that is meant alone: torch.save(...)"
            )
        if inner:
            return next(iter(inner.values()))
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


def _stored_spec(path: Path, state: Mapping[Any, object]) -> ModelSpec | None:
    """The spec that `DilatedRNN` puts into its state dict's metadata, which torch.save keeps."""
    metadata = getattr(state, "_metadata", None)
    module = own_prefix([str(name) for name in state]).removesuffix(".")
    own = metadata.get(module) if isinstance(metadata, Mapping) else None
    if not isinstance(own, Mapping) or "spec" not in own:
        return None
    try:
        return ModelSpec.from_json(parse_json(own["spec"]))
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"{path}: the spec in its metadata cannot be read: {error}", "Save it again.") from error


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

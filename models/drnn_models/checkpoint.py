"""Checkpoints (`model.pt`): a plain dict of JSON types and tensors, which loading never executes.

format      "drnn-deploy/1"
spec        ModelSpec.to_json()
state_dict  name -> float tensor, as ModelSpec.weight_shapes() says
task        optional: {"name", "length", ...}, what the network was trained for
metrics     optional: name -> number, measured on the task's test split
provenance  optional: recipe, seed, versions
examples    optional: {"inputs": (N, T, C) or (N, T), "targets": (N, ...), "source": text}, real data to check with
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from drnn_core.arguments import checked_arguments, named_fields
from drnn_core.errors import InputError
from drnn_core.plain_data import check_plain
from drnn_core.types import Examples
from drnn_models.baseline_modules import DilatedCNN, Network, SkipRNN, make_network
from drnn_models.baseline_specs import NetworkSpec, read_spec
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.examples import check_examples
from drnn_models.file_kinds import STATE_DICTS, check_checkpoint_file, import_advice, take_out_advice
from drnn_models.plain_files import load_plain, save_plain
from drnn_models.spec import ModelSpec
from drnn_models.tensors import to_arrays, to_numpy
from drnn_models.weights import Weights, check_weights

FORMAT = "drnn-deploy/1"
_PLAIN = ("task", "metrics", "provenance")


@named_fields
@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A trained network without torch types.

    Attributes:
        spec: What the network is.
        weights: Name -> float32 array, in torch's gate order. Tensors are taken too, as in a state dict.
        task: What it was trained for; empty where unknown.
        metrics: Name -> number, measured on the task's test split.
        provenance: Recipe, seed and versions.
        examples: Real data to check it with.
    """

    spec: NetworkSpec
    weights: Weights
    task: dict[str, Any] = dataclasses.field(default_factory=dict)
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    examples: Examples | None = None

    def __post_init__(self) -> None:
        if isinstance(self.weights, Mapping) and any(isinstance(v, torch.Tensor) for v in self.weights.values()):
            object.__setattr__(self, "weights", to_arrays(self.weights))

    @property
    def dilated(self) -> ModelSpec:
        """The spec of a network that can be exported.

        Raises:
            InputError: The network is a baseline.
        """
        if not isinstance(self.spec, ModelSpec):
            raise InputError(
                f"the checkpoint holds a baseline network ({self.spec.network}), which only trains and evaluates",
                "Export a dilated network, or one whose dilations are all 1.",
            )
        return self.spec

    def network(self) -> Network:
        """The torch module with these weights, in evaluation mode."""
        model = make_network(self.spec)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in self.weights.items()})
        return model.eval()


if TYPE_CHECKING:  # `as_checkpoint` says more of another model than the check of arguments does
    AnyModel = Network | Checkpoint | Path | str


@checked_arguments
def save_checkpoint(path: Path | str, model: AnyModel) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        path: The file to write, usually `model.pt`.
        model: The network as a module, or with what else is known of it as a checkpoint.

    Raises:
        InputError: The file cannot be written, or `check_checkpoint` refuses what would be in it.
    """
    checkpoint = as_checkpoint(model)
    data: dict[str, Any] = {
        "format": FORMAT,
        "spec": checkpoint.spec.to_json(),
        "state_dict": {name: torch.from_numpy(value) for name, value in checkpoint.weights.items()},
    }
    data |= {name: value for name in _PLAIN if (value := getattr(checkpoint, name))}
    if (examples := checkpoint.examples) is not None:
        data["examples"] = {
            "inputs": torch.from_numpy(examples.inputs),
            "targets": torch.from_numpy(examples.targets),
            "source": examples.source,
        }
    save_plain(Path(path), data)


def as_checkpoint(model: object) -> Checkpoint:
    """Make a checked checkpoint of whatever holds a network and its weights.

    Args:
        model: A checkpoint, its path, or a network as a module of `drnn_models`.

    Raises:
        InputError: It is none of these, cannot be read, or `check_checkpoint` refuses it.
    """
    if isinstance(model, Checkpoint):
        return check_checkpoint(model)
    if isinstance(model, (DilatedRNN, DilatedCNN, SkipRNN)):
        return check_checkpoint(Checkpoint(model.spec, to_arrays(model.state_dict())))
    if isinstance(model, (str, Path)):
        return load_checkpoint(model)
    if isinstance(model, torch.nn.Module):
        fix = "Save its state dict with torch.save, and import that: drnn-deploy import --help."
        raise InputError(f"a {type(model).__name__} is no network of drnn_models", fix)
    if isinstance(model, Mapping):
        what = "weights alone do not say what the network is"
        raise InputError(what, "Give the DilatedRNN itself, or Checkpoint(spec, state_dict).")
    what = f"the model must be a DilatedRNN, a checkpoint or its path, got {type(model).__name__}"
    raise InputError(what, "Give the DilatedRNN itself, or the path of a checkpoint, model.pt.")


@checked_arguments
def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint without executing anything in it.

    Raises:
        InputError: The file is no checkpoint.
    """
    path = Path(path)
    check_checkpoint_file(path)
    data = load_plain(path, if_objects=lambda: take_out_advice(path))
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise _not_ours(path, data)
    try:
        return _checkpoint(data)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", error.fix or "Train or save the model again.") from error


def _not_ours(path: Path, data: object) -> InputError:
    """Say what a file of plain data is, where it is no checkpoint."""
    if isinstance(data, dict) and "format" not in data:
        if data and all(isinstance(value, torch.Tensor) for value in data.values()):
            return InputError(f"{path} is a state dict and no drnn-deploy checkpoint", import_advice(path))
        if any(isinstance(data.get(name), dict) for name in STATE_DICTS):
            kind = "checkpoint of Lightning" if any("lightning" in str(key) for key in data) else "training checkpoint"
            return InputError(f"{path} is a {kind} with a state dict, and none of drnn-deploy", import_advice(path))
    content = f"format {data.get('format')!r}" if isinstance(data, dict) else f"a {type(data).__name__}"
    return InputError(
        f"{path} is not a drnn-deploy checkpoint: expected format {FORMAT!r}, found {content}",
        "Save yours with drnn_models.checkpoint.save_checkpoint(path, Checkpoint(spec, weights)).",
    )


def check_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """Check that the parts of a checkpoint fit together, before it is written and after it was read.

    Args:
        checkpoint: A network with what is known of it.

    Returns:
        The same: weights as `check_weights` gives them, examples as `check_examples`, the rest in JSON types.

    Raises:
        InputError: Weights or examples do not fit the spec, or the rest is not what JSON can hold.
    """
    if not isinstance(checkpoint.spec, NetworkSpec):
        what = f"the spec of a checkpoint must be a ModelSpec, got {type(checkpoint.spec).__name__}"
        raise InputError(what, "Of a module it is module.spec; from JSON ModelSpec.from_json makes it.")
    weights = check_weights(checkpoint.spec, checkpoint.weights)
    plain = {name: _plain(name, getattr(checkpoint, name)) for name in _PLAIN}
    if other := [name for name, value in plain["metrics"].items() if type(value) not in (int, float)]:
        raise InputError(f"'metrics' must map names to numbers, and {other[0]!r:.80} is none")
    examples = None if checkpoint.examples is None else check_examples(checkpoint.spec, checkpoint.examples)
    return Checkpoint(checkpoint.spec, weights, **plain, examples=examples)


def _plain(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"'{name}' must be an object, got {type(value).__name__}")
    try:
        check_plain(value)
        plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=name != "task"))  # the task goes into manifests
    except (TypeError, ValueError) as error:
        raise InputError(f"'{name}' must hold JSON types only: {error}") from error
    return plain


def _checkpoint(data: dict[str, Any]) -> Checkpoint:
    spec = read_spec(data.get("spec"))
    tensors = data.get("state_dict")
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise InputError("'state_dict' must map names to tensors")
    weights = to_arrays(tensors)
    parts = {name: data.get(name, {}) for name in _PLAIN}
    return check_checkpoint(Checkpoint(spec, weights, **parts, examples=_examples(data.get("examples"))))


def _examples(data: object) -> Examples | None:
    if data is None:
        return None
    if not isinstance(data, dict) or not {"inputs", "targets", "source"} <= set(data):
        raise InputError("'examples' must hold inputs, targets and source")
    inputs, targets = (to_numpy(f"examples.{name}", data[name]) for name in ("inputs", "targets"))
    return Examples(inputs, targets, data["source"])

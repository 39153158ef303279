"""Recipes: the small TOML files that say what to train and how. One is enough to train a model again."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from drnn_core import bounds
from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError, SpecError
from drnn_core.plain_data import PlainDataError, parse_toml
from drnn_deploy.tasks import Task, TextTask, fits, make_task
from drnn_models.baseline_specs import ConvSpec, NetworkSpec, read_spec
from drnn_models.spec import ModelSpec
from drnn_zoo import recipe_file

_LARGEST_RATE = 1e6  # beyond it torch's optimizers overflow with errors of their own


@dataclasses.dataclass(frozen=True)
class Training:
    """How the weights are found.

    Attributes:
        iterations: The optimizer steps.
        batch: The sequences of a step.
        optimizer: "adam" or "rmsprop".
        learning_rate: The learning rate at the start.
        schedule: "constant", or "cosine", which takes the learning rate to zero over the run.
        clip_norm: The largest norm of a gradient.
        evaluate_every: The steps between two validations.
        stop_below: The validation cross-entropy (nats) below which the task counts as solved.
        precision: "fp32", or "bf16": matrix products in bfloat16 where torch's autocast deems it safe, weights and loss
            in float32.
        tf32: Whether a GPU may round the factors of float32 products to TF32.
        kernel: What computes: "torch"; "native", layers in the compiled kernel for a CPU, in float32 and up to 128
            units; "graph", steps recorded as a CUDA graph; "auto", what wins on the device.
        carried_state: Whether the network reads a task's one long text in order, as `batch` streams, each step from the
            state that the step before left (truncated backpropagation through time). False: from the zero state.
        dropout: The share of each layer's outputs, drawn anew in each step, that neither the next layer nor the head
            reads (the others are scaled up). In training alone.
        input_scale: What the input weights of recurrent layers are multiplied with before the training. Far below 1,
            tanh units start where they are linear, and keep what they read over many noisy steps.

    Raises:
        InputError: A value is not of its kind or out of range.
    """

    iterations: int
    batch: int = 128
    optimizer: Literal["adam", "rmsprop"] = "adam"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: float = 1.0
    evaluate_every: int = 500
    stop_below: float = 0.0  # validation cross-entropy at which the task counts as solved
    precision: Literal["fp32", "bf16"] = "fp32"
    tf32: bool = False
    kernel: Literal["auto", "native", "graph", "torch"] = "auto"
    carried_state: bool = False
    dropout: float = 0.0
    input_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("iterations", "batch", "evaluate_every"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InputError(f"training.{name} must be a whole number of at least 1, got {value!r}")
        for name in ("learning_rate", "clip_norm", "input_scale"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 < value <= _LARGEST_RATE:
                raise InputError(f"training.{name} must be a positive number up to {_LARGEST_RATE:g}, got {value!r}")
        if type(self.stop_below) not in (int, float) or not 0 <= self.stop_below < math.inf:
            raise InputError(f"training.stop_below must be a finite number of at least 0, got {self.stop_below!r}")
        for name in ("tf32", "carried_state"):
            if type(getattr(self, name)) is not bool:
                raise InputError(f"training.{name} must be true or false, got {getattr(self, name)!r}")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise InputError(f"training.dropout must be a number from 0 to below 1, got {self.dropout!r}")
        for name in ("optimizer", "schedule", "precision", "kernel"):
            allowed = get_args(get_type_hints(Training)[name])
            if getattr(self, name) not in allowed:
                raise InputError(f"training.{name} must be {' or '.join(allowed)}, got {getattr(self, name)!r}")

    def is_solved(self, validation: Mapping[str, float] | None) -> bool:
        """Whether the task counts as solved.

        Args:
            validation: The metrics of the last line of the log; None where it has none.
        """
        return validation is not None and validation["cross_entropy"] < self.stop_below


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A task with its options, a network for it, how to train it, and the seed of it all."""

    task: str
    data: dict[str, Any]
    spec: NetworkSpec
    training: Training
    seed: int

    def make_task(self) -> Task:
        """The task, with this recipe's data options."""
        return make_task(self.task, self.data)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, equal for equal recipes."""
        plain: dict[str, Any] = json.loads(json.dumps({**dataclasses.asdict(self), "spec": self.spec.to_json()}))
        return plain

    @staticmethod
    def from_json(data: object) -> Recipe:
        """The recipe of what `to_json` gave. Newer entries may have their default.

        Args:
            data: Read from a file.

        Raises:
            InputError: It is none.
        """
        names = {"task", "data", "spec", "training", "seed"}
        if not isinstance(data, dict) or set(data) != names or not isinstance(data["spec"], dict):
            raise InputError(f"a saved recipe must have exactly {', '.join(sorted(names))}")
        return _recipe({**{name: data[name] for name in names - {"spec"}}, "model": data["spec"]})

    def is_in(self, data: object, *, apart_from: Collection[str] = ()) -> bool:
        """Whether `data` is what `to_json` gives for this recipe. Newer entries may have their default.

        Args:
            data: Read from a file.
            apart_from: Entries of `training` that may be others.
        """
        try:
            saved = Recipe.from_json(data)
        except InputError:
            return False
        others = {name: getattr(saved.training, name) for name in apart_from}
        return dataclasses.replace(self, training=dataclasses.replace(self.training, **others)) == saved


@checked_arguments
def load_recipe(task: str, config: Path | str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        task: The name of the task.
        config: The recipe's file. Default: the one that ships for the task.
        overrides: Changes of the form `key=value`, with values as in TOML.

    Returns:
        The recipe.

    Raises:
        InputError: The file, a key or a value does not make a recipe.
    """
    text = _read(Path(config) if config else recipe_file(task))
    where = str(config or f"the recipe of {task}")
    try:
        table = parse_toml(text)
        for override in overrides:
            _override(table, override)
    except ValueError as error:
        raise InputError(f"{where} is not valid TOML: {error}") from error
    table.setdefault("task", task)
    if table["task"] != task:
        raise InputError(f"{where} is for task {table['task']!r}, not {task!r}")
    return _recipe(table)


def _recipe(table: dict[str, Any]) -> Recipe:
    if unknown := sorted(set(table) - {"task", "seed", "data", "model", "training"}):
        raise InputError(f"a recipe has no entry {unknown[0]!r}")
    for name in ("data", "model", "training"):
        if not isinstance(table.setdefault(name, {}), dict):
            raise InputError(f"recipe entry {name!r} must be a table")
    seed = table.get("seed", 1)
    if type(seed) is not int or not 0 <= seed < 1 << 32:
        raise InputError(f"seed must be a whole number from 0 to {(1 << 32) - 1}, got {seed!r}")
    task = make_task(table["task"], table["data"])
    edges = {"input": dataclasses.asdict(task.input), "head": dataclasses.asdict(task.head)}
    try:
        spec = read_spec({**edges, **table["model"]})
    except SpecError as error:
        raise InputError(f"recipe entry 'model': {error.message.replace('spec.', 'model.')}", error.fix) from error
    if not fits(task, spec.input, spec.head):
        raise InputError(
            f"recipe entry 'model': input {spec.input} or head {spec.head} does not fit task {task.name}",
            "Leave model.head out, and of model.input all but embedding: the task sets them.",
        )
    try:
        training = Training(**table["training"])
    except TypeError as error:
        raise InputError(f"recipe entry 'training': {error}".replace("Training.__init__() ", "")) from error
    _check_options(training, task, spec)
    return Recipe(table["task"], table["data"], spec, training, seed)


def _check_options(training: Training, task: Task, spec: NetworkSpec) -> None:
    """Refuse options of a training that its task or network does not have."""
    for name, value in (("carried_state", training.carried_state), ("dropout", training.dropout)):
        if value and not isinstance(spec, ModelSpec):
            raise InputError(f"training.{name} is for recurrent networks with dilations alone", "Leave it out.")
    if training.input_scale != 1 and isinstance(spec, ConvSpec):
        raise InputError("training.input_scale is for recurrent networks", "Leave it out.")
    if training.carried_state and not isinstance(task, TextTask):
        raise InputError(
            f"training.carried_state is for tasks of one long text, and sequences of {task.name} do not follow another",
            "Leave it out.",
        )


def _override(table: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise InputError(f"--set {override!r} is not of the form key=value", "For example: --set training.batch=64")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except PlainDataError as error:
        raise InputError(f"--set {path.strip()}: {error}") from error
    except ValueError:
        value = text  # a bare word is a string
    *parents, last = path.strip().split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise InputError(f"--set {override!r}: {parent!r} is not a table")
    table[last] = value


def _read(path: Path) -> str:
    try:
        return bounds.text_of(path, bounds.TOML)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the recipe {path}: {error}") from error

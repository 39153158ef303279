"""What a saved training must hold: the same on the way into the file and out of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import torch

from drnn_core.errors import InputError
from drnn_deploy.training.recipe import Recipe
from drnn_models.spec import ModelSpec

STATE_FORMAT = "drnn-deploy-training/1"
_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MOMENTS = {"adam": {"step", "exp_avg", "exp_avg_sq"}, "rmsprop": {"step", "square_avg"}}
_DEFAULTED = {"maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"}  # by torch
_LINE = {"iteration", "loss", "seconds", "validation"}


def check_state(
    data: Mapping[str, Any], recipe: Recipe, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Check that a training can go on from what was, or will be, saved.

    Args:
        data: The file's content: model, optimizer, iteration, seconds, log, and perhaps losses and carried state.
        recipe: What is trained.
        model: A network of the recipe's spec.
        optimizer: An optimizer of its parameters, as the recipe makes it.

    Raises:
        InputError: A part is missing, of another kind or shape than the training's own, or not finite.
    """
    iteration, parameters = data.get("iteration"), [value for _, value in model.named_parameters()]
    _require(_is_count(iteration) and iteration <= recipe.training.iterations, "iteration")  # type: ignore[operator]
    _require(_is_number(data.get("seconds")), "seconds")
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    _require(_are_tensors(data.get("model"), shapes), "model")
    _require(_are_lines(data.get("log"), recipe.training.iterations), "log")
    losses = data.get("losses", torch.zeros(0))
    _require(_is_tensor(losses, 1) and len(losses) <= recipe.training.iterations, "losses")
    _require(_are_tensors(data.get("carried", {}), _carried_shapes(recipe, iteration)), "carried state")
    saved: Any = data.get("optimizer")
    _require(isinstance(saved, dict) and set(saved) == {"state", "param_groups"}, "optimizer")
    constant = recipe.training.schedule == "constant"
    groups = _are_groups(saved["param_groups"], optimizer.state_dict()["param_groups"], constant=constant)
    _require(groups, "optimizer's groups")
    state = saved["state"]
    _require(isinstance(state, dict) and all(type(index) is int for index in state), "optimizer's state")
    _require(set(state) in (set(), set(range(len(parameters)))), "optimizer's state")
    moments = _MOMENTS[recipe.training.optimizer]
    for index, entry in state.items():
        shapes = {name: torch.Size([]) if name == "step" else parameters[index].shape for name in moments}
        _require(_are_tensors(entry, shapes), "moments")
        _require(all(bool((entry[name] >= 0).all()) for name in moments - {"exp_avg"}), "moments")


def _carried_shapes(recipe: Recipe, iteration: object) -> dict[str, torch.Size]:
    if not recipe.training.carried_state or not iteration or not isinstance(recipe.spec, ModelSpec):
        return {}
    return {name: torch.Size(shape) for name, shape in recipe.spec.state_shapes(recipe.training.batch).items()}


def _require(right: bool, part: str) -> None:
    if not right:
        raise InputError(f"its {part} cannot be gone on from", "Delete it to train from the start.")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max  # type: ignore[operator]


def _is_tensor(value: object, axes: int) -> bool:
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.dtype not in _TYPES:
        return False
    if value.ndim != axes or value.is_meta or value.untyped_storage().nbytes() < value.nbytes:  # few bytes seen as many
        return False
    return bool(torch.isfinite(value).all())


def _are_tensors(values: object, shapes: Mapping[str, torch.Size]) -> bool:
    if not isinstance(values, dict) or set(values) != set(shapes):
        return False
    return all(
        isinstance(values[name], torch.Tensor) and values[name].shape == shape and _is_tensor(values[name], len(shape))
        for name, shape in shapes.items()
    )


def _are_lines(lines: object, iterations: int) -> bool:
    """Whether each is a line of the log, as `drnn_deploy.training.training_run.Progress` has it."""
    if not isinstance(lines, list) or not all(isinstance(line, dict) and set(line) == _LINE for line in lines):
        return False
    return all(
        _is_count(line["iteration"])
        and line["iteration"] <= iterations
        and _is_number(line["loss"])
        and _is_number(line["seconds"])
        and (line["validation"] is None or _are_metrics(line["validation"]))
        for line in lines
    )


def _are_metrics(metrics: object) -> bool:
    return (
        isinstance(metrics, dict)
        and {"accuracy", "cross_entropy"} <= set(metrics)
        and all(isinstance(name, str) and type(value) is float for name, value in metrics.items())
    )


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(type(part) in (int, float) for part in value)
    return value is None or type(value) in (bool, int, float)


def _are_groups(groups: object, own: list[dict[str, Any]], *, constant: bool) -> bool:
    """Whether they are the optimizer's own but for the learning rate, which a schedule lowers if it is not constant."""
    if not isinstance(groups, list) or len(groups) != len(own):
        return False
    return all(
        isinstance(group, dict)
        and set(mine) ^ set(group) <= _DEFAULTED
        and all(_is_plain(value) for value in group.values())
        and all(group.get(name, value) == value for name, value in mine.items() if name != "lr")
        and _is_number(group.get("lr"))
        and (group["lr"] == mine["lr"] if constant else group["lr"] <= mine["lr"])
        for group, mine in zip(groups, own, strict=True)
    )

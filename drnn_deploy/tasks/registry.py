"""The paper's tasks, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drnn_core.errors import InputError
from drnn_deploy.tasks.copy_memory import CopyMemory
from drnn_deploy.tasks.pixel_mnist import PixelMnist
from drnn_deploy.tasks.ptb_char import PtbChar
from drnn_deploy.tasks.speaker_id import SpeakerId
from drnn_deploy.tasks.task import Task, fits
from drnn_models.baseline_specs import NetworkSpec

TASKS: dict[str, type[CopyMemory] | type[PixelMnist] | type[PtbChar] | type[SpeakerId]] = {
    task.name: task for task in (CopyMemory, PixelMnist, PtbChar, SpeakerId)
}


def make_task(name: str, options: Mapping[str, Any]) -> Task:
    """Make a task by its name.

    Args:
        name: The name, one of `TASKS`.
        options: The options of the task.

    Returns:
        The task.

    Raises:
        InputError: The name or an option is unknown, or a value does not fit.
    """
    if not isinstance(name, str) or name not in TASKS:
        raise InputError(f"there is no task {name!r}", f"Choose one of: {', '.join(sorted(TASKS))}.")
    if not isinstance(options, Mapping):
        raise InputError(f"the options of task {name} must be a table, got {options!r}")
    known = {field: kind for field, kind in TASKS[name].__annotations__.items() if field != "name"}
    if unknown := sorted(set(options) - set(known)):
        raise InputError(f"task {name} has no option {unknown[0]!r}", f"It has: {', '.join(sorted(known))}.")
    return TASKS[name](**options)


def task_of(described: Mapping[str, Any], spec: NetworkSpec, what: str) -> Task:
    """Make the task that a bundle or checkpoint says that it is for.

    Args:
        described: What it says: a name, and options.
        spec: Its network.
        what: What errors call it.

    Returns:
        The task.

    Raises:
        InputError: It names no task, or one that its network does not fit.
    """
    if "name" not in described:
        raise InputError(f"{what} does not say which task its network is for")
    task = make_task(described["name"], described.get("options", {}))
    if not fits(task, spec.input, spec.head):
        raise InputError(f"{what} says that it is for task {task.name}, which takes {task.input} and {task.head}")
    return task

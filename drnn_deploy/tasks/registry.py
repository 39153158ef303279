"""The tasks, by name: every class with the verbs of `Task` in the modules beside this one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drnn_core.errors import InputError
from drnn_core.text import choose_from
from drnn_deploy.tasks.task import Task, fits
from drnn_models.baseline_specs import NetworkSpec


def _task_classes() -> Iterator[type[Any]]:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], "drnn_deploy.tasks."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name and isinstance(vars(value).get("name"), str):
                yield value


TASKS: dict[str, type[Any]] = {task.name: task for task in _task_classes()}


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
        raise InputError(f"there is no task {name!r}", choose_from(name, sorted(TASKS)))
    if not isinstance(options, Mapping):
        raise InputError(f"the options of task {name} must be a table, got {options!r}")
    known = {field: kind for field, kind in TASKS[name].__annotations__.items() if field != "name"}
    if unknown := sorted(map(str, set(options) - set(known))):
        raise InputError(f"task {name} has no option {unknown[0]!r}", choose_from(unknown[0], sorted(known)))
    task: Task = TASKS[name](**options)
    return task


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
        own = "For data of your own compute the metric from Bundle.open(DIR).run(x): docs/tutorials/own-module.md"
        known = f"evaluate knows {', '.join(sorted(TASKS))}. {own}"
        raise InputError(f"{what} does not say which task its network is for", known)
    task = make_task(described["name"], described.get("options", {}))
    if not fits(task, spec.input, spec.head):
        raise InputError(f"{what} says that it is for task {task.name}, which takes {task.input} and {task.head}")
    return task

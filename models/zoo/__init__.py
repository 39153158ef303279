"""Trained networks, a folder per task: checkpoint, recipe, training curve and card; experiments and their results.

Installed as `drnn_zoo`; in the source tree `models/drnn_zoo` is a link to `models/zoo`.
"""

from __future__ import annotations

from pathlib import Path

from drnn_core.errors import InputError
from drnn_core.text import choose_from

ZOO = Path(__file__).resolve().parent
RESULTS = ZOO / "results"


def zoo_tasks() -> list[str]:
    """The tasks that the zoo has a trained network for."""
    return sorted(path.parent.name for path in ZOO.glob("*/model.pt"))


def zoo_checkpoint(task: str) -> tuple[str, Path]:
    """The name for reports, and the file, of the zoo's network for a task.

    Raises:
        InputError: The zoo has no network for the task.
    """
    known = zoo_tasks()
    if task not in known:
        raise InputError(f"the zoo has no network for task {task!r}", choose_from(task, [*known, "all"]))
    return f"zoo/{task}/model.pt", ZOO / task / "model.pt"


def recipe_names() -> list[str]:
    """The tasks that a recipe ships for."""
    return sorted(path.parent.name for path in ZOO.glob("*/recipe.toml"))


def recipe_file(task: str) -> Path:
    """The recipe that ships for a task.

    Raises:
        InputError: No recipe ships for the task.
    """
    path = ZOO / task / "recipe.toml"
    if not path.is_file():
        raise InputError(f"there is no task {task!r}", choose_from(task, recipe_names()))
    return path


def experiment_names() -> list[str]:
    """The experiments that ship."""
    return sorted(path.stem for path in (ZOO / "experiments").glob("*.toml"))


def experiment_file(name: str) -> Path:
    """Where the experiment of this name is, if it ships."""
    return ZOO / "experiments" / f"{name}.toml"


def agenda_names() -> list[str]:
    """The agendas that ship: runs of several experiments, in the order in which they are worth most."""
    return sorted(path.stem for path in (ZOO / "agendas").glob("*.toml"))


def agenda_file(name: str) -> Path:
    """Where the agenda of this name is, if it ships."""
    return ZOO / "agendas" / f"{name}.toml"

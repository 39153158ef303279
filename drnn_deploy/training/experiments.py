"""Experiments: named sets of trainings that belong together, and the result file that each training leaves.

An experiment is a small TOML file: a task, changes to the task's recipe that all its runs share (`set`), and per run
the changes of its own (`[runs]`), all of the form `key=value` that `drnn-deploy train --set` takes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from drnn_core.environment import computed_with
from drnn_core.errors import InputError
from drnn_core.files import replacing
from drnn_core.plain_data import read_json, read_toml, schema_error
from drnn_core.text import choose_from
from drnn_deploy.datasets.features import frame_length
from drnn_deploy.tasks.speaker_id import SpeakerId
from drnn_deploy.training.recipe import Recipe, load_recipe
from drnn_zoo import experiment_file, experiment_names

if TYPE_CHECKING:
    from drnn_deploy.training.loop import TrainingRun
    from drnn_models.checkpoint import Checkpoint

FigureKind = Literal["curves", "points", "none"]
Metric = Literal["accuracy", "cross_entropy", "bits_per_character", "recording_accuracy"]
TRIVIAL = "averaged-spectrum"
_SCHEMA = "drnn_deploy.training", "result.schema.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Trainings that belong together.

    Attributes:
        name: The name of the experiment.
        title: Its title on the results page.
        text: Its text there.
        figure: What its figure shows: "curves", "points" or "none".
        metric: The metric that its table and figure compare.
        x: The label of the figure's horizontal axis.
        recipes: The name of each run -> its recipe, in the file's order.
        paper: The name of a run -> the figure that others report for it.
        trivial: The name of a classifier without memory, or "".
    """

    name: str
    title: str
    text: str
    figure: FigureKind
    metric: Metric
    x: str
    recipes: dict[str, Recipe]
    paper: dict[str, str]
    trivial: str


def load_experiment(name: str) -> Experiment:
    """Read an experiment.

    Args:
        name: The name of one that ships, or a path that ends in .toml.

    Returns:
        The experiment, with the recipes of its runs.

    Raises:
        InputError: There is no such experiment, or its file says something wrong.
    """
    path = Path(name) if name.endswith(".toml") else experiment_file(name)
    try:
        table = read_toml(path)
    except FileNotFoundError:
        raise InputError(f"there is no experiment {name!r}", choose_from(name, experiment_names())) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the experiment {name}: {error}") from error
    try:
        return _experiment(Path(name).stem, table)
    except InputError as error:
        raise InputError(f"experiment {name}: {error.message}", error.fix) from error


def _experiment(name: str, table: dict[str, Any]) -> Experiment:
    kinds: dict[str, type] = {"task": str, "title": str, "text": str, "figure": str, "metric": str, "x": str}
    kinds |= {"trivial": str, "set": list, "runs": dict, "paper": dict}
    table = {"text": "", "figure": "none", "x": "", "trivial": "", "set": [], "paper": {}, **table}
    for key, kind in kinds.items():
        if not isinstance(table.get(key), kind):
            raise InputError(f"entry {key!r} must be there and be a {kind.__name__}")
    if unknown := sorted(set(table) - set(kinds)):
        raise InputError(f"there is no entry {unknown[0]!r}", choose_from(unknown[0], kinds))
    for key, allowed in (("figure", get_args(FigureKind)), ("metric", get_args(Metric))):
        if table[key] not in allowed:
            raise InputError(f"{key} must be one of {', '.join(allowed)}, got {table[key]!r}")
    if table["trivial"] not in ("", TRIVIAL) or (table["trivial"] and table["task"] != SpeakerId.name):
        raise InputError(f"trivial must be {TRIVIAL!r}, for task {SpeakerId.name}, got {table['trivial']!r}")
    if unknown := sorted(set(table["paper"]) - set(table["runs"])):
        raise InputError(f"entry 'paper' names {unknown[0]!r}, which is not a run")
    recipes = {}
    for run, changes in table["runs"].items():
        overrides = [*table["set"], *changes] if isinstance(changes, list) else []
        if not (_NAME.fullmatch(run) and isinstance(changes, list) and all(isinstance(o, str) for o in overrides)):
            raise InputError(f"run {run!r}: a run is a name of a-z, 0-9 and - with a list of texts key=value")
        recipes[run] = load_recipe(table["task"], None, overrides)
    paper = {run: str(value) for run, value in table["paper"].items()}
    text = " ".join(table["text"].split())
    shown = table["figure"], table["metric"], table["x"]
    return Experiment(name, table["title"], text, *shown, recipes, paper, table["trivial"])


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished training leaves for the results page: all but the weights.

    Attributes:
        recipe: The recipe in plain JSON types.
        parameters: The number of weights.
        iterations: The optimizer steps that were taken.
        seconds: The time of training.
        device: "cpu" or "cuda".
        threads: The CPU threads.
        versions: The versions of Python and the packages.
        metrics: The metrics on the test split.
        log: The log's lines with a validation: iteration, training loss, seconds, validation metrics.
    """

    recipe: dict[str, Any]
    parameters: int
    iterations: int
    seconds: float
    device: str
    threads: int
    versions: dict[str, str]
    metrics: dict[str, float]
    log: list[dict[str, Any]]


def result_of(run: TrainingRun, checkpoint: Checkpoint) -> Result:
    """The result of a finished training and its checkpoint.

    Args:
        run: The finished training.
        checkpoint: Its network, with the metrics on the test split.
    """
    import torch

    return Result(
        recipe=run.recipe.to_json(),
        parameters=sum(math.prod(shape) for shape in run.recipe.spec.weight_shapes().values()),
        iterations=run.iteration,
        seconds=round(run.seconds, 1),
        device=str(run.device),
        threads=torch.get_num_threads(),
        versions=checkpoint.provenance["versions"],
        metrics=checkpoint.metrics,
        log=[dataclasses.asdict(line) for line in run.log if line.validation],
    )


def trivial_result(experiment: Experiment) -> Result:
    """Measure the experiment's classifier without memory, on the data of its first run.

    Raises:
        InputError: The data is missing.
    """
    from drnn_deploy.tasks.spectrum_classifier import averaged_spectrum_accuracy

    recipe = next(iter(experiment.recipes.values()))
    task = recipe.make_task()
    assert isinstance(task, SpeakerId)  # the experiment's file was checked
    started = time.monotonic()
    accuracy = averaged_spectrum_accuracy(task)
    return Result(
        recipe=recipe.to_json(),
        parameters=task.classes * (frame_length(task.rate) // 2 + 2),  # a weight per bin, and a bias
        iterations=0,
        seconds=round(time.monotonic() - started, 1),
        device="cpu",
        threads=1,
        versions=computed_with(("numpy", "scikit-learn")),
        metrics={"recording_accuracy": accuracy["test"]},
        log=[],
    )


def result_path(folder: Path, experiment: str, run: str) -> Path:
    """Where the result of a run lies.

    Args:
        folder: Where all results lie.
        experiment: Its name.
        run: Its name in the experiment.
    """
    return folder / experiment / f"{run}.json"


def save_result(path: Path, result: Result) -> None:
    """Write a result, whole or not at all.

    Args:
        path: The file to write; its folder is made.
        result: What goes into it, as JSON.

    Raises:
        InputError: The file cannot be written, or would not be read.
    """
    data = dataclasses.asdict(result)
    _check_result(path, data)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data) + "\n", encoding="utf-8")


def load_result(path: Path, recipe: Recipe) -> Result | None:
    """Read the result of a run.

    Args:
        path: Its file.
        recipe: The recipe that it must be of.

    Returns:
        The result; None where there is none.

    Raises:
        InputError: The file is not a result, or is of another recipe.
    """
    try:
        data = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not the result of a training: {error}", "Delete it to train again.") from error
    _check_result(path, data)
    result = Result(**data)
    if not recipe.is_in(result.recipe):
        raise InputError(f"{path} is the result of other settings", "Delete it to train again.")
    return result


def _check_result(path: Path, data: object) -> None:
    if wrong := schema_error(data, *_SCHEMA):
        what = f"{path} is not the result of a training: {wrong.json_path}: {wrong.message:.200}"
        raise InputError(what, "Delete it to train again.")

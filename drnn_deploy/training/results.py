"""The result file that each finished training of an experiment leaves: all but the weights."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drnn_core.environment import computed_with
from drnn_core.errors import InputError
from drnn_core.files import replacing
from drnn_core.plain_data import read_json, schema_error
from drnn_deploy.datasets.features import frame_length
from drnn_deploy.tasks.speaker_id import SpeakerId
from drnn_deploy.training.experiments import TRIVIAL_METRIC, Experiment
from drnn_deploy.training.recipe import Recipe

if TYPE_CHECKING:
    from drnn_deploy.training.training_run import TrainingRun
    from drnn_models.checkpoint import Checkpoint

CARRIED = "carried_"  # begins the names of metrics that are measured with the state carried through a whole text
_SCHEMA = "drnn_deploy.training", "result.schema.json"


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
        seconds_allowed: The time after which it had to end. None: its iterations alone counted.
        kernel: What computed the steps at the end: "native", "graph" or "torch".
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
    seconds_allowed: float | None = None
    kernel: str = "torch"


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
        seconds_allowed=run.seconds_allowed,
        kernel=run.kernel,
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
        metrics={TRIVIAL_METRIC: accuracy["test"]},
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
        recipe: The recipe that it must be of, but for its iterations, kernel and TF32, which may have been others.

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
    if not recipe.is_in(result.recipe, apart_from=["iterations", "kernel", "tf32"]):
        raise InputError(
            f"{path} is the result of other settings",
            "Choose another --output, or delete it and the folder of its run.",
        )
    return result


def _check_result(path: Path, data: object) -> None:
    if wrong := schema_error(data, *_SCHEMA):
        what = f"{path} is not the result of a training: {wrong.json_path}: {wrong.message:.200}"
        raise InputError(what, "Delete it to train again.")

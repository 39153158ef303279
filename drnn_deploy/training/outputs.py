"""The folder of a training: the state that it goes on from, and what is left at its end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Generator
from pathlib import Path

from drnn_core.errors import InputError
from drnn_core.files import replacing
from drnn_deploy.training.budget import most_seconds
from drnn_deploy.training.learning_curve import draw_curve
from drnn_deploy.training.loop import finished_checkpoint, train
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.training_run import Progress, TrainingRun, usable_device
from drnn_models.checkpoint import Checkpoint, save_checkpoint

STATE, MODEL, LOG, CURVE = "state.pt", "model.pt", "log.json", "curve.png"


def open_run(
    recipe: Recipe | None, folder: Path, device: str | None = None, seconds: float | None = None
) -> TrainingRun:
    """Go on with the training in a folder, or start it where there is none.

    Args:
        recipe: What to train. None: what the state is of, which must be there.
        folder: Holds the state.
        device: "cpu" or "cuda". None: that of the state, else "cpu".
        seconds: The training's time, after which it ends. None: its iterations alone count.

    Raises:
        InputError: PyTorch has no such device, or the state is of another recipe or damaged, or had more time.
    """
    state = folder / STATE
    if recipe is None or state.exists():
        run = TrainingRun.resume(state, recipe, device)
    else:
        run = TrainingRun.start(recipe, usable_device(device or "cpu"))
    if seconds is not None and run.seconds > most_seconds(seconds):
        what = f"{state} was trained for {run.seconds:,.0f} s, and its time is {seconds:,.0f} s"
        raise InputError(what, f"Delete {state} to train from the start.")
    run.seconds_allowed = seconds
    return run


def train_in(run: TrainingRun, folder: Path) -> Generator[Progress, None, None]:
    """Train to the end, with the state in the folder, and after each validation the log; see `loop.train`.

    Args:
        run: The training.
        folder: Where they go.

    Yields:
        The lines of the log.

    Raises:
        InputError: The training diverged, or the folder cannot be written to.
    """
    with contextlib.closing(train(run, folder / STATE)) as lines:
        for line in lines:
            if line.validation and not run.ranks.rank:
                write_log(run, folder)
            yield line


def write_log(run: TrainingRun, folder: Path) -> None:
    """Write the recipe and the log so far, as JSON.

    Args:
        run: A training.
        folder: Where `log.json` goes.

    Raises:
        InputError: The folder cannot be written to.
    """
    with replacing(folder / LOG) as temporary:
        lines = [dataclasses.asdict(line) for line in run.log]
        temporary.write_text(json.dumps({"recipe": run.recipe.to_json(), "log": lines}) + "\n", encoding="utf-8")


def finish(run: TrainingRun, folder: Path) -> Checkpoint:
    """Measure on the test split, and write checkpoint, log and curve.

    Args:
        run: A training at its end.
        folder: Where they go.

    Returns:
        The checkpoint.

    Raises:
        InputError: The folder cannot be written to.
    """
    checkpoint = finished_checkpoint(run)
    save_checkpoint(folder / MODEL, checkpoint)
    write_log(run, folder)
    draw_curve(folder / CURVE, run.log, run.recipe.make_task())
    return checkpoint

"""The folder of a training: the state that it goes on from, and what is left at its end."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from drnn_core.files import replacing
from drnn_deploy.training.learning_curve import draw_curve
from drnn_deploy.training.loop import finished_checkpoint
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.training_run import TrainingRun, usable_device
from drnn_models.checkpoint import Checkpoint, save_checkpoint

STATE, MODEL, LOG, CURVE = "state.pt", "model.pt", "log.json", "curve.png"


def open_run(recipe: Recipe | None, folder: Path, device: str | None = None) -> TrainingRun:
    """Go on with the training in a folder, or start it where there is none.

    Args:
        recipe: What to train. None: what the state is of, which must be there.
        folder: Holds the state.
        device: "cpu" or "cuda". None: that of the state, else "cpu".

    Raises:
        InputError: PyTorch has no such device, or the state is of another recipe or damaged.
    """
    state = folder / STATE
    if recipe is None or state.exists():
        return TrainingRun.resume(state, recipe, device)
    return TrainingRun.start(recipe, usable_device(device or "cpu"))


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

"""The training loop that every task shares: seeded, resumable after any interruption, one checkpoint at the end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments
from drnn_core.environment import computed_with
from drnn_core.errors import InputError
from drnn_deploy.tasks import Task, TextTask
from drnn_deploy.tasks.scoring import SEQUENCES_AT_ONCE, score_split
from drnn_deploy.training.carried_state import score_whole
from drnn_deploy.training.results import CARRIED
from drnn_deploy.training.step import take_step
from drnn_deploy.training.stops import whole
from drnn_deploy.training.training_run import Progress, TrainingRun
from drnn_models.baseline_modules import Network
from drnn_models.checkpoint import Checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.subnormals import without_subnormals
from drnn_runtimes.torch import float32_products

_SAVE_SECONDS = 30.0
_LOG_EVERY = 20


@checked_arguments
def train(run: TrainingRun, state: Path | str) -> Generator[Progress, None, None]:
    """Train to the end of the recipe, or until solved, or until its time is over.

    The state is saved every half a minute and before each validation, which may take long, and when the caller stops
    early (close, exception, Ctrl-C, inside `terminable` SIGTERM).

    Args:
        run: The training, new or resumed; it advances in place.
        state: The file for `TrainingRun.save`.

    Yields:
        A log line every few iterations.

    Raises:
        InputError: The loss stops being a number.
    """
    state, recipe, task = Path(state), run.recipe, run.recipe.make_task()
    started = time.monotonic() - run.seconds
    saved_at = time.monotonic()
    with run.ranks.agreeing_on_stops(), _saved_at_the_end(run, state):
        while not run.solved and (run.losses or run.share < 1):
            evaluate_now = run.iteration % recipe.training.evaluate_every == 0
            at_the_end = run.share >= 1
            if not run.losses or not (evaluate_now or at_the_end or run.iteration % _LOG_EVERY == 0):
                with whole(), without_subnormals():
                    run.losses.append(take_step(run, task))
                    run.iteration += 1
                run.seconds = time.monotonic() - started
                if time.monotonic() - saved_at > _SAVE_SECONDS and run.finite:
                    run.save(state)
                    saved_at = time.monotonic()
                continue
            loss = float(torch.stack(run.losses).mean())
            if not run.finite:
                raise InputError(
                    f"the training diverged: the loss is {loss} at iteration {run.iteration}",
                    "Start again in another --output with a smaller rate, behind --set or in the experiment's file: "
                    f"training.learning_rate={recipe.training.learning_rate / 3:.1g}",
                )
            metrics = None
            if evaluate_now:
                run.save(state)
                with without_subnormals():  # threads begin now of a training that goes on, in a step of another
                    metrics = run.ranks.of_the_first(lambda: evaluate(run.model, task, "validation"))
            with whole():
                run.log.append(Progress(run.iteration, loss, run.seconds, metrics))
                run.losses.clear()
            yield run.log[-1]


@contextlib.contextmanager
def _saved_at_the_end(run: TrainingRun, state: Path) -> Iterator[None]:
    begun = True
    try:
        yield
    except Exception:
        begun = run.iteration > 0  # what fails before its first step leaves nothing in the way of the next try
        raise
    finally:
        if begun and run.finite:
            run.save(state)


def evaluate(
    model: Network,
    task: Task,
    split: str,
    *,
    size: int = SEQUENCES_AT_ONCE,
    tick: Callable[[int], None] = lambda _: None,
) -> dict[str, float]:
    """Measure a network on a whole split, without TF32.

    Args:
        model: The network, on the device to use.
        task: What it was trained for.
        split: "validation" or "test".
        size: Sequences in a batch.
        tick: Gets the number of sequences of each batch that is done.

    Returns:
        The task's metrics: cross-entropy in nats, accuracy from 0 to 1, and those of its own.
    """
    device = model.head.weight.device

    def predict(inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        with torch.inference_mode(), float32_products():
            outputs: NDArray[np.generic] = model(torch.from_numpy(inputs).to(device)).cpu().numpy()
        return outputs

    return score_split(predict, task, split, size=size, tick=tick)[0]


def finished_checkpoint(run: TrainingRun) -> Checkpoint:
    """The trained network with its test metrics, recipe and versions, and the task's examples.

    A network that was trained with carried state is also measured with the state carried through the whole test text.
    """
    task = run.recipe.make_task()
    weights = {name: value.detach().cpu().numpy() for name, value in run.model.state_dict().items()}
    metrics = evaluate(run.model, task, "test")
    if run.recipe.training.carried_state and isinstance(task, TextTask) and isinstance(run.model, DilatedRNN):
        whole_text = score_whole(run.model, task, "test", SEQUENCES_AT_ONCE * task.length)
        metrics |= {CARRIED + name: value for name, value in whole_text.items()}
    provenance: dict[str, Any] = {
        "recipe": run.recipe.to_json(),
        "iterations": run.iteration,
        "training_seconds": round(run.seconds, 1),
        "device": str(run.device),
        "versions": computed_with(("torch", "numpy")),
    }
    return Checkpoint(
        spec=run.recipe.spec,
        weights=weights,
        task={"name": run.recipe.task, "length": task.length, "options": run.recipe.data},
        metrics=metrics,
        provenance=provenance,
        examples=task.examples(),
    )

"""One optimizer step: the learning rate of the schedule, a batch, and the change of the weights by it."""

from __future__ import annotations

import math

import torch

from drnn_deploy.tasks import Task
from drnn_deploy.training.carried_state import carry, next_batch
from drnn_deploy.training.recorded_step import CudaRecorder, RecordedStep
from drnn_deploy.training.training_run import TrainingRun
from drnn_deploy.training.update import update


def take_step(run: TrainingRun, task: Task) -> torch.Tensor:
    """Take the run's next step. The caller counts it.

    Args:
        run: The training; its weights change.
        task: Its task.

    Returns:
        The mean cross-entropy of the whole batch before the step, nats, detached.
    """
    if run.recipe.training.schedule == "cosine":
        rate = _cosine(run)
        for group in run.optimizer.param_groups:
            group["lr"] = rate
    (batch, from_zero), ranks = next_batch(run, task), run.ranks
    part, count = ranks.share(batch) if ranks.world > 1 else (batch, None)
    inputs, targets = torch.from_numpy(part.inputs), torch.from_numpy(part.targets)
    if run.kernel == "graph" and count is None:
        run.recorded = run.recorded or RecordedStep(CudaRecorder())
        return run.recorded.take(run, inputs, targets)
    loss, after = update(run, inputs.to(run.device), targets.to(run.device), from_zero=from_zero, count=count)
    carry(run, after)
    return loss


def _cosine(run: TrainingRun) -> float:
    """The learning rate, which falls to zero over the iterations, or over the time where that is the budget."""
    training = run.recipe.training
    done = run.iteration / training.iterations if run.seconds_allowed is None else run.share
    return 0.5 * training.learning_rate * (1 + math.cos(math.pi * done))

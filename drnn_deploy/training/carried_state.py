"""Training on one long text with the state carried from step to step: truncated backpropagation through time."""

from __future__ import annotations

import torch

from drnn_deploy.tasks import Batch, Score, Task, TextTask
from drnn_deploy.training.dropout import Dropout
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.dilated_rnn import DilatedRNN, State
from drnn_runtimes.torch import float32_products


def next_batch(run: TrainingRun, task: Task) -> tuple[Batch, bool]:
    """What the next step reads.

    Args:
        run: The training.
        task: Its task.

    Returns:
        The batch, and whether its sequences begin with the zero state.
    """
    seed, training = run.recipe.seed, run.recipe.training
    if training.carried_state and isinstance(task, TextTask):
        return task.piece(seed, run.iteration, training.batch)
    return task.train_batch(seed, run.iteration, training.batch), True


def computed(run: TrainingRun, inputs: torch.Tensor, *, from_zero: bool) -> tuple[torch.Tensor, State]:
    """Compute this process's sequences of a step, with dropout where the recipe has some.

    Args:
        run: The training.
        inputs: Its sequences.
        from_zero: Whether they begin with the zero state.

    Returns:
        The outputs, and the state after them, of a training that carries it.
    """
    model, training, rows = run.model, run.recipe.training, run.ranks.rows
    if not isinstance(model, DilatedRNN):
        return model(inputs), {}
    drop = None
    if training.dropout:
        drop = Dropout(training.dropout, run.recipe.seed, run.iteration, training.batch, rows, run.device)
    if not training.carried_state:
        return model(inputs, drop=drop), {}
    before = None if from_zero else {name: value[rows] for name, value in run.carried.items()}
    return model.advance(inputs, before, drop=drop)


def carry(run: TrainingRun, after: State) -> None:
    """Keep the state after a step for the next one, which has no gradients to do with it.

    Args:
        run: The training.
        after: The state of this process's sequences; {} of a training that carries none.
    """
    kind, layout = run.model.head.weight.dtype, torch.contiguous_format  # a view would keep the whole step
    own = {name: value.detach().to(kind).clone(memory_format=layout) for name, value in after.items()}
    run.carried = run.ranks.all_rows(own, run.recipe.training.batch) if own else {}


def score_whole(model: DilatedRNN, task: TextTask, split: str, most: int) -> dict[str, float]:
    """Measure a network on a split's text as one sequence: each step after all steps before it.

    Args:
        model: The network, on the device to use.
        task: Whose text it reads.
        split: "validation" or "test".
        most: The most steps that are computed at once.

    Returns:
        The task's metrics.
    """
    score, state, device = Score(), None, model.head.weight.device
    with torch.inference_mode(), float32_products():
        for piece in task.whole(split, most):
            outputs, state = model.advance(torch.from_numpy(piece.inputs).to(device), state)
            score.add(outputs.cpu().numpy(), piece)
    return task.metrics(score)

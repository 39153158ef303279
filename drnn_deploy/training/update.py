"""The change of the weights by one batch: loss, gradients, clipping, optimizer; all of it on the training's device."""

from __future__ import annotations

import torch
from torch.nn import functional

from drnn_deploy.tasks import IGNORED
from drnn_deploy.training.carried_state import computed
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.dilated_rnn import State
from drnn_runtimes.torch import float32_products


def update(
    run: TrainingRun, inputs: torch.Tensor, targets: torch.Tensor, *, from_zero: bool = True, count: int | None = None
) -> tuple[torch.Tensor, State]:
    """Change the weights once, with all that happens on the device.

    Args:
        run: The training.
        inputs: This process's sequences, on the device.
        targets: Theirs.
        from_zero: Whether they begin with the zero state.
        count: The targets of the whole batch that count, where other processes compute a part of it.

    Returns:
        The detached loss of the whole batch, and the state after this process's sequences; see `computed`.
    """
    training, ranks = run.recipe.training, run.ranks
    run.optimizer.zero_grad()
    with float32_products(tf32=training.tf32):
        with torch.autocast(run.device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            outputs, after = computed(run, inputs, from_zero=from_zero)
        loss = cross_entropy(outputs, targets, count)
        loss.backward()  # type: ignore[no-untyped-call]
    loss = loss.detach() if count is None else ranks.add_up(list(run.model.parameters()), loss.detach())
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), training.clip_norm)
    run.optimizer.step()
    return loss, after


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor, count: int | None = None) -> torch.Tensor:
    """The mean cross-entropy of the targets that count.

    Args:
        outputs: Logits, (..., classes).
        targets: Class numbers, or IGNORED.
        count: How many targets of the whole batch count, where these are a share of it. None: as many as here.

    Returns:
        The mean, nats; of a share its part of the whole batch's mean.
    """
    logits, wanted = outputs.float().flatten(0, -2), targets.flatten()
    if count is None:
        return functional.cross_entropy(logits, wanted, ignore_index=IGNORED)
    return functional.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum") / count

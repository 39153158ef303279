"""The training loop that every task shares: seeded, resumable after any interruption, one checkpoint at the end."""

from __future__ import annotations

import dataclasses
import math
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from drnn_deploy.recipe import Recipe
from drnn_deploy.tasks import Score, Task
from drnn_models.checkpoint import Checkpoint, load_plain
from drnn_models.errors import InputError
from drnn_models.files import replacing
from drnn_models.network import DilatedRNN

STATE_FORMAT = "drnn-deploy-training/1"
_SAVE_SECONDS = 60.0
_LOG_EVERY = 20


@dataclasses.dataclass(frozen=True)
class Progress:
    """One line of the training log. `loss`: mean training cross-entropy since the last line, nats."""

    iteration: int
    loss: float
    seconds: float  # of training so far, over all interrupted runs
    validation: dict[str, float] | None = None


@dataclasses.dataclass
class TrainingRun:
    """A training in progress; everything that a later process needs to go on is in `save`'s file."""

    recipe: Recipe
    device: torch.device
    model: DilatedRNN
    optimizer: torch.optim.Optimizer
    iteration: int = 0
    seconds: float = 0.0
    log: list[Progress] = dataclasses.field(default_factory=list)

    @classmethod
    def start(cls, recipe: Recipe, device: str = "cpu") -> TrainingRun:
        """A fresh run: weights from the recipe's seed."""
        torch.manual_seed(recipe.seed)
        model = DilatedRNN(recipe.spec).to(device)
        rate = recipe.training.learning_rate
        optimizer: torch.optim.Optimizer
        if recipe.training.optimizer == "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        else:
            optimizer = torch.optim.RMSprop(model.parameters(), lr=rate, alpha=0.9)
        return cls(recipe, torch.device(device), model, optimizer)

    @classmethod
    def resume(cls, path: Path, recipe: Recipe, device: str = "cpu") -> TrainingRun:
        """Go on from `save`'s file. Raises `InputError` where it is of another recipe or damaged."""
        data = load_plain(path)
        if not isinstance(data, dict) or data.get("format") != STATE_FORMAT:
            raise InputError(f"{path} is not a training state", "Delete it to train from the start.")
        if data["recipe"] != recipe.to_json():
            raise InputError(
                f"{path} belongs to a training with other settings",
                "Choose another --output, or the settings it was started with.",
            )
        run = cls.start(recipe, device)
        run.model.load_state_dict(data["model"])
        run.optimizer.load_state_dict(data["optimizer"])
        run.iteration, run.seconds = data["iteration"], data["seconds"]
        run.log = [Progress(**line) for line in data["log"]]
        return run

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        with replacing(path) as temporary:
            torch.save(
                {
                    "format": STATE_FORMAT,
                    "recipe": self.recipe.to_json(),
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "iteration": self.iteration,
                    "seconds": self.seconds,
                    "log": [dataclasses.asdict(line) for line in self.log],
                },
                temporary,
            )


def train(run: TrainingRun, state: Path) -> Iterator[Progress]:
    """Train to the end of the recipe, or until solved, yielding a log line every few iterations.

    The state is saved every minute, and when the caller stops early (close, exception, Ctrl-C). Raises `InputError`
    where the loss stops being a number.
    """
    recipe, task = run.recipe, run.recipe.make_task()
    started = time.monotonic() - run.seconds
    saved_at = time.monotonic()
    losses: list[torch.Tensor] = []
    try:
        while run.iteration < recipe.training.iterations:
            losses.append(_step(run, task))
            run.iteration += 1
            run.seconds = time.monotonic() - started
            evaluate_now = run.iteration % recipe.training.evaluate_every == 0
            if run.iteration % _LOG_EVERY and not evaluate_now:
                continue
            loss = float(torch.stack(losses).mean())
            losses.clear()
            if not math.isfinite(loss):
                raise InputError(
                    f"the training diverged: the loss is {loss} at iteration {run.iteration}",
                    "Try a smaller rate: --set training.learning_rate=3e-4",
                )
            metrics = evaluate(run.model, task, "validation") if evaluate_now else None
            run.log.append(Progress(run.iteration, loss, run.seconds, metrics))
            yield run.log[-1]
            if metrics and metrics["cross_entropy"] < recipe.training.stop_below:
                break
            if time.monotonic() - saved_at > _SAVE_SECONDS:
                run.save(state)
                saved_at = time.monotonic()
    finally:
        if math.isfinite(sum(float(p.detach().sum()) for p in run.model.parameters())):
            run.save(state)


def _step(run: TrainingRun, task: Task) -> torch.Tensor:
    """One optimizer step; the detached loss."""
    training = run.recipe.training
    if training.schedule == "cosine":
        rate = 0.5 * training.learning_rate * (1 + math.cos(math.pi * run.iteration / training.iterations))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
    batch = task.train_batch(run.recipe.seed, run.iteration, training.batch)
    outputs = run.model(torch.from_numpy(batch.inputs).to(run.device))
    targets = torch.from_numpy(batch.targets).to(run.device)
    loss = functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())
    run.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), training.clip_norm)
    run.optimizer.step()
    return loss.detach()


def evaluate(
    model: DilatedRNN, task: Task, split: str, *, size: int = 500, tick: Callable[[int], None] = lambda _: None
) -> dict[str, float]:
    """Cross-entropy and accuracy over a whole split; `tick` is told the sequences done after each batch."""
    score = Score()
    device = model.head.weight.device
    with torch.inference_mode():
        for batch in task.batches(split, size):
            outputs = model(torch.from_numpy(batch.inputs).to(device)).cpu().numpy()
            score.add(outputs, batch.targets)
            tick(len(batch.inputs))
    return score.metrics()


def finished_checkpoint(run: TrainingRun) -> Checkpoint:
    """The trained network with its test metrics, recipe and versions, and the task's examples."""
    task = run.recipe.make_task()
    weights = {name: value.detach().cpu().numpy() for name, value in run.model.state_dict().items()}
    provenance: dict[str, Any] = {
        "recipe": run.recipe.to_json(),
        "iterations": run.iteration,
        "training_seconds": round(run.seconds, 1),
        "device": str(run.device),
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }
    return Checkpoint(
        spec=run.recipe.spec,
        weights=weights,
        task={"name": run.recipe.task, "length": task.length, "options": run.recipe.data},
        metrics=evaluate(run.model, task, "test"),
        provenance=provenance,
        examples=task.examples(),
    )

"""The training loop that every task shares: seeded, resumable after any interruption, one checkpoint at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from drnn_core.arguments import checked_arguments
from drnn_core.environment import computed_with
from drnn_core.errors import InputError
from drnn_core.memory import require_memory
from drnn_deploy.tasks import IGNORED, Task
from drnn_deploy.tasks.scoring import SEQUENCES_AT_ONCE, score_split
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.saved_state import STATE_FORMAT, check_state
from drnn_models.baseline_modules import Network, make_network
from drnn_models.checkpoint import Checkpoint, load_plain, save_plain
from drnn_models.memory import evaluation_needs, training_needs
from drnn_runtimes.torch import float32_products

_SAVE_SECONDS = 30.0
_STOPS = (signal.SIGINT, signal.SIGTERM)
_LOG_EVERY = 20
_AGAIN = "Delete it to train from the start."


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a training as Ctrl-C does."""


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
    model: Network
    optimizer: torch.optim.Optimizer
    iteration: int = 0
    seconds: float = 0.0
    log: list[Progress] = dataclasses.field(default_factory=list)
    losses: list[torch.Tensor] = dataclasses.field(default_factory=list)  # since the last line of the log

    @classmethod
    def start(cls, recipe: Recipe, device: str = "cpu") -> TrainingRun:
        """Start a training, with weights from the recipe's seed.

        Args:
            recipe: Network, task, optimiser and seed.
            device: "cpu" or "cuda".
        """
        steps, here = recipe.make_task().length, slice(None) if device == "cpu" else slice(1, 2)  # the inputs alone
        require_memory("a training step", training_needs(recipe.spec, recipe.training.batch, steps)[here])
        require_memory("a validation", evaluation_needs(recipe.spec, SEQUENCES_AT_ONCE, steps)[here])
        torch.manual_seed(recipe.seed)
        model = make_network(recipe.spec).to(device)
        rate = recipe.training.learning_rate
        optimizer: torch.optim.Optimizer
        if recipe.training.optimizer == "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        else:
            optimizer = torch.optim.RMSprop(model.parameters(), lr=rate, alpha=0.9)
        return cls(recipe, torch.device(device), model, optimizer)

    @classmethod
    @checked_arguments
    def resume(cls, path: Path | str, recipe: Recipe | None = None, device: str | None = None) -> TrainingRun:
        """Go on from the file of `save`.

        Args:
            path: What `save` wrote.
            recipe: The recipe that it must be of. None: that of the file.
            device: "cpu" or "cuda". None: where it was trained before.

        Returns:
            The training as it was saved.

        Raises:
            InputError: The file is of another recipe or damaged.
        """
        path = Path(path)
        data = load_plain(path)
        if not isinstance(data, dict) or data.get("format") != STATE_FORMAT:
            raise InputError(f"{path} is not a training state", _AGAIN)
        recipe = recipe or _saved_recipe(path, data)
        if not recipe.is_in(data.get("recipe")):
            raise InputError(
                f"{path} belongs to a training with other settings",
                "Choose another --output, or the settings it was started with.",
            )
        run = cls.start(recipe, usable_device(device or data.get("device", "cpu")))
        try:
            check_state(data, recipe, run.model, run.optimizer)
        except InputError as error:
            raise InputError(f"{path} is a damaged training state: {error.message}", error.fix) from error
        run.model.load_state_dict(data["model"])
        run.optimizer.load_state_dict(data["optimizer"])
        run.iteration, run.seconds = data["iteration"], float(data["seconds"])
        run.log = [Progress(**line) for line in data["log"]]
        run.losses = list(data.get("losses", torch.zeros(0)).to(run.device))
        return run

    @checked_arguments
    def save(self, path: Path | str) -> None:
        """Write the state, whole or not at all.

        Raises:
            InputError: The file cannot be written, or no training could go on from it.
        """
        state: dict[str, Any] = {
            "format": STATE_FORMAT,
            "recipe": self.recipe.to_json(),
            "device": self.device.type,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "log": [dataclasses.asdict(line) for line in self.log],
            "losses": torch.stack(self.losses).cpu() if self.losses else torch.zeros(0),
        }
        check_state(state, self.recipe, self.model, self.optimizer)
        save_plain(Path(path), state)

    @property
    def solved(self) -> bool:
        """Whether the last line of the log says that the recipe's goal is reached."""
        metrics = self.log[-1].validation if self.log else None
        return metrics is not None and metrics["cross_entropy"] < self.recipe.training.stop_below

    @property
    def finite(self) -> bool:
        """Whether every weight, every moment, and every loss since the last line of the log, is a number."""
        moments = [value for entry in self.optimizer.state.values() for value in entry.values()]
        return all(bool(torch.isfinite(value).all()) for value in (*self.model.parameters(), *moments, *self.losses))


def usable_device(device: object) -> str:
    """The device, where PyTorch has it.

    Raises:
        InputError: PyTorch has no such device here.
    """
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        kind = "CUDA" if device == "cuda" else "such"
        raise InputError(f"--device {device}: PyTorch finds no {kind} device", "Train with --device cpu.")
    return str(device)


def _saved_recipe(path: Path, data: dict[str, Any]) -> Recipe:
    try:
        return Recipe.from_json(data.get("recipe"))
    except InputError as error:
        raise InputError(f"{path} is a damaged training state: {error.message}", _AGAIN) from error


@checked_arguments
def train(run: TrainingRun, state: Path | str) -> Iterator[Progress]:
    """Train to the end of the recipe, or until solved.

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
    try:
        while not run.solved and (run.losses or run.iteration < recipe.training.iterations):
            evaluate_now = run.iteration % recipe.training.evaluate_every == 0
            at_the_end = run.iteration == recipe.training.iterations
            if not run.losses or not (evaluate_now or at_the_end or run.iteration % _LOG_EVERY == 0):
                with _whole():
                    run.losses.append(_step(run, task))
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
                    "Start again with a smaller rate: --set training.learning_rate=3e-4 --output ANOTHER_FOLDER",
                )
            if evaluate_now:
                run.save(state)
            metrics = evaluate(run.model, task, "validation") if evaluate_now else None
            with _whole():
                run.log.append(Progress(run.iteration, loss, run.seconds, metrics))
                run.losses.clear()
            yield run.log[-1]
    finally:
        if run.finite:
            run.save(state)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`, as Ctrl-C raises KeyboardInterrupt. In the main thread only."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is through: no training goes on from half a step."""
    handlers = {number: signal.getsignal(number) for number in _STOPS}
    if None in handlers.values() or threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    for number in _STOPS:
        signal.signal(number, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for stop in held[:1]:
        signal.raise_signal(stop)


def _step(run: TrainingRun, task: Task) -> torch.Tensor:
    """One optimizer step; the detached loss."""
    training = run.recipe.training
    if training.schedule == "cosine":
        rate = 0.5 * training.learning_rate * (1 + math.cos(math.pi * run.iteration / training.iterations))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
    batch = task.train_batch(run.recipe.seed, run.iteration, training.batch)
    inputs, targets = (torch.from_numpy(array).to(run.device) for array in (batch.inputs, batch.targets))
    run.optimizer.zero_grad()
    with float32_products(tf32=training.tf32):
        with torch.autocast(run.device.type, torch.bfloat16, enabled=training.precision == "bf16"):
            outputs = run.model(inputs)
        loss = functional.cross_entropy(outputs.float().flatten(0, -2), targets.flatten(), ignore_index=IGNORED)
        loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), training.clip_norm)
    run.optimizer.step()
    return loss.detach()


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
    """The trained network with its test metrics, recipe and versions, and the task's examples."""
    task = run.recipe.make_task()
    weights = {name: value.detach().cpu().numpy() for name, value in run.model.state_dict().items()}
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
        metrics=evaluate(run.model, task, "test"),
        provenance=provenance,
        examples=task.examples(),
    )

"""A training as it stands: network, optimizer, log; saved whole, and gone on from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_core.memory import require_memory
from drnn_deploy.tasks.scoring import SEQUENCES_AT_ONCE
from drnn_deploy.training.kernel import choose_kernel
from drnn_deploy.training.ranks import Ranks, take_own_gpu
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.saved_state import STATE_FORMAT, check_state
from drnn_models.baseline_modules import Network, make_network
from drnn_models.dilated_rnn import State
from drnn_models.memory import evaluation_needs, training_needs
from drnn_models.plain_files import load_plain, save_plain

if TYPE_CHECKING:
    from drnn_deploy.training.recorded_step import RecordedStep

_AGAIN = "Delete it to train from the start."


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
    carried: State = dataclasses.field(default_factory=dict)  # of all sequences, after the last step
    seconds_allowed: float | None = None  # not saved, like what follows: whoever goes on says it again
    ranks: Ranks = dataclasses.field(default_factory=Ranks)
    kernel: str = "torch"
    recorded: RecordedStep | None = None  # of the kernel "graph"

    @classmethod
    def start(cls, recipe: Recipe, device: str = "cpu") -> TrainingRun:
        """Start a training, with weights from the recipe's seed.

        Args:
            recipe: Network, task, optimiser and seed.
            device: "cpu" or "cuda".

        Raises:
            InputError: There is not enough memory for it, or the recipe asks for a kernel that cannot compute it.
        """
        steps, here = recipe.make_task().length, slice(None) if device == "cpu" else slice(1, 2)  # the inputs alone
        options = {"carried": recipe.training.carried_state, "dropout": recipe.training.dropout > 0}
        require_memory("a training step", training_needs(recipe.spec, recipe.training.batch, steps, **options)[here])
        require_memory("a validation", evaluation_needs(recipe.spec, SEQUENCES_AT_ONCE, steps)[here])
        torch.manual_seed(recipe.seed)
        model = make_network(recipe.spec).to(device)
        _scale_inputs(model, recipe.training.input_scale)
        rate = recipe.training.learning_rate
        optimizer: torch.optim.Optimizer
        if recipe.training.optimizer == "adam":
            optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        else:
            optimizer = torch.optim.RMSprop(model.parameters(), lr=rate, alpha=0.9)
        kernel = choose_kernel(recipe, model, device)
        return cls(recipe, torch.device(device), model, optimizer, kernel=kernel)

    @classmethod
    @checked_arguments
    def resume(cls, path: Path | str, recipe: Recipe | None = None, device: str | None = None) -> TrainingRun:
        """Go on from the file of `save`.

        Args:
            path: What `save` wrote.
            recipe: The recipe that it must be of, but for its kernel, which may have been another. None: the file's.
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
        if not recipe.is_in(data.get("recipe"), apart_from=["kernel"]):
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
        run.carried = {name: value.to(run.device) for name, value in data.get("carried", {}).items()}
        run.losses = list(data.get("losses", torch.zeros(0)).to(run.device))
        return run

    @checked_arguments
    def save(self, path: Path | str) -> None:
        """Write the state, whole or not at all; of several processes the first one does.

        Raises:
            InputError: The file cannot be written, or no training could go on from it.
        """
        if self.ranks.rank:
            return
        state: dict[str, Any] = {
            "format": STATE_FORMAT,
            "recipe": self.recipe.to_json(),
            "device": self.device.type,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "log": [dataclasses.asdict(line) for line in self.log],
            "carried": self.carried,
            "losses": torch.stack(self.losses).cpu() if self.losses else torch.zeros(0),
        }
        check_state(state, self.recipe, self.model, self.optimizer)
        save_plain(Path(path), state)

    @property
    def solved(self) -> bool:
        """Whether the last line of the log says that the recipe's goal is reached."""
        return self.recipe.training.is_solved(self.log[-1].validation if self.log else None)

    @property
    def share(self) -> float:
        """How much of the training is done, 0 to 1: of the iterations, or of the time where that is more."""
        done = self.iteration / self.recipe.training.iterations
        if self.seconds_allowed is None or self.iteration == 0:  # at least one step is taken
            return done
        return 1.0 if self.seconds >= self.seconds_allowed else max(done, self.seconds / self.seconds_allowed)

    @property
    def finite(self) -> bool:
        """Whether every weight, moment, carried state, and loss since the last line of the log, is a number."""
        moments = [value for entry in self.optimizer.state.values() for value in entry.values()]
        return all(
            bool(torch.isfinite(value).all())
            for value in (*self.model.parameters(), *moments, *self.carried.values(), *self.losses)
        )


@torch.no_grad()
def _scale_inputs(model: Network, factor: float) -> None:
    for name, weights in model.named_parameters():
        if "weight_ih" in name:
            weights.mul_(factor)


def usable_device(device: object) -> str:
    """The device, where PyTorch has it; of several processes that train one network on GPUs, each its own.

    Raises:
        InputError: PyTorch has no such device here, or none for this process.
    """
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        kind = "CUDA" if device == "cuda" else "such"
        raise InputError(f"--device {device}: PyTorch finds no {kind} device", "Train with --device cpu.")
    if device == "cuda":
        take_own_gpu()
    return str(device)


def _saved_recipe(path: Path, data: dict[str, Any]) -> Recipe:
    try:
        return Recipe.from_json(data.get("recipe"))
    except InputError as error:
        raise InputError(f"{path} is a damaged training state: {error.message}", _AGAIN) from error

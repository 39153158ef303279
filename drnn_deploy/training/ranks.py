"""One training by several processes, as `torchrun` starts them: each computes its share of every batch.

All have the same weights and draw the same batches. The gradients of the shares are added, so that a step is the one of
a single process but for the rounding of the sum. A stop of any process is agreed on in the same sum: all end after the
same step, and the first one saves.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import torch

from drnn_core.errors import InputError
from drnn_deploy.tasks import IGNORED, Batch
from drnn_deploy.training.stops import Terminated

_LONGEST_WAIT = datetime.timedelta(hours=2)  # for the first process, which validates


@dataclasses.dataclass
class Ranks:
    """The processes of a training.

    Attributes:
        rank: The number of this one; the first one, 0, saves and validates.
        world: How many there are.
        stopping: Whether this one was told to stop.
    """

    rank: int = 0
    world: int = 1
    stopping: bool = False

    @property
    def rows(self) -> slice:
        """The sequences of a batch that this process computes."""
        return slice(self.rank, None, self.world)

    def share(self, batch: Batch) -> tuple[Batch, int]:
        """What this process computes of a batch.

        Args:
            batch: The whole batch, which each process draws.

        Returns:
            Its rows, and how many targets of the whole batch count.
        """
        return Batch(batch.inputs[self.rows], batch.targets[self.rows]), int((batch.targets != IGNORED).sum())

    def add_up(self, parameters: list[torch.nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
        """Replace the gradients of the shares by their sum.

        Args:
            parameters: With the gradients of this process's share, if it has some.
            loss: The share's part of the loss.

        Returns:
            The loss of the whole batch.

        Raises:
            Terminated: Some process was told to stop. The sum is done, and all processes raise it in this step.
        """
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        sizes = [parameter.numel() for parameter in parameters]
        gradients = [parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]
        summed = torch.cat([*gradients, torch.stack([loss, torch.full_like(loss, float(self.stopping))])])
        torch.distributed.all_reduce(summed)
        *parts, ends = torch.split(summed, [*sizes, 2])
        for parameter, gradient in zip(parameters, parts, strict=True):
            parameter.grad = gradient.view_as(parameter)
        if float(ends[1]):
            raise Terminated
        whole: torch.Tensor = ends[0]
        return whole

    def all_rows(self, parts: dict[str, torch.Tensor], size: int) -> dict[str, torch.Tensor]:
        """What all processes have for their sequences, for each of them.

        Args:
            parts: Name -> (own sequences, d, H).
            size: The sequences of the batch.

        Returns:
            Name -> (size, d, H).
        """
        if self.world == 1:
            return parts
        whole = torch.cat([part.flatten(1) for part in parts.values()], dim=1)
        whole, own = whole.new_zeros(size, whole.shape[1]), whole
        whole[self.rows] = own
        torch.distributed.all_reduce(whole)  # the others' rows are zeros: nothing is rounded
        columns = torch.split(whole, [part[0].numel() for part in parts.values()], dim=1)
        return {name: part.reshape(size, *parts[name].shape[1:]) for name, part in zip(parts, columns, strict=True)}

    def of_the_first(self, compute: Callable[[], Any]) -> Any:
        """What the first process computes, for all.

        Args:
            compute: Called in the first process alone.
        """
        if self.world == 1:
            return compute()
        held = [compute() if self.rank == 0 else None]
        torch.distributed.broadcast_object_list(held)
        return held[0]

    @contextlib.contextmanager
    def agreeing_on_stops(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM end several processes at their next step; one process they end as ever."""
        if self.world == 1:
            yield
            return

        def note(number: int, frame: object) -> None:
            self.stopping = True

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def processes_of_torchrun() -> int:
    """How many processes `torchrun` started, this one included; 1 where there was none."""
    # other launchers set WORLD_SIZE as well, and to what they like
    return int(os.environ["WORLD_SIZE"]) if torch.distributed.is_torchelastic_launched() else 1


def take_own_gpu() -> None:
    """Let "cuda" be a GPU of this process's own, before anything is put there, if `torchrun` started several processes.

    Raises:
        InputError: There are more processes on this machine than GPUs.
    """
    if processes_of_torchrun() == 1:
        return
    place, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if place >= gpus:
        raise InputError(
            f"process {place + 1} of this machine finds {gpus} GPUs", f"Start fewer: --nproc-per-node {gpus}."
        )
    torch.cuda.set_device(place)


@contextlib.contextmanager
def ranks_of_torchrun(device: str, batch: int) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, if it has started this one: by gloo on CPUs, by NCCL on GPUs.

    Args:
        device: "cpu" or "cuda".
        batch: The sequences of a step, at least one for each process.

    Yields:
        The processes: this one alone where there was no torchrun.

    Raises:
        InputError: There are more processes than sequences in a batch.
    """
    world = processes_of_torchrun()
    if world == 1:
        yield Ranks()
        return
    if world > batch:
        raise InputError(f"{world} processes cannot share batches of {batch}", "Start fewer: --nproc-per-node.")
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_LONGEST_WAIT)
    try:
        yield Ranks(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()

"""A training step as a CUDA graph: the GPU's work of one step is recorded once, and later steps start it as a whole.

A step of a narrow network is thousands of short kernels, and the host takes longer to start one than the GPU to run it.
The first steps of a process are PyTorch's own. Then a step is recorded, and compared on a batch with PyTorch's: only
where both change the weights alike, and the recorded one is faster, do the steps after it use it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Protocol

import torch

from drnn_deploy.training.training_run import TrainingRun
from drnn_deploy.training.update import update

_STEPS_BEFORE = 3  # after which libraries have chosen their kernels, and the optimizer has its moments
_DEVIATION = 1e-3  # relative, between a recorded step and PyTorch's: both run the same kernels


class Recorder(Protocol):
    """Where work is done before it is recorded, and what records it."""

    def before(self) -> contextlib.AbstractContextManager[None]:
        """What the steps before a recording run in."""

    def record(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        """Record what `work` does to tensors, without doing it.

        Returns:
            What it returns, which each repetition fills anew, and a function that repeats it on the same tensors.
        """

    def wait(self) -> None:
        """Wait for all work begun."""


class CudaRecorder:
    """Records with `torch.cuda.CUDAGraph`, on a stream of its own, as PyTorch demands of graphs with gradients."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def before(self) -> Iterator[None]:
        """See `Recorder`."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        """See `Recorder`."""
        graph = torch.cuda.CUDAGraph()
        # the outer stream is the one that stays: torch leaves its own as it is where a recording fails
        with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, stream=self._stream):
            result = work()
        return result, graph.replay

    def wait(self) -> None:
        """See `Recorder`."""
        torch.cuda.synchronize()


@dataclasses.dataclass(frozen=True)
class _Step:
    """A step that was taken, and the weights after it."""

    loss: torch.Tensor
    seconds: float
    weights: torch.Tensor


class RecordedStep:
    """The steps of one training in one process: PyTorch's at first, then recorded ones.

    Args:
        recorder: What records.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._taken = 0
        self._repeat: Callable[[], None] | None = None
        self._inputs = self._targets = self._rate = self._loss = torch.zeros(())  # they stay where a graph reads them

    def take(self, run: TrainingRun, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Take a step. Where recorded steps do not win, it sets the run's kernel to "torch": then they are over.

        Args:
            run: The training, whose optimizer has the step's learning rate.
            inputs: The batch, on the host, of the same shape in every step.
            targets: Its targets.

        Returns:
            The loss, detached.
        """
        if self._repeat:
            self._inputs.copy_(inputs)
            self._targets.copy_(targets)
            return self._repeated(run)
        if self._taken < _STEPS_BEFORE:
            self._taken += 1
            with self._recorder.before():
                return update(run, inputs.to(run.device), targets.to(run.device))[0]
        self._inputs, self._targets = inputs.to(run.device, copy=True), targets.to(run.device, copy=True)
        self._rate = torch.zeros((), device=run.device)
        try:
            self._loss, self._repeat = self._record(run)
            before, repeated = self._tried(run)
        except RuntimeError as error:  # the kind that PyTorch raises for what no graph can hold, and for no memory
            self._give_up(run, f"a step cannot be recorded: {_cause(error)}")
            return update(run, self._inputs, self._targets)[0]
        loss, seconds = self._timed(lambda: update(run, self._inputs, self._targets)[0])
        try:
            reason = _difference(before, repeated, _Step(loss, seconds, _flat(run)))
        except RuntimeError as error:
            reason = f"a step cannot be compared: {_cause(error)}"
        if reason:
            self._give_up(run, reason)
        return loss

    def _record(self, run: TrainingRun) -> tuple[torch.Tensor, Callable[[], None]]:
        groups = run.optimizer.param_groups
        own = [(group["lr"], group["capturable"]) for group in groups]
        _count_on(run, run.device)
        run.optimizer.zero_grad()
        try:
            for group in groups:
                group.update(lr=self._rate, capturable=True)
            return self._recorder.record(lambda: update(run, self._inputs, self._targets)[0])
        finally:
            for group, (rate, capturable) in zip(groups, own, strict=True):
                group.update(lr=rate, capturable=capturable)

    def _tried(self, run: TrainingRun) -> tuple[torch.Tensor, _Step]:
        """Take a recorded step, and take it back, whatever happens. Returns the weights before it, and the step."""
        values = [
            *run.model.parameters(),
            *(value for entry in run.optimizer.state.values() for value in entry.values()),
        ]
        start, before = [value.detach().clone() for value in values], _flat(run)

        def go_back() -> None:
            with torch.no_grad():
                for value, old in zip(values, start, strict=True):
                    value.copy_(old)

        try:
            self._repeated(run)  # the first time also brings the graph to the GPU
            go_back()
            return before, _Step(*self._timed(lambda: self._repeated(run)), _flat(run))
        finally:
            go_back()

    def _repeated(self, run: TrainingRun) -> torch.Tensor:
        assert self._repeat is not None
        self._rate.fill_(run.optimizer.param_groups[0]["lr"])
        self._repeat()
        return self._loss.clone()

    def _timed(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
        self._recorder.wait()
        began = time.perf_counter()
        result = work()
        self._recorder.wait()
        return result, time.perf_counter() - began

    def _give_up(self, run: TrainingRun, reason: str) -> None:
        self._repeat, run.kernel, run.recorded = None, "torch", None
        _count_on(run, torch.device("cpu"))
        warnings.warn(f"training goes on without a CUDA graph: {reason}", RuntimeWarning, stacklevel=2)


def _difference(before: torch.Tensor, repeated: _Step, own: _Step) -> str:
    """Why not to use recorded steps, if there is a reason. before: the weights; own: PyTorch's step."""
    changed, error = (own.weights - before).norm(), (own.weights - repeated.weights).norm()
    alike = error <= _DEVIATION * changed and (repeated.loss - own.loss).abs() <= _DEVIATION * own.loss.abs()
    if not alike:  # as NaN never is
        return (
            f"a recorded step deviates from PyTorch's: in the weights by {float(error):.1e}, of a change by"
            f" {float(changed):.1e}; its loss is {float(repeated.loss):.6g}, PyTorch's {float(own.loss):.6g}"
        )
    if repeated.seconds >= own.seconds:
        return f"a recorded step takes {1e3 * repeated.seconds:.3g} ms, PyTorch's {1e3 * own.seconds:.3g} ms"
    return ""


def _flat(run: TrainingRun) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in run.model.parameters()])


def _cause(error: BaseException) -> str:
    """What went wrong first: the end of a recording that failed raises an error of its own."""
    while error.__context__:
        error = error.__context__
    return str(error).partition("\n")[0]


def _count_on(run: TrainingRun, device: torch.device) -> None:
    """Put the optimizer's step counts on a device: on the host they would be constants of a graph."""
    for entry in run.optimizer.state.values():
        entry["step"] = entry["step"].to(device)

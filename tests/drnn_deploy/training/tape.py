"""What stands for a CUDA graph where there is no GPU.

A `Tape` writes down what a step does to which tensors, and repeats that without any of the step's Python. What a graph
could not repeat, it cannot either.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

HOST = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.masked_select.default"}  # the host waits


class Tape(TorchDispatchMode):
    """Stands for a CUDA graph on a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._made: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if str(func) in HOST:
            raise RuntimeError(f"{func} reads the device")
        if func._schema.is_mutable:
            for tensor in _tensors((args, kwargs)):
                if all(tensor is not made for made in self._made):
                    self._before.setdefault(id(tensor), (tensor, tensor.detach().clone()))
        result = func(*args, **kwargs)
        self._made += _tensors(result)
        self.calls.append((func, args, kwargs, result))
        return result

    def undo(self) -> None:
        """A recording does nothing: put back what it changed."""
        with torch.no_grad():
            for tensor, before in self._before.values():
                tensor.copy_(before)

    def repeat(self) -> None:
        """Do it all again, on the same tensors."""
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, result in self.calls:
                again = func(*args, **kwargs)
                if not func._schema.is_mutable:
                    for old, new in zip(_tensors(result), _tensors(again), strict=True):
                        if old.data_ptr() != new.data_ptr():  # else a view, of what was made anew
                            old.detach().copy_(new)


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in _pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


class TapeRecorder:
    """Makes tapes."""

    def __init__(self) -> None:
        self.records = self.repeats = 0

    @contextlib.contextmanager
    def before(self) -> Iterator[None]:
        yield

    def record(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        self.records += 1
        with Tape() as tape:
            result = work()
        tape.undo()

        def repeat() -> None:
            self.repeats += 1
            tape.repeat()

        return result, repeat

    def wait(self) -> None:
        pass


class Clock:
    """Every second span takes one time, the others another."""

    def __init__(self, pytorch: float, recorded: float) -> None:
        self._spans, self._calls, self._now = (recorded, pytorch), 0, 0.0

    def __call__(self) -> float:
        if self._calls % 2:
            self._now += self._spans[self._calls // 2 % 2]
        self._calls += 1
        return self._now

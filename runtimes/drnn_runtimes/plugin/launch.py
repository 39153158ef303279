"""What the plugin does on the GPU: the layers' states into one array, the kernel, and the states out again."""

from __future__ import annotations

import contextlib
import itertools
import math
import weakref
from collections.abc import Sequence
from typing import Any

from drnn_core import gpu
from drnn_core.errors import EngineError
from drnn_runtimes.cuda_kernel.device import Driver
from drnn_runtimes.cuda_kernel.plan import KernelPlan
from drnn_runtimes.plugin.carried import REBUILD, CarriedKernel
from drnn_runtimes.plugin.stack import Stack

_ALIGNED = 256  # bytes: where the second part of the workspace begins


def workspace_bytes(stack: Stack, plan: KernelPlan, batch: int) -> int:
    """What a launch needs beside its inputs and outputs: the states in one array, and the kernel's own workspace.

    Args:
        stack: What is computed.
        plan: Its kernel.
        batch: The number of sequences.
    """
    return _scratch_begin(stack, batch) + plan.workspace_bytes(batch)


class StackLauncher:
    """The kernel of an engine, loaded on the GPU of the calling thread.

    Args:
        carried: What the engine holds.
        architecture: Of the GPU, as "86".

    Raises:
        EngineError: The engine has no image for the GPU, or the GPU does not take it.
    """

    def __init__(self, carried: CarriedKernel, architecture: str) -> None:
        if architecture not in carried.images:
            has = ", ".join(carried.images)
            what = f"the kernel inside the engine is for the architectures {has}, and this GPU is {architecture}"
            raise EngineError(what, REBUILD)
        self._stack, self._driver, self._held = carried.stack, Driver(), contextlib.ExitStack()
        self._kernel = self._driver.load(self._held, carried.images[architecture], carried.stack.plan(architecture))
        self._end = weakref.finalize(self, self._held.close)  # TensorRT drops the plugin with its execution context
        self._end.atexit = False  # when there may be no driver any more

    @classmethod
    def here(cls, carried: CarriedKernel) -> StackLauncher:
        """Load the kernel on the first visible GPU.

        Args:
            carried: What the engine holds.

        Raises:
            EngineError: There is none, or as for the class.
        """
        device = gpu.gpu()
        if device is None:
            raise EngineError(f"the kernel inside the engine runs on a GPU only, and {gpu.gpu_reason()}", "")
        return cls(carried, gpu.architecture(device.compute_capability))

    def close(self) -> None:
        """Unload the kernel, as the end of the launcher does."""
        self._end()

    def run(
        self, inputs: Sequence[int], outputs: Sequence[int], batch: int, steps: int, workspace: int, stream: Any
    ) -> None:
        """Start the work on a stream.

        Args:
            inputs: Addresses of `rows`, `weights` and the states.
            outputs: Addresses of `top` and the next states.
            batch: The number of sequences.
            steps: Of each.
            workspace: The address of `workspace_bytes` bytes.
            stream: The stream.

        Raises:
            EngineError: The driver refuses.
        """
        (rows, weights, *before), (top, *after) = inputs, outputs
        state = workspace if self._stack.states else 0
        scratch = workspace + _scratch_begin(self._stack, batch) if self._kernel.plan.workspace else 0
        for (place, size), line in zip(_lines(self._stack, batch), before, strict=True):
            self._driver.call("cuMemcpyDtoDAsync", state + place, line, size, stream)
        self._kernel.launch([rows, weights, state, state, scratch, top], batch, steps, self._stack.answers, stream)
        for (place, size), line in zip(_lines(self._stack, batch), after, strict=True):
            self._driver.call("cuMemcpyDtoDAsync", line, state + place, size, stream)


def _lines(stack: Stack, batch: int) -> list[tuple[int, int]]:
    """Where each state is in the array of all, and its size, in bytes."""
    if not stack.states:
        return []
    sizes = [4 * math.prod(shape) for shape in stack.spec.state_shapes(batch).values()]
    return list(zip(itertools.accumulate(sizes, initial=0), sizes, strict=False))


def _scratch_begin(stack: Stack, batch: int) -> int:
    return -(-sum(size for _, size in _lines(stack, batch)) // _ALIGNED) * _ALIGNED

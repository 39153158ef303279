"""The kernel compiled for the host: the same text with fibers for threads. It shows what is computed, not how fast.

It needs g++ or clang++, and no GPU. It is slow, and for tests: of the kernel, and of what launches it.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import RuntimeUnavailableError
from drnn_runtimes.cuda_kernel.constants import constants, read_source
from drnn_runtimes.cuda_kernel.plan import KernelPlan

_FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-fno-strict-aliasing", "-fvisibility=hidden", "-w")
_GUARD = 4096  # floats
_FIX = "Install a C++ compiler: apt install g++."


class HostKernel:
    """The kernel of a plan, on the host.

    Args:
        plan: What `plan_kernel` chose.
        source: The text of drnn.cu; tests break it.

    Raises:
        RuntimeUnavailableError: There is no compiler, or it refuses the text.
    """

    def __init__(self, plan: KernelPlan, source: str | None = None) -> None:
        self.plan = plan
        text = "\n".join(
            [
                constants(plan),
                read_source("host_shim.h"),
                source or read_source("drnn.cu"),
                read_source("host_launch.h"),
            ]
        )
        self._launch = _compiled(text).drnn_launch
        self._launch.restype = ctypes.c_char_p

    def run(
        self,
        inputs: NDArray[np.float32],
        weights: NDArray[np.uint8],
        answers: int,
        state: NDArray[np.float32] | None = None,
        *,
        keep_state: bool = False,
        seed: int = 0,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Launch the kernel as on a GPU.

        Args:
            inputs: (B, T, C), what the first layer reads.
            weights: What `pack_weights` gives.
            answers: The last steps that are wanted.
            state: What `pack_state` gives; None for zeros.
            keep_state: Whether the state after the last step is wanted.
            seed: Of the order of threads.

        Returns:
            The top layer's h (B, answers, H), and the state.
        """
        plan = self.plan
        batch, steps = inputs.shape[:2]
        plan.check_launch(steps, answers, states=keep_state or state is not None)
        outputs = np.full((batch, answers, plan.spec.hidden[-1]), np.nan, np.float32)
        after = np.full(plan.state_floats(batch) if keep_state else 0, np.nan, np.float32)
        workspace = np.full(plan.workspace_bytes(batch) // 4, np.nan, np.float32)
        rows = np.ascontiguousarray(inputs, np.float32)
        arrays: list[NDArray[Any]] = [
            rows,
            weights,
            np.zeros(0, np.float32) if state is None else state,
            after,
            workspace,
            outputs,
        ]
        guarded = [_Guarded(array) for array in arrays]
        grid = plan.grid(batch), plan.threads, plan.shared_bytes
        self.launch(*grid, [memory.address for memory in guarded], batch, steps, answers, seed=seed)
        for memory, array in zip(guarded, arrays, strict=True):
            memory.check()
            if array is outputs or array is after:
                array[...] = memory.inside.view(array.dtype).reshape(array.shape)
        return outputs, after if keep_state else None

    def launch(
        self,
        grid: int,
        threads: int,
        shared_bytes: int,
        addresses: list[int],
        batch: int,
        steps: int,
        answers: int,
        *,
        seed: int = 0,
    ) -> None:
        """Launch the kernel with the arguments of a driver's launch.

        Args:
            grid: Blocks.
            threads: Of a block.
            shared_bytes: Dynamic shared memory.
            addresses: Of x, weights, state, next_state, workspace and y; 0 for none.
            batch: The number of sequences.
            steps: Of each.
            answers: The last steps that are wanted.
            seed: Of the order of threads.

        Raises:
            RuntimeError: The launch does not fit the kernel, a barrier does not have all of its threads, or a write is
                outside shared memory.
        """
        pointers = map(ctypes.c_void_p, addresses)
        told = self._launch(grid, threads, shared_bytes, ctypes.c_uint(seed), *pointers, batch, steps, answers)
        if told:
            raise RuntimeError(told.decode())


class _Guarded:
    """A copy of an array with NaNs around it: reads from there show in the outputs, `check` finds writes."""

    def __init__(self, array: NDArray[np.generic]) -> None:
        self._memory = np.full(2 * _GUARD + -(-array.nbytes // 4), np.nan, np.float32)
        self.inside = self._memory[_GUARD:].view(np.uint8)[: array.nbytes]
        self.inside[:] = array.reshape(-1).view(np.uint8)
        self.address = self.inside.ctypes.data if array.size else 0

    def check(self) -> None:
        if not np.isnan(np.concatenate([self._memory[:_GUARD], self._memory[-_GUARD:]])).all():
            raise RuntimeError("the kernel wrote outside an array")


def cpp_compiler() -> str | None:
    """The C++ compiler of this machine, or None."""
    return shutil.which("g++") or shutil.which("clang++")


def _compiled(text: str) -> ctypes.CDLL:
    compiler = cpp_compiler()
    if compiler is None:
        raise RuntimeUnavailableError("cuda-kernel: there is no C++ compiler", _FIX)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, library = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        source.write_text(text, encoding="utf-8")
        command = [compiler, *_FLAGS, "-o", str(library), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
        if done.returncode:
            error = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
            raise RuntimeUnavailableError(f"cuda-kernel: {compiler} cannot compile the kernel: {error}", _FIX)
        return ctypes.CDLL(str(library))

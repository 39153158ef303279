"""The compiled network of a process: `drnn.h` with weights, over NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights
from drnn_runtimes.native.compiler import load_library
from drnn_runtimes.native.network import pack_network, padded

_SIZES = "stream_size", "push_size", "run_size"
_ALIGNED = 64  # bytes of a cache line


class Kernel:
    """A network, compiled.

    Args:
        spec: The network.
        weights: Name -> array, in torch's gate order.

    Raises:
        RuntimeUnavailableError: It cannot be compiled here.
    """

    def __init__(self, spec: ModelSpec, weights: Weights) -> None:
        packed = pack_network(spec, weights)
        self.spec = spec
        self.library = load_library(packed.header)
        for name in _SIZES:
            getattr(self.library, f"drnn_{name}").restype = ctypes.c_size_t
        self.weights = aligned(packed.weights.nbytes).view(np.float32)
        self.weights[:] = packed.weights
        self.dtype = np.dtype(np.int32 if isinstance(spec.input, Tokens) else np.float32)

    def run(self, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
        """Run whole sequences from the zero state; only what reaches an output is computed.

        Args:
            inputs: (B, T, C) float32 or tokens (B, T).

        Returns:
            (B, k, outputs) of the steps that the head answers.

        Raises:
            InputError: A token is beyond the vocabulary.
        """
        batch, length = inputs.shape[:2]
        x, y = self._samples(inputs), self._outputs(batch, length)
        scratch = aligned(self.library.drnn_run_size(batch, length))
        self.library.drnn_run(pointer(self.weights), pointer(x), batch, length, pointer(y), pointer(scratch))
        return y

    def stream(self, batch: int) -> KernelStream:
        """A stream of `batch` sequences, at the zero state."""
        return KernelStream(self, batch)

    def _samples(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        spec = self.spec.input
        if isinstance(spec, Tokens) and inputs.size and not 0 <= inputs.min() <= inputs.max() < spec.vocabulary:
            raise InputError(f"tokens must be 0 to {spec.vocabulary - 1}")  # the kernel would read beyond its table
        return np.ascontiguousarray(inputs, self.dtype)

    def _outputs(self, batch: int, length: int) -> NDArray[np.float32]:
        head = self.spec.head
        return np.empty((batch, head.output_steps(length), head.outputs), np.float32)


class KernelStream:
    """The rings of a stream; see `Kernel.stream`."""

    def __init__(self, kernel: Kernel, batch: int) -> None:
        self._kernel, self._batch = kernel, batch
        self._memory = aligned(kernel.library.drnn_stream_size(batch))
        self._scratch = aligned(kernel.library.drnn_push_size(batch))
        kernel.library.drnn_start(pointer(self._memory), batch)

    def push(self, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
        """Feed samples.

        Args:
            inputs: (B, n, C) float32 or tokens (B, n).

        Returns:
            (B, k, outputs) of the last k steps, which the head answers.

        Raises:
            InputError: A token is beyond the vocabulary.
        """
        kernel, length = self._kernel, inputs.shape[1]
        x, y = kernel._samples(inputs), kernel._outputs(self._batch, length)
        kernel.library.drnn_push(
            pointer(kernel.weights), pointer(self._memory), pointer(x), length, pointer(y), pointer(self._scratch)
        )
        return y

    def lines(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the delay lines, by the names of `ModelSpec.state_shapes`, (B, d, H) oldest first."""
        shapes, lines = self._kernel.spec.state_shapes(self._batch), {}
        for (name, (_, kept, hidden)), (ring, oldest) in zip(shapes.items(), self._rings(), strict=True):
            lines[name] = np.roll(ring, -oldest, axis=0)[len(ring) - kept :, :, :hidden].swapaxes(0, 1).copy()
        return lines

    def set_lines(self, lines: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the delay lines with what `lines` gives."""
        self._kernel.library.drnn_start(pointer(self._memory), self._batch)
        names = self._kernel.spec.state_shapes(self._batch)
        for name, (ring, _) in zip(names, self._rings(), strict=True):
            line = lines[name]
            ring[len(ring) - line.shape[1] :, :, : line.shape[2]] = line.swapaxes(0, 1)

    def _rings(self) -> list[tuple[NDArray[np.float32], int]]:
        """Each ring (slots, B, padded H) in the order of `ModelSpec.state_shapes`, and the slot of its oldest step."""
        spec = self._kernel.spec
        numbers = self._memory[: 4 * (spec.layers + 2)].view(np.int32)
        values = self._memory[-(-numbers.nbytes // 32) * 32 :].view(np.float32)
        rings, start = [], 0
        for name, (_, kept, hidden) in spec.state_shapes(self._batch).items():
            slots, oldest = (kept + 1, numbers[-1]) if name == "fusion" else (kept, numbers[1 + int(name[1:-2])])
            shape = slots, self._batch, padded(hidden)
            size = int(np.prod(shape))
            rings.append((values[start : start + size].reshape(shape), int(oldest)))
            start += size
        return rings


def aligned(size: int) -> NDArray[np.uint8]:
    """(size,) bytes that begin at a cache line."""
    memory = np.empty(size + _ALIGNED, np.uint8)
    start = -memory.ctypes.data % _ALIGNED
    return memory[start : start + size]


def pointer(array: NDArray[np.generic]) -> ctypes.c_void_p:
    """The address of an array's values."""
    return ctypes.c_void_p(array.ctypes.data)

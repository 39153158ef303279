"""A network as `drnn.h` runs it: whole sequences and streams over NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_models.spec import ModelSpec, Tokens
from drnn_models.weights import Weights
from drnn_runtimes.native.compiler import load_library
from drnn_runtimes.native.network import PackedLayer, PackedNetwork, pack_network, padded
from drnn_runtimes.session import check_tokens
from drnn_runtimes.streaming.buffers import TakesBlocks

_SIZES = "stream_size", "push_size", "run_size"
_ALIGNED = 64  # bytes of a cache line


class _Layer(ctypes.Structure):
    """`struct drnn_layer`."""

    _fields_ = (
        ("inputs", ctypes.c_int),
        ("hidden", ctypes.c_int),
        ("dilation", ctypes.c_int),
        ("weights", ctypes.c_void_p),
        ("biases", ctypes.c_void_p),
    )


class _Network(ctypes.Structure):
    """`struct drnn_network`."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("layers", "outputs", "features", "tokens", "last", "window", "widest")),
        *((name, ctypes.c_void_p) for name in ("layer", "head", "head_biases", "table", "kernel")),
    )


class Kernel:
    """A network, with the compiled kernel of its cell.

    Args:
        spec: The network.
        weights: Name -> array, in torch's gate order.
        narrow: Whether to compute with int8 weights.

    Raises:
        RuntimeUnavailableError: The kernel cannot be compiled here.
    """

    def __init__(self, spec: ModelSpec, weights: Weights, *, narrow: bool = False) -> None:
        packed = pack_network(spec, weights, narrow=narrow)
        self.spec = spec
        self.library = load_library(packed.cell, narrow=narrow)
        for name in _SIZES:
            getattr(self.library, f"native_{name}").restype = ctypes.c_size_t
        self._weights, self._biases = (_copied(array) for array in (packed.weights, packed.biases))
        self._layers = (_Layer * len(packed.layers))(*map(self._layer, packed.layers))
        self.network = ctypes.byref(self._network(packed))
        self.every_step = ctypes.byref(self._network(packed, last=0))
        self._dtype = np.dtype(np.int32 if isinstance(spec.input, Tokens) else np.float32)

    def run(self, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
        """Run whole sequences from the zero state; only what reaches an output is computed.

        Args:
            inputs: (B, T, C) float32 or tokens (B, T).

        Returns:
            (B, k, outputs) of the steps that the head answers.

        Raises:
            InputError: A token is beyond the vocabulary.
        """
        x = self.samples(inputs)
        y = np.empty((len(inputs), self.spec.head.output_steps(inputs.shape[1]), self.spec.head.outputs), np.float32)
        self.bind(x, y)()
        return y

    def bind(self, samples: NDArray[np.generic], outputs: NDArray[np.generic]) -> Callable[[], None]:
        """Make a call of `run` that reads and writes the same arrays again and again.

        Args:
            samples: What `samples` returned.
            outputs: (B, k, outputs) float32, or without k where it is 1, contiguous.
        """
        batch, length = samples.shape[:2]
        scratch = aligned(self.library.native_run_size(self.network, batch, length))
        run, network, kept = self.library.native_run, self.network, (self, samples, outputs, scratch)
        x, y, memory = map(pointer, kept[1:])

        def call(*_: object, kept: object = kept) -> None:
            run(network, x, batch, length, y, memory)

        return call

    def samples(self, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        """The inputs as the kernel reads them, contiguous.

        Raises:
            InputError: A token is beyond the vocabulary: the kernel would read beyond its table.
        """
        if isinstance(self.spec.input, Tokens):
            check_tokens(inputs, self.spec.input.vocabulary)
        return np.ascontiguousarray(inputs, self._dtype)

    def _layer(self, at: PackedLayer) -> _Layer:
        return _Layer(at.inputs, at.hidden, at.dilation, _at(self._weights, at.weights), _at(self._biases, at.biases))

    def _network(self, packed: PackedNetwork, **other: int) -> _Network:
        return _Network(
            **packed.sizes | other,
            layer=ctypes.addressof(self._layers),
            head=_at(self._weights, packed.head[0]),
            head_biases=_at(self._biases, packed.head[1]),
            table=_at(self._biases, packed.table),
            kernel=ctypes.cast(self.library.native_kernel, ctypes.c_void_p).value,
        )


class KernelStream(TakesBlocks):
    """`batch` sequences of a network that are fed in step, from the zero state on. Its arrays stay where they are.

    Args:
        kernel: The network.
        samples: (B, n, C) float32 or tokens (B, n) int64, of each run. Its values at the time of the run count.
    """

    def __init__(self, kernel: Kernel, samples: NDArray[np.generic]) -> None:
        batch, length = samples.shape[:2]
        head, library = kernel.spec.head, kernel.library
        self._kernel, self._samples, self._batch = kernel, samples, batch
        self._fed = kernel.samples(samples)
        self._copied = self._fed is not samples
        self.outputs = np.zeros((batch, head.output_steps(length), head.outputs), np.float32)
        self._memory = aligned(library.native_stream_size(kernel.network, batch))
        self._scratch = aligned(library.native_push_size(kernel.network, batch))
        self._push, stream = library.native_push, pointer(self._memory)
        self._arguments = (
            kernel.network,
            stream,
            pointer(self._fed),
            length,
            pointer(self.outputs),
            pointer(self._scratch),
        )
        library.native_start(kernel.network, stream, batch)

    def run(self) -> NDArray[np.float32]:
        """Feed the samples.

        Returns:
            (B, k, outputs) of the last k steps, which the head answers; the next run overwrites it.

        Raises:
            InputError: A token is beyond the vocabulary.
        """
        if self._copied:
            self._fed[...] = self._kernel.samples(self._samples)
        self._push(*self._arguments)
        return self.outputs

    def run_block(self, samples: NDArray[np.generic]) -> NDArray[np.float32]:
        """Feed samples of which every step is answered; see `TakesBlocks`.

        Raises:
            InputError: A token is beyond the vocabulary.
        """
        if samples.shape[1] == 1 == self._samples.shape[1]:
            self._samples[...] = samples
            return self.run().copy()
        kernel, fed = self._kernel, self._kernel.samples(samples)
        outputs = np.empty((self._batch, samples.shape[1], kernel.spec.head.outputs), np.float32)
        self._push(
            kernel.every_step,
            pointer(self._memory),
            pointer(fed),
            samples.shape[1],
            pointer(outputs),
            pointer(self._scratch),
        )
        return outputs

    def lines(self) -> dict[str, NDArray[np.generic]]:
        """Copies of the delay lines, by the names of `ModelSpec.state_shapes`, (B, d, H) oldest first."""
        shapes = self._kernel.spec.state_shapes(self._batch)
        lines: dict[str, NDArray[np.generic]] = {}
        for (name, (_, kept, hidden)), (ring, place) in zip(shapes.items(), self._rings(), strict=True):
            lines[name] = np.roll(ring, -place, axis=0)[len(ring) - kept :, :, :hidden].swapaxes(0, 1).copy()
        return lines

    def started(self) -> NDArray[np.bool_]:
        """True for every sequence (B,): no output comes late."""
        return np.ones(self._batch, bool)

    def set_lines(self, lines: Mapping[str, NDArray[np.generic]]) -> None:
        """Replace the delay lines with what `lines` gives."""
        self._kernel.library.native_start(self._kernel.network, pointer(self._memory), self._batch)
        names = self._kernel.spec.state_shapes(self._batch)
        for name, (ring, _) in zip(names, self._rings(), strict=True):
            line = lines[name]
            ring[len(ring) - line.shape[1] :, :, : line.shape[2]] = line.swapaxes(0, 1)

    def _rings(self) -> list[tuple[NDArray[np.float32], int]]:
        """Each ring (slots, B, padded H) in the order of `ModelSpec.state_shapes`, and the slot that is written next.

        A ring has one slot more than the steps that it keeps.
        """
        spec = self._kernel.spec
        places = self._memory[: 4 * (spec.layers + 2)].view(np.int32)
        values = self._memory[4 * padded(spec.layers + 2) :].view(np.float32)
        rings, start = [], 0
        for name, (_, kept, hidden) in spec.state_shapes(self._batch).items():
            shape = kept + 1, self._batch, padded(hidden)
            size, place = int(np.prod(shape)), places[1 if name == "fusion" else 2 + int(name[1:-2])]
            rings.append((values[start : start + size].reshape(shape), int(place)))
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


def _copied(array: NDArray[np.generic]) -> NDArray[np.generic]:
    copy = aligned(array.nbytes).view(array.dtype)
    copy[:] = array
    return copy


def _at(array: NDArray[np.generic], index: int) -> int:
    """The address of a value, or of the end."""
    return array.ctypes.data + index * array.itemsize

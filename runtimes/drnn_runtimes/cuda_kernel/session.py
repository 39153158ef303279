"""A session of the kernel: weights and states stay on the GPU, each size of run is recorded once as a CUDA graph."""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_models.spec import Head, ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.cuda_kernel.around import kernel_answers, kernel_inputs, run_head
from drnn_runtimes.cuda_kernel.device import Device, Kernel
from drnn_runtimes.cuda_kernel.weights import pack_state, pack_weights, unpack_state
from drnn_runtimes.session import Arrays, CopyingSession, session_closed
from drnn_runtimes.streaming.buffers import TakesBlocks
from drnn_runtimes.streaming.delay_lines import next_states, whole_lines

Lines = Mapping[str, NDArray[np.generic]]


class Network:
    """A network whose kernel and weights are on a GPU.

    Args:
        device: The GPU.
        kernel: The loaded kernel.
        spec: The network.
        weights: Name -> array, in torch's gate order.
        stack: Frees what it holds.
    """

    def __init__(
        self, device: Device, kernel: Kernel, spec: ModelSpec, weights: Weights, stack: contextlib.ExitStack
    ) -> None:
        self.device, self.kernel, self.spec, self.weights = device, kernel, spec, weights
        self._closed = False
        stack.callback(self._close)
        packed = pack_weights(kernel.plan, weights)
        self.packed = device.memory(stack, packed.nbytes)
        device.upload(self.packed, packed)

    def use(self) -> Device:
        """The GPU, made this thread's own.

        Raises:
            InputError: The session is closed, and what it had on the GPU is freed.
        """
        if self._closed:
            raise session_closed()
        self.device.use()
        return self.device

    def _close(self) -> None:
        self._closed = True


class RecordedRun:
    """The launch of one size with its copies to and from the GPU, as a CUDA graph over arrays of its own.

    Args:
        network: What runs.
        batch: The number of sequences.
        steps: Of each.
        every: Whether the head answers every step, whichever it answers otherwise.
        state: Where the state is on the GPU, which the run replaces; 0 for a zero state, and none to keep.
    """

    def __init__(self, network: Network, batch: int, steps: int, *, every: bool = False, state: int = 0) -> None:
        spec, device, plan = network.spec, network.use(), network.kernel.plan
        self._network, self._state = network, state
        if every:
            spec = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs))
        self._spec, answers = spec, kernel_answers(spec, steps)
        self._held = contextlib.ExitStack()
        try:
            self._rows = device.host_array(self._held, (batch, steps, spec.input.width))
            self._top = device.host_array(self._held, (batch, answers, spec.hidden[-1]))
            x, y = (device.memory(self._held, array.nbytes) for array in (self._rows, self._top))
            workspace = device.memory(self._held, plan.workspace_bytes(batch))
            with device.recording(self._held) as replay:
                stream = device.stream
                device.call("cuMemcpyHtoDAsync", x, self._rows.ctypes.data, self._rows.nbytes, stream)
                addresses = x, network.packed, state, state, workspace, y
                network.kernel.launch(addresses, batch, steps, answers, stream)
                device.call("cuMemcpyDtoHAsync", self._top.ctypes.data, y, self._top.nbytes, stream)
            self._replay = replay[0]
        except BaseException:
            self._held.close()
            raise
        self.size = batch, steps

    def close(self) -> None:
        """Free its memory."""
        self._network.device.use()
        self._held.close()

    def run(self, inputs: NDArray[np.generic], past: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run.

        Args:
            inputs: (B, T, C), or tokens (B, T) of the vocabulary.
            past: (B, window - 1, H), what the top layer gave before; it is replaced where there is a state.

        Returns:
            (B, k, outputs).
        """
        network = self._network
        network.use()
        self._rows[...] = kernel_inputs(self._spec, network.weights, inputs)
        self._replay()
        network.device.wait()
        outputs, after = run_head(self._spec, network.weights, self._top, self.size[1], past)
        if self._state:
            past[...] = after
        return outputs


class DeviceState:
    """The states of sequences that go on: of the layers on the GPU, and the top layer's last outputs on the host.

    Args:
        network: The network.
        batch: The number of sequences.
        stack: Frees what it holds.
    """

    def __init__(self, network: Network, batch: int, stack: contextlib.ExitStack) -> None:
        self._network, self._batch = network, batch
        self._floats = network.kernel.plan.state_floats(batch)
        self.address = network.device.memory(stack, 4 * self._floats)
        network.device.clear(self.address, 4 * self._floats)
        self.past = zero_past(network.spec, batch)

    def lines(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the delay lines (B, d, H), oldest first."""
        packed = np.empty(self._floats, np.float32)
        self._network.use().download(self.address, packed)
        lines = unpack_state(self._network.spec, self._batch, packed)
        return lines | ({"fusion": self.past.copy()} if self.past.shape[1] else {})

    def set_lines(self, lines: Lines) -> None:
        """Replace them."""
        self._network.use().upload(self.address, pack_state(self._network.spec, lines))
        if self.past.shape[1]:
            self.past[...] = lines["fusion"]


class KernelSession(CopyingSession):
    """See `drnn_runtimes.session.Session`. One thread at a time.

    Args:
        network: What runs.
        graph: What it stands for.
        stack: Frees what it holds.
    """

    def __init__(self, network: Network, graph: GraphInfo, stack: contextlib.ExitStack) -> None:
        self._network, self._graph, self._spec, self._stack = network, graph, network.spec, stack
        self._last: RecordedRun | None = None
        stack.callback(self._forget)

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in float32, states too."""
        network = self._network
        samples = inputs["input"]
        batch, steps = samples.shape[:2]
        if not self._graph.states:
            return {"output": self._shaped(self._sized(batch, steps).run(samples, zero_past(network.spec, batch)))}
        with contextlib.ExitStack() as stack:
            stream = KernelStream(network, samples, stack)
            stream.set_lines(whole_lines(network.spec, self._graph, inputs))
            outputs = self._shaped(stream.run())
            return {"output": outputs, **next_states(self._graph, stream.lines())}

    def _bound(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """A call replays a CUDA graph of its own."""
        if self._graph.states:
            return super()._bound(inputs, outputs)
        samples, output = inputs["input"], outputs["output"]
        run, past = RecordedRun(self._network, *samples.shape[:2]), zero_past(self._network.spec, len(samples))

        def call() -> None:
            output[...] = self._shaped(run.run(samples, past))

        freed = weakref.finalize(call, run.close)  # with the call, or with the session, whichever ends first
        freed.atexit = False
        self._stack.callback(freed)
        return call

    def stream(self, samples: NDArray[Any]) -> KernelStream:
        """See `drnn_runtimes.streaming.buffers.KeepsLines`."""
        return KernelStream(self._network, samples, self._stack)

    def _sized(self, batch: int, steps: int) -> RecordedRun:
        """The run of a size; the one of the size before goes."""
        if self._last is None or self._last.size != (batch, steps):
            self._forget()
            self._last = RecordedRun(self._network, batch, steps)
        return self._last

    def _shaped(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, k, outputs) as the graph gives them: without k with head `last`."""
        return outputs[:, 0] if self._network.spec.head.kind == "last" else outputs

    def _forget(self) -> None:
        if self._last is not None:
            last, self._last = self._last, None
            last.close()


class KernelStream(TakesBlocks):
    """See `drnn_runtimes.streaming.buffers.DelayLines`. The states stay on the GPU.

    Args:
        network: What runs.
        samples: (B, n, ...), of each chunk. Its values at the time of `run` count.
        stack: Frees what it holds.
    """

    def __init__(self, network: Network, samples: NDArray[np.generic], stack: contextlib.ExitStack) -> None:
        self._network, self._samples = network, samples
        network.use()
        with contextlib.ExitStack() as held:
            self._state = DeviceState(network, len(samples), held)
            self._chunk = RecordedRun(network, *samples.shape[:2], state=self._state.address)
            self._held = stack.enter_context(held.pop_all())
        self._block: RecordedRun | None = None
        self._held.callback(self._close)

    def run(self) -> NDArray[np.float32]:
        """Compute one chunk, (B, k, outputs)."""
        return self._chunk.run(self._samples, self._state.past)

    def run_block(self, samples: NDArray[np.generic]) -> NDArray[np.float32]:
        """Compute steps of which every one is answered, see `TakesBlocks`: one launch for all."""
        batch, steps = samples.shape[:2]
        if not steps:
            return np.zeros((batch, 0, self._network.spec.head.outputs), np.float32)
        return self._sized(batch, steps).run(samples, self._state.past)

    def lines(self) -> dict[str, NDArray[np.generic]]:
        """Copies of the delay lines (B, d, H), oldest first."""
        return dict(self._state.lines())

    def started(self) -> NDArray[np.bool_]:
        """True for every sequence (B,): no output comes late."""
        return np.ones(len(self._samples), bool)

    def set_lines(self, lines: Lines) -> None:
        """Replace them."""
        self._state.set_lines(lines)

    def _sized(self, batch: int, steps: int) -> RecordedRun:
        if (batch, steps) == self._chunk.size == (batch, 1):
            return self._chunk
        if self._block is None or self._block.size != (batch, steps):
            if self._block is not None:
                last, self._block = self._block, None  # what is closed is not run, also where the next fails
                last.close()
            self._block = RecordedRun(self._network, batch, steps, every=True, state=self._state.address)
        return self._block

    def close(self) -> None:
        """Free what it has on the GPU."""
        self._network.device.use()
        self._held.close()

    def _close(self) -> None:
        for run in (self._chunk, self._block):
            if run is not None:
                run.close()


def zero_past(spec: ModelSpec, batch: int) -> NDArray[np.float32]:
    """What the top layer gave before a sequence.

    Args:
        spec: The network.
        batch: The number of sequences B.

    Returns:
        (B, window - 1, H).
    """
    return np.zeros((batch, spec.window - 1, spec.hidden[-1]), np.float32)

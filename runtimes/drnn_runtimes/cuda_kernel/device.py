"""A GPU through the CUDA driver (cuda-bindings): its memory, images of kernels, and recorded work."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import EngineError, giving_back
from drnn_runtimes.cuda_kernel.plan import KernelPlan

ENTRY = b"drnn_stack"
_WITHOUT_ASKING = 48 << 10  # bytes of shared memory that a block gets unasked
_GPU_FAILED = "Check that no other program fills or uses the GPU, then run again; if it lasts, restart the driver."


class Driver:
    """The functions of the CUDA driver, with errors as exceptions. What is allocated is freed by the given stack."""

    def __init__(self) -> None:
        self._cuda: Any = importlib.import_module("cuda.bindings.driver")

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function; returns its result.

        Args:
            name: As in NVIDIA's documentation.
            *arguments: What it takes.

        Raises:
            EngineError: The driver answers with an error.
        """
        code, *results = getattr(self._cuda, name)(*arguments)
        if int(code):
            raise EngineError(f"the GPU failed: {name}: {self._error(code)}", _GPU_FAILED)
        return results[0] if results else None

    def free(self, name: str, *arguments: Any) -> None:
        """Call a function that gives something back.

        Args:
            name: As in NVIDIA's documentation.
            *arguments: What it takes.

        Raises:
            EngineError: The driver answers with an error, and no work has failed before.
        """
        with giving_back():
            self.call(name, *arguments)

    def constant(self, kind: str, name: str) -> Any:
        """Look up a value of an enumeration.

        Args:
            kind: The enumeration, as in NVIDIA's documentation.
            name: Of the value.
        """
        return getattr(getattr(self._cuda, kind), name)

    def memory(self, stack: contextlib.ExitStack, size: int) -> int:
        """Allocate memory of the GPU.

        Args:
            stack: Frees it.
            size: Bytes; 0 gives the null pointer.

        Returns:
            Its address.
        """
        if not size:
            return 0
        address = int(self.call("cuMemAlloc", size))
        stack.callback(self.free, "cuMemFree", address)
        return address

    def host_array(self, stack: contextlib.ExitStack, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Allocate an array of the host that stays in memory, so that the GPU reads and writes it by itself.

        Args:
            stack: Frees it.
            shape: Of the array, float32, whose content is any.
        """
        size = 4 * int(np.prod(shape))
        address = int(self.call("cuMemHostAlloc", max(size, 1), 0))
        stack.callback(self.free, "cuMemFreeHost", address)
        memory = memoryview((ctypes.c_char * size).from_address(address))
        return np.frombuffer(memory, np.float32).reshape(shape)

    def function(self, stack: contextlib.ExitStack, image: bytes, name: bytes) -> Any:
        """Load an image.

        Args:
            stack: Unloads it.
            image: What NVRTC made for this GPU.
            name: Of the function.

        Raises:
            EngineError: The GPU does not take it, or it has no such function.
        """
        module = self.call("cuModuleLoadData", image)
        stack.callback(self.free, "cuModuleUnload", module)
        return self.call("cuModuleGetFunction", module, name)

    def load(self, stack: contextlib.ExitStack, image: bytes, plan: KernelPlan) -> Kernel:
        """Load an image of the kernel.

        Args:
            stack: Unloads it.
            image: What NVRTC made of the plan for this GPU.
            plan: Of the kernel.

        Raises:
            EngineError: The GPU does not take it.
        """
        function = self.function(stack, image, ENTRY)
        if plan.shared_bytes > _WITHOUT_ASKING:
            most = self.constant("CUfunction_attribute", "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES")
            self.call("cuFuncSetAttribute", function, most, plan.shared_bytes)
        return Kernel(self, function, plan)

    def _error(self, code: Any) -> str:
        told, text = self._cuda.cuGetErrorString(code)
        return f"{text.decode()} ({code.name})" if not int(told) and text else str(code.name)


class Device(Driver):
    """The first visible GPU, with a stream of its own. Its context is the one that PyTorch and others use too."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        """Begin to use it.

        Args:
            stack: Ends that.

        Raises:
            EngineError: The driver refuses.
        """
        super().__init__()
        self.call("cuInit", 0)
        device = self.call("cuDeviceGet", 0)
        before = self.call("cuCtxGetCurrent")
        self._context = self.call("cuDevicePrimaryCtxRetain", device)
        stack.callback(self.free, "cuDevicePrimaryCtxRelease", device)
        self.use()
        stack.callback(self._leave, before)
        flags = self.constant("CUstream_flags", "CU_STREAM_NON_BLOCKING")
        self.stream = self.call("cuStreamCreate", flags)
        stack.callback(self.free, "cuStreamDestroy", self.stream)

    def use(self) -> None:
        """Make it the GPU of the calling thread."""
        self.call("cuCtxSetCurrent", self._context)

    def _leave(self, before: Any) -> None:
        """Give the thread back the context that it had: one that is destroyed would stay current."""
        if int(self.call("cuCtxGetCurrent")) == int(self._context) != int(before):
            self.free("cuCtxSetCurrent", before)

    def wait(self) -> None:
        """Wait for all work of the stream."""
        self.call("cuStreamSynchronize", self.stream)

    def upload(self, to: int, values: NDArray[Any]) -> None:
        """Copy an array to the GPU. It may change or go afterwards.

        Args:
            to: Where to, on the GPU.
            values: The array.
        """
        values = np.ascontiguousarray(values)
        self.call("cuMemcpyHtoDAsync", to, values.ctypes.data, values.nbytes, self.stream)
        self.wait()

    def download(self, source: int, values: NDArray[Any]) -> None:
        """Copy memory of the GPU to an array.

        Args:
            source: Where from, on the GPU.
            values: The array, contiguous.
        """
        self.call("cuMemcpyDtoHAsync", values.ctypes.data, source, values.nbytes, self.stream)
        self.wait()

    def clear(self, address: int, size: int) -> None:
        """Fill memory of the GPU with zeros.

        Args:
            address: Where it begins.
            size: Bytes.
        """
        self.call("cuMemsetD8Async", address, 0, size, self.stream)
        self.wait()

    @contextlib.contextmanager
    def recording(self, stack: contextlib.ExitStack) -> Iterator[list[Callable[[], None]]]:
        """Record work as a CUDA graph.

        Args:
            stack: Frees the graph.

        Yields:
            A list, to which the call is added that replays what the stream was given inside of the block.
        """
        replay: list[Callable[[], None]] = []
        mode = self.constant("CUstreamCaptureMode", "CU_STREAM_CAPTURE_MODE_THREAD_LOCAL")
        self.call("cuStreamBeginCapture", self.stream, mode)
        try:
            yield replay
        finally:  # a stream that goes on recording would take no other work
            graph = self.call("cuStreamEndCapture", self.stream)
        stack.callback(self.free, "cuGraphDestroy", graph)
        ready = self.call("cuGraphInstantiate", graph, 0)
        stack.callback(self.free, "cuGraphExecDestroy", ready)
        replay.append(lambda: self.call("cuGraphLaunch", ready, self.stream))


class Kernel:
    """A loaded kernel.

    Attributes:
        plan: Its plan.
    """

    def __init__(self, driver: Driver, function: Any, plan: KernelPlan) -> None:
        self._driver, self._function, self.plan = driver, function, plan

    def launch(self, addresses: Sequence[int], batch: int, steps: int, answers: int, stream: Any) -> None:
        """Start the kernel.

        Args:
            addresses: On the GPU, of x, weights, state, next_state, workspace and y; 0 for none.
            batch: The number of sequences.
            steps: Of each.
            answers: The last steps that are wanted.
            stream: What it waits for, and what waits for it.

        Raises:
            EngineError: The driver refuses.
        """
        self.plan.check_launch(steps, answers, states=bool(addresses[2] or addresses[3]))
        pointers, sizes = np.array(addresses, np.uint64), np.array([batch, steps, answers], np.int32)
        places = [
            array.ctypes.data + index * array.itemsize for array in (pointers, sizes) for index in range(array.size)
        ]
        arguments = np.array(places, np.uint64)
        plan = self.plan
        grid, block = (plan.grid(batch), 1, 1), (plan.threads, 1, 1)
        shared, given = plan.shared_bytes, arguments.ctypes.data
        self._driver.call("cuLaunchKernel", self._function, *grid, *block, shared, stream, given, 0)

"""A session of one TensorRT engine on the GPU: its buffers, its stream and its CUDA graph."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import EngineError, InputError, giving_back
from drnn_core.types import TensorInfo
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.session import Arrays, CopyingSession, session_closed
from drnn_runtimes.trt.bindings import collecting_logger, data_type
from drnn_runtimes.trt.sidecar import REBUILD

_GPU_FAILED = "Check that no other program fills or uses the GPU, then run again; if it lasts, restart the driver."


@dataclasses.dataclass(frozen=True)
class _Buffer:
    """An input or output on the GPU (`address`), and a flat array of the same size on the host."""

    tensor: TensorInfo
    address: int
    host: NDArray[np.generic]


class TensorRTSession(CopyingSession):
    """See `drnn_runtimes.session.Session`. Buffers for the largest batch are allocated once.

    Threads that share it wait for each other.
    """

    def __init__(self, graph: GraphInfo, batch: tuple[int, int, int] | None, spec: ModelSpec | None = None) -> None:
        """Hold nothing yet.

        Args:
            graph: What the engine was built from.
            batch: The smallest, usual and largest batch; None for a graph of one batch.
            spec: The network, whose vocabulary counts.
        """
        self._graph, self._batch, self._spec = graph, batch, spec
        self._alone = threading.Lock()  # of the buffers, the context and the stream
        self._held = contextlib.ExitStack()  # what to free on the GPU, freed in reverse order
        self._inputs: tuple[_Buffer, ...] = ()
        self._outputs: tuple[_Buffer, ...] = ()
        self._context: Any = None
        self._launch: Callable[[], object] = self._execute

    def open(self, module: Any, data: bytes, host_code: bool = False) -> None:
        """Load an engine and allocate its buffers. `close` also frees what a failed `open` took.

        Args:
            module: NVIDIA's module.
            data: A serialised engine.
            host_code: Whether the engine may bring code for the CPU, as version compatible ones do.

        Raises:
            EngineError: TensorRT or the GPU does not take it, or it is of another graph.
        """
        self._cuda: Any = importlib.import_module("cuda.bindings.runtime")
        self._logger = collecting_logger(module)
        self._call(self._cuda.cudaSetDevice, 0)
        self._stream = self._call(self._cuda.cudaStreamCreate)
        self._held.callback(self._free, self._cuda.cudaStreamDestroy, self._stream)
        self._held.callback(self._forget)
        self._runtime = self._made("Runtime", module.Runtime(self._logger))
        self._runtime.engine_host_code_allowed = host_code
        self._engine = self._made("engine", self._runtime.deserialize_cuda_engine(data))
        self._context = self._made("execution context", self._engine.create_execution_context())
        self._check_tensors()
        self._set_largest_shapes()
        self._inputs = tuple(self._buffer(tensor) for tensor in self._graph.inputs)
        self._outputs = tuple(self._buffer(tensor) for tensor in self._graph.outputs)
        self._held.callback(self._free, self._cuda.cudaStreamSynchronize, self._stream)  # before anything is freed

    def close(self) -> None:
        """Free everything, once no thread runs it; twice is once. The session cannot run any more."""
        super().close()
        with self._alone:
            self._held.close()

    def _forget(self) -> None:
        self._context = self._engine = self._runtime = None  # in this order: each uses the next

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Copy the inputs to the GPU, run the engine, and copy the outputs back."""
        check_batch(self._graph, inputs, self._batch)
        with self._alone:
            if self.closed:  # while this thread waited
                raise session_closed()
            for buffer in self._inputs:
                self._feed(buffer, inputs[buffer.tensor.name])
            self._launch()
            landed = {buffer.tensor.name: self._fetch(buffer) for buffer in self._outputs}
            self._call(self._cuda.cudaStreamSynchronize, self._stream)
            return {name: value.copy() for name, value in landed.items()}

    def capture(self) -> None:
        """Record an execution as a CUDA graph. Every later `run` launches it in place of the single kernels.

        The copies to and from the GPU stay as they are. The first execution prepares what cannot be recorded: see
        TensorRT's documentation, CUDA graphs.

        Raises:
            InputError: The graph has a free batch; a record would hold one size only.
            EngineError: The GPU does not record the engine.
        """
        if self._batch is not None:
            raise InputError(f"{self._graph.name} takes any batch, a CUDA graph only one", "Export it with --batch N.")
        self._execute()
        self._call(self._cuda.cudaStreamSynchronize, self._stream)
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._cuda.cudaStreamBeginCapture, self._stream, mode)
        try:
            self._execute()
        finally:  # a stream that goes on recording would take no other work
            recorded = self._call(self._cuda.cudaStreamEndCapture, self._stream)
        self._held.callback(self._free, self._cuda.cudaGraphDestroy, recorded)
        graph = self._call(self._cuda.cudaGraphInstantiate, recorded, 0)
        self._held.callback(self._free, self._cuda.cudaGraphExecDestroy, graph)
        self._launch = functools.partial(self._call, self._cuda.cudaGraphLaunch, graph, self._stream)

    def _execute(self) -> None:
        self._accepted("execute_async_v3", self._context.execute_async_v3(int(self._stream)))

    def _feed(self, buffer: _Buffer, value: NDArray[np.generic]) -> None:
        """Start copying an input, from the session's own array: the copy may go on after the caller's is gone."""
        view = buffer.host[: value.size].reshape(value.shape)
        view[...] = value
        if -1 in buffer.tensor.shape:
            self._accepted("set_input_shape", self._context.set_input_shape(buffer.tensor.name, value.shape))
        self._copy(buffer.address, view.ctypes.data, view.nbytes, "cudaMemcpyHostToDevice")

    def _fetch(self, buffer: _Buffer) -> NDArray[np.generic]:
        """Start copying an output; returns a view of its host array, filled once the stream is through."""
        shape = self._shape(buffer.tensor)
        view = buffer.host[: int(np.prod(shape))].reshape(shape)
        self._copy(view.ctypes.data, buffer.address, view.nbytes, "cudaMemcpyDeviceToHost")
        return view

    def _buffer(self, tensor: TensorInfo) -> _Buffer:
        """Allocate for the shapes that are set now, which are the largest ones."""
        host: NDArray[np.generic] = np.empty(int(np.prod(self._shape(tensor))), dtype=numpy_type(tensor))
        address = int(self._call(self._cuda.cudaMalloc, max(host.nbytes, 1)))
        self._held.callback(self._free, self._cuda.cudaFree, address)
        self._accepted("set_tensor_address", self._context.set_tensor_address(tensor.name, address))
        return _Buffer(tensor, address, host)

    def _set_largest_shapes(self) -> None:
        for tensor in self._graph.inputs:
            if -1 in tensor.shape:
                largest = tuple(self._engine.get_tensor_profile_shape(tensor.name, 0)[2])
                self._accepted("set_input_shape", self._context.set_input_shape(tensor.name, largest))

    def _shape(self, tensor: TensorInfo) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(tensor.name))
        if min(shape, default=0) < 0:
            raise EngineError(f"TensorRT leaves the shape of {tensor.name!r} open: {shape}", REBUILD)
        return shape

    def _check_tensors(self) -> None:
        """Buffers are sized by what the engine says, so it must say the same as the graph."""
        made = {self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)}
        tensors = (*self._graph.inputs, *self._graph.outputs)
        if made != {tensor.name for tensor in tensors}:
            what = f"the engine has other inputs and outputs than {self._graph.file}: {sorted(made)}"
            raise EngineError(what, REBUILD)
        for tensor in tensors:
            kind = data_type(self._engine.get_tensor_dtype(tensor.name))
            shape = tuple(self._engine.get_tensor_shape(tensor.name))
            if (kind, shape) != (tensor.dtype, tensor.shape):
                has = f"{tensor.name!r} is {kind} {shape} in the engine and {tensor.dtype} {tensor.shape} in the graph"
                raise EngineError(has, REBUILD)

    def _copy(self, to: int, source: int, size: int, kind: str) -> None:
        direction = getattr(self._cuda.cudaMemcpyKind, kind)
        self._call(self._cuda.cudaMemcpyAsync, to, source, size, direction, self._stream)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call one function of the CUDA runtime; returns its result, raises `EngineError` for its error code."""
        code, *results = function(*arguments)
        if int(code):
            _, text = self._cuda.cudaGetErrorString(code)
            raise EngineError(f"the GPU failed: {function.__name__}: {text.decode()} ({code.name})", _GPU_FAILED)
        return results[0] if results else None

    def _free(self, function: Callable[..., Any], *arguments: Any) -> None:
        with giving_back():
            self._call(function, *arguments)

    def _made(self, what: str, thing: Any) -> Any:
        if thing is None:
            raise EngineError(f"TensorRT makes no {what}: {self._reason()}", REBUILD)
        return thing

    def _accepted(self, what: str, done: bool) -> None:
        if not done:
            raise EngineError(f"TensorRT refuses {what}: {self._reason()}", REBUILD)

    def _reason(self) -> str:
        return "; ".join(self._logger.errors) or "no reason given"


def check_batch(
    graph: GraphInfo, inputs: Mapping[str, NDArray[np.generic]], batch: tuple[int, int, int] | None
) -> None:
    """Check that all free axes have one size, and one that the engine was built for.

    Args:
        graph: What the engine was built from.
        inputs: Name -> array, which `check_arrays` has passed.
        batch: The smallest, usual and largest; None for a graph without free axes.

    Raises:
        InputError: They have not.
    """
    sizes = {
        size
        for tensor in graph.inputs
        for size, declared in zip(inputs[tensor.name].shape, tensor.shape, strict=True)
        if declared == -1
    }
    if len(sizes) > 1:
        raise InputError(f"the inputs of {graph.name} have different batches: {sorted(sizes)}")
    for size in sizes:
        if batch is not None and not batch[0] <= size <= batch[2]:
            raise InputError(
                f"batch {size} is outside {batch[0]} to {batch[2]}, for which the engine was built",
                "Split the batch, or build the engine for larger ones.",
            )


def numpy_type(tensor: TensorInfo) -> np.dtype[Any]:
    """NumPy's type of a tensor.

    Raises:
        EngineError: NumPy lacks the type.
    """
    try:
        return np.dtype(tensor.dtype)
    except TypeError as error:
        raise EngineError(f"{tensor.name!r} is {tensor.dtype}, which NumPy does not have", REBUILD) from error

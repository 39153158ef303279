"""A loaded graph: the protocol that every runtime's sessions keep, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, TensorInfo
from drnn_models.spec import ModelSpec, Tokens
from drnn_runtimes.bundle import GraphInfo

Arrays = dict[str, NDArray[np.generic]]


class Session(Protocol):
    """A loaded graph. Threads may share it: their calls run at once, or wait for each other; not of runtime
    cuda-kernel.

    What `bind` makes and a `Stream` are for one thread at a time, each with arrays of its own; any number of them share
    a session.

    Attributes:
        closed: Whether its `with` has ended. Nothing runs any more: not it, what it bound, nor its streams.
    """

    closed: bool

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Compute all outputs for one batch.

        Args:
            inputs: Name -> array, as the graph says.

        Raises:
            InputError: A name, type or shape is wrong, a number is NaN or beyond the graph's range, or a token beyond
                the vocabulary; or the session is closed.
        """

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """Make a call that reads and writes the same arrays again and again.

        A call takes numbers as they are, also NaN and those beyond the graph's range: to look at them would cost more
        than a small network. Tokens must be of the vocabulary.

        Args:
            inputs: Name -> contiguous array, which stays where it is. Its values at the time of the call count.
            outputs: Name -> contiguous array to write to.

        Raises:
            InputError: A name, type or shape is wrong, or the session is closed; by the call, it is closed, or a token
                is beyond the vocabulary.
        """


class CopyingSession:
    """The checks of every session, and `bind` for those that have nothing better than to compute, and copy.

    A session says in `_compute` how it computes, and where it binds arrays, in `_bound`.
    """

    _graph: GraphInfo
    _spec: ModelSpec | None = None  # whose vocabulary counts; None where tokens are looked at elsewhere
    _by_address = False  # whether `_bound` takes contiguous arrays alone
    closed = False

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """See `Session.run`."""
        if self.closed:
            raise session_closed()
        check_arrays(self._graph, inputs)
        check_numbers(self._graph, inputs)
        check_vocabulary(self._spec, inputs)
        return self._compute(inputs)

    def bind(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """See `Session.bind`; but for those of onnxruntime-cpu and openvino, the arrays need not be contiguous."""
        if self.closed:
            raise session_closed()
        check_arrays(self._graph, inputs)
        check_outputs(self._graph, outputs, inputs, contiguous=self._by_address)
        compute = self._bound(inputs, outputs)
        tokens = self._spec is not None and isinstance(self._spec.input, Tokens)

        def call() -> None:
            if self.closed:
                raise session_closed()
            if tokens:
                check_vocabulary(self._spec, inputs)
            compute()

        return call

    def close(self) -> None:
        """Run nothing any more. Twice is once."""
        self.closed = True

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """The outputs for inputs that are right."""
        raise NotImplementedError

    def _bound(self, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        """A call over arrays that are right."""

        def call() -> None:
            results = self._compute(inputs)
            for name, value in outputs.items():
                value[...] = results[name]

        return call


def check_arrays(graph: GraphInfo, inputs: Mapping[str, NDArray[np.generic]]) -> None:
    """Check that the inputs are exactly the graph's, whatever their values.

    Args:
        graph: Its shapes may hold -1, for any size from 1.
        inputs: Name -> array.

    Raises:
        InputError: A name, type or shape is wrong.
    """
    expected = {tensor.name: tensor for tensor in graph.inputs}
    if not isinstance(inputs, Mapping):
        what = f"{graph.name} takes a dictionary of arrays, got {type(inputs).__name__}"
        raise InputError(what, f"Its inputs are {sorted(expected)!s:.300}: session.run({{'input': x}}).")
    if set(inputs) != set(expected):
        what = f"{graph.name} takes the inputs {sorted(expected)}, got {sorted(map(str, inputs))}"
        raise InputError(what, "Name them so, and give all of them.")
    for name, tensor in expected.items():
        value = inputs[name]
        if not isinstance(value, np.ndarray):
            what = f"input {name!r} of {graph.name} must be an array, got {type(value).__name__}"
            raise InputError(what, f"Make it: numpy.asarray(x, {tensor.dtype!r}).")
        if not _sizes_fit(value.shape, tensor.shape) or str(value.dtype) != tensor.dtype:
            raise InputError(
                f"input {name!r} of {graph.name} must be {tensor.dtype} of shape {tensor.shape}, "
                f"got {value.dtype} of shape {value.shape}",
                "bundle.run(x) takes any number of sequences, of any type of numbers.",
            )
    _check_batch(graph, graph.inputs, inputs)


def check_numbers(graph: GraphInfo, inputs: Mapping[str, NDArray[np.generic]]) -> None:
    """Check that samples and states are numbers that a graph takes. What else goes into one that was cut may be any.

    Args:
        graph: The graph.
        inputs: Name -> array, of its names and types.

    Raises:
        InputError: One is NaN or too large.
    """
    largest = {name: PRECISIONS[graph.precision].largest for name, _ in graph.states} | {"input": graph.range}
    for tensor in graph.inputs:
        name, value, most = tensor.name, inputs[tensor.name], largest.get(tensor.name)
        if most is None or value.dtype.kind != "f":
            continue
        if not np.abs(value).max(initial=0) <= np.float32(most):  # NaN is not below anything
            raise beyond_range(graph, "samples" if name == "input" else f"the values of {name}", value, most)


def check_outputs(
    graph: GraphInfo,
    outputs: Mapping[str, NDArray[np.generic]],
    inputs: Mapping[str, NDArray[np.generic]],
    *,
    contiguous: bool = True,
) -> None:
    """Check arrays that a graph is to write to.

    Args:
        graph: Its shapes may hold -1, for any size from 1.
        outputs: Name -> array.
        inputs: The arrays that it is to read, which are right.
        contiguous: Whether they, and the inputs, are bound by their address.

    Raises:
        InputError: A name, type or shape is wrong, or an array is not contiguous or cannot be written to.
    """
    known = {tensor.name: tensor for tensor in graph.outputs}
    for name, value in outputs.items():
        tensor = known.get(name)
        writeable = isinstance(value, np.ndarray) and value.flags.writeable
        fits = writeable and tensor is not None and _sizes_fit(value.shape, tensor.shape)
        if not fits or tensor is None or str(value.dtype) != tensor.dtype:
            wanted = f"{tensor.dtype} of shape {tensor.shape}" if tensor else f"one of {sorted(known)!s:.300}"
            what = f"output {name!r} of {graph.name} must be {wanted}, writeable, got {_described(value)}"
            raise InputError(what, "Make it: numpy.empty(shape, dtype).")
    arrays = {**inputs, **outputs}
    _check_batch(graph, (*graph.inputs, *graph.outputs), arrays)
    for name, value in arrays.items() if contiguous else ():
        if not value.flags.c_contiguous:
            raise InputError(f"{name!r} of {graph.name} must be contiguous", "Make it: numpy.ascontiguousarray(x).")


def _check_batch(graph: GraphInfo, tensors: Sequence[TensorInfo], arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Check that what a graph leaves free, the number of sequences, is the same for samples, states and outputs. What
    else a graph is given, where it was cut, may be free in other ways.
    """
    if graph.batch is not None:
        return
    own = {"input", "output", *(name for pair in graph.states for name in pair)}
    sizes = {
        size
        for tensor in tensors
        if tensor.name in own and tensor.name in arrays
        for size, want in zip(arrays[tensor.name].shape, tensor.shape, strict=True)
        if want < 0
    }
    if len(sizes) > 1:
        what = f"the arrays of {graph.name} are of {' and '.join(map(str, sorted(sizes)))} sequences"
        raise InputError(what, "Give as many in each.")


def _sizes_fit(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    """Whether an array has the axes that a graph declares, -1 for any size from 1."""
    return len(shape) == len(declared) and all(
        size == want or (want == -1 and size >= 1) for size, want in zip(shape, declared, strict=True)
    )


def _described(value: object) -> str:
    return f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def check_vocabulary(spec: ModelSpec | None, inputs: Mapping[str, NDArray[np.generic]]) -> None:
    """Check that tokens are of a network's vocabulary: of others, runtimes make zeros, or they crash.

    Args:
        spec: The network; one that takes numbers, or None, takes all.
        inputs: Name -> array, the samples among them.

    Raises:
        InputError: One is beyond it.
    """
    if spec is not None and isinstance(spec.input, Tokens):
        check_tokens(inputs["input"], spec.input.vocabulary)


def session_closed() -> InputError:
    """What to say where a session is used that is closed."""
    return InputError("the session is closed", "Run inside of `with runtime.load(bundle, graph) as session`.")


def check_tokens(tokens: NDArray[np.generic], vocabulary: int) -> None:
    """Check that tokens are of a vocabulary.

    Args:
        tokens: (B, T), of any size.
        vocabulary: How many there are.

    Raises:
        InputError: One is beyond it.
    """
    if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocabulary:
        raise InputError(f"tokens must be 0 to {vocabulary - 1}")


def beyond_range(graph: GraphInfo, name: str, value: NDArray[np.generic], largest: float) -> InputError:
    """What to say of an array of which a number is NaN, or larger than a graph takes.

    Args:
        graph: The graph.
        name: What the numbers are.
        value: (B, k, ...), float32.
        largest: The largest |number| that the graph takes.
    """
    if not np.isfinite(value).all():
        stay = ", which would stay in the state for good" if graph.states else ""
        return InputError(f"{name} hold NaN or infinity{stay}", "Look where they come from: numpy.isfinite.")
    place = np.unravel_index(np.argmax(np.abs(value)), value.shape)
    return InputError(
        f"{name} reach {value[place]:.8g} at {[int(index) for index in place]}, and {graph.name} takes numbers up to "
        f"{largest:.8g}: beyond it they become infinite, and with a state all later outputs NaN",
        "Scale the inputs as in training, or use a graph of another precision (fp32 and bf16 reach further).",
    )

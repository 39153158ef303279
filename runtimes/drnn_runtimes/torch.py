"""PyTorch as a runtime: the `DilatedRNN` module in float32, on the CPU or on a GPU."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.packages import imported
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession
from drnn_runtimes.streaming.delay_lines import LAYER_BY_LAYER, next_states, whole_lines

if TYPE_CHECKING:
    from drnn_models.dilated_rnn import DilatedRNN

_SMALL = 1 << 20  # products of a batch in a step of a layer: from here on two threads took less time than one


@contextlib.contextmanager
def float32_products(*, tf32: bool = False) -> Iterator[None]:
    """Inside, torch computes products of float32 in float32, whatever the program has allowed; after it, as before.

    Its own default rounds the factors to TF32 in cuDNN, which recurrent layers run through. A program may also have
    allowed TF32 or bfloat16 elsewhere (`torch.set_float32_matmul_precision`), or be inside of `torch.autocast`.
    Torch's switches are those of all threads: where several are inside, they stay until the last one leaves.

    Args:
        tf32: Whether a GPU may round the factors to TF32.
    """
    import torch

    with contextlib.ExitStack() as held:
        for device in ("cpu", "cuda"):
            held.enter_context(torch.autocast(device, enabled=False))
        held.enter_context(_SWITCHED.set(tf32))
        yield


class _Switched:
    """Torch's switches, set while anyone asks for them: as who came last does, and in the end as they were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[object, bool] = {}  # who is inside, in order -> whether TF32 is allowed
        self._before: list[tuple[Any, str, str | bool]] = []

    @contextlib.contextmanager
    def set(self, tf32: bool) -> Iterator[None]:
        """Ask for the switches inside."""
        asker = object()
        with self._lock:
            if not self._asked:
                self._before = [(where, name, getattr(where, name)) for where, name, _ in _switches(tf32)]
            self._asked[asker] = tf32
            _put(_switches(tf32))
        try:
            yield
        finally:
            with self._lock:
                del self._asked[asker]
                _put(_switches([*self._asked.values()][-1]) if self._asked else self._before)


_SWITCHED = _Switched()


def _put(switches: Iterable[tuple[Any, str, str | bool]]) -> None:
    for where, name, value in switches:
        setattr(where, name, value)


def _switches(tf32: bool) -> list[tuple[Any, str, str | bool]]:
    """Torch's switches with the values to set, as (where, name, value). A release has one set of them or both.

    The older ones cannot even be read once a program has set the newer.
    """
    import torch

    backends: Any = torch.backends
    cuda, cudnn, cpu = backends.cuda, backends.cudnn, backends.mkldnn
    if not hasattr(cuda.matmul, "fp32_precision"):
        return [(backend, "allow_tf32", tf32) for backend in (cuda.matmul, cudnn)]
    wanted = [(product, "tf32" if tf32 else "ieee") for product in (cuda.matmul, cudnn.conv, cudnn.rnn)]
    wanted += [(product, "ieee") for product in (cpu.matmul, cpu.conv, cpu.rnn)]
    return [(product, "fp32_precision", value) for product, value in wanted]


class TorchRuntime(StreamingRuntime):
    """Runs the weights of a bundle through torch.

    Args:
        device: "cpu" or "cuda".
    """

    reads_graph = False
    is_sampled = True

    def __init__(self, device: str) -> None:
        self._device = device
        self.name = "torch" if device == "cpu" else f"torch-{device}"
        self.has_threads = device == "cpu"

    def availability(self) -> Availability:
        """Whether torch, and the GPU where asked for, are there."""
        torch = imported("torch", "PyTorch", "'drnn-deploy[train]'")
        if isinstance(torch, Availability):
            return torch
        if self._device == "cpu":
            return Availability(True, f"PyTorch {torch.__version__}, CPU")
        if not torch.cuda.is_available():
            return Availability(
                False,
                f"PyTorch {torch.__version__} finds no CUDA device",
                "Run on a machine with an NVIDIA GPU, its driver and a CUDA build of PyTorch.",
            )
        return Availability(True, f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """The module computes every form in float32, but a skewed graph has its layers at different steps."""
        if graph.delay:
            return LAYER_BY_LAYER
        return "" if graph.precision == "fp32" else f"computes in fp32, the graph in {graph.precision}"

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[TorchSession]:
        import torch

        from drnn_models.dilated_rnn import DilatedRNN

        model = DilatedRNN(bundle.spec)
        model.load_state_dict({name: torch.from_numpy(value) for name, value in bundle.weights.items()})
        with _refusing(graph):
            model = model.eval().to(self._device)
        with _SWITCHED.set(tf32=False):
            yield TorchSession(model, graph, self._device, self._threads)


@contextlib.contextmanager
def _alone(threads: int | None) -> Iterator[None]:
    """What torch keeps for each thread: no `autocast`, and so many threads of its own, where that is asked for."""
    import torch

    before = torch.get_num_threads()
    with contextlib.ExitStack() as held:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                held.enter_context(torch.autocast(device, enabled=False))
        if threads is not None and threads != before:
            held.callback(torch.set_num_threads, before)
            torch.set_num_threads(threads)
        yield


@contextlib.contextmanager
def _refusing(graph: GraphInfo) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of the GPU, and of memory that is not there
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"PyTorch cannot run {graph.name}: {reason}") from error


class TorchSession(CopyingSession):
    """See `drnn_runtimes.session.Session`.

    Where nobody asks for a number of threads, small products get one: several would wait for each other longer than
    they compute, a hundredfold where other processes have the cores.
    """

    def __init__(self, model: DilatedRNN, graph: GraphInfo, device: str, threads: int | None = None) -> None:
        self._model, self._graph, self._device, self._threads = model, graph, device, threads
        self._spec = model.spec
        self._products = max(matrix.numel() for matrix in model.layers.parameters())  # of a row, in a step of a layer

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in float32."""
        import torch

        small = self._device == "cpu" and len(inputs["input"]) * self._products < _SMALL
        with torch.inference_mode(), _alone(self._threads or (1 if small else None)), _refusing(self._graph):
            x = torch.from_numpy(np.ascontiguousarray(inputs["input"])).to(self._device)  # it has no negative strides
            if not self._graph.states:
                return {"output": self._model(x, prune=self._graph.pruned).cpu().numpy()}
            lines = whole_lines(self._model.spec, self._graph, inputs)
            state = {name: torch.from_numpy(line).to(self._device) for name, line in lines.items()}
            outputs, after = self._model.advance(x, state)
            lines_after = {name: line.cpu().numpy() for name, line in after.items()}
            return {"output": outputs.cpu().numpy(), **next_states(self._graph, lines_after)}

"""PyTorch's own ways to run the module: eager without pruning, compiled, and exported by torch itself.

The runtime `torch` is the module as it ships, pruned.
"""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drnn_core.types import Availability
from drnn_deploy.bench.contender import Array, Call
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.packages import imported

if TYPE_CHECKING:
    from drnn_models.dilated_rnn import DilatedRNN


class _OfTorch:
    """What PyTorch's ways have in common: they run the weights, in float32."""

    reads_graph, has_threads = False, True

    def availability(self) -> Availability:
        """See `Contender.availability`."""
        torch = imported("torch", "PyTorch", "'drnn-deploy[train]'")
        return torch if isinstance(torch, Availability) else Availability(True, f"PyTorch {torch.__version__}")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """See `Contender.unsupported`."""
        if graph.delay:
            return "has all layers at one step"
        return "" if graph.precision == "fp32" else f"computes in fp32, the graph in {graph.precision}"


class TorchEager(_OfTorch):
    """The module as other code would write it: every step of every layer; a stream is `DilatedRNN.advance`."""

    name = "torch-eager"

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo, *, batch: int, threads: int, folder: Path) -> Iterator[Call]:
        """See `Contender.load`."""
        import torch

        model = _module(bundle, threads)
        with torch.inference_mode():
            if graph.states:
                yield _stream(model.advance, model, batch)
            else:
                yield _whole(lambda inputs: model(inputs, prune=False))


class TorchCompile(_OfTorch):
    """`torch.compile` of the module, pruned."""

    name = "torch-compile"

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo, *, batch: int, threads: int, folder: Path) -> Iterator[Call]:
        """See `Contender.load`."""
        import torch

        model = _module(bundle, threads)
        with torch.no_grad(), warnings.catch_warnings():  # inference_mode breaks guards of torch 2.13
            warnings.simplefilter("ignore")
            if graph.states:
                yield _stream(torch.compile(model.advance), model, batch)
            else:
                yield _whole(torch.compile(model))


class TorchOnnx(_OfTorch):
    """What `torch.onnx.export` makes of the module, in ONNX Runtime."""

    name = "torch-onnx"

    def availability(self) -> Availability:
        """See `Contender.availability`."""
        if importlib.util.find_spec("onnxscript") is None:
            return Availability(False, "torch.onnx needs onnxscript, which is not installed", "pip install onnxscript")
        return super().availability()

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """See `Contender.unsupported`."""
        return "the module is exported without state" if graph.states else super().unsupported(bundle, graph)

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo, *, batch: int, threads: int, folder: Path) -> Iterator[Call]:
        """See `Contender.load`."""
        import onnxruntime
        import torch

        if not (path := folder / "torch.onnx").is_file():
            (sample,) = (tensor for tensor in graph.inputs if tensor.name == "input")
            example = torch.zeros((batch, *sample.shape[1:]), dtype=getattr(torch, sample.dtype))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(_module(bundle, threads), (example,), str(path), verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        yield lambda inputs: session.run(None, {name: inputs})[0]


def _module(bundle: Bundle, threads: int) -> DilatedRNN:
    import torch

    from drnn_models.dilated_rnn import DilatedRNN

    torch.set_num_threads(threads)
    model = DilatedRNN(bundle.spec)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in bundle.weights.items()})
    return model.eval()


def _whole(run: Callable[[Any], Any]) -> Call:
    import torch

    return lambda inputs: run(torch.from_numpy(inputs)).numpy()


def _stream(advance: Callable[[Any, Any], Any], model: DilatedRNN, batch: int) -> Call:
    import torch

    state = model.initial_state(batch)

    def push(inputs: Array) -> Array:
        nonlocal state
        outputs, state = advance(torch.from_numpy(inputs), state)
        answer: Array = outputs.numpy()
        return answer if answer.ndim == 3 else answer[:, None]

    return push

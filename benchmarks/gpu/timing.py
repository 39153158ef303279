"""Time on a GPU, from arrays of the host to arrays of the host: torch's ways, runtimes, streams and CUDA graphs.

Every way is first compared with eager torch, then timed in turn with it in one process, so that both have the same GPU.
TF32 is off throughout.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.bundles import CHUNK, checkpoint_of, open_bundle
from benchmarks.gpu.plan import BASELINE, COMPILED, RUNTIMES, TORCH_WAYS, Row, Rows, Setting
from benchmarks.measure import interleaved_times
from benchmarks.networks import STEPS, paper_network
from benchmarks.training_step import by_phase
from drnn_core.errors import RuntimeUnavailableError
from drnn_deploy.training.recorded_step import CudaRecorder
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import ModelSpec, Tokens
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.torch import float32_products
from drnn_runtimes.trt.session import TensorRTSession

Array = NDArray[Any]
Run = Callable[[Array], Any]
Call = Callable[[], Any]
_QUICK, _FULL = (1.0, 10), (6.0, 300)  # seconds of a measurement, and rounds at least
_BLOCKS = 5
_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}  # largest difference from eager torch in float32, of outputs about 1


def summary(times: Sequence[float]) -> dict[str, float]:
    """Percentiles of a list of times, in its unit; `noise_low` to `noise_high`: medians of five parts of the list."""
    found = dict(zip(("median", "p95", "p99"), np.percentile(times, [50, 95, 99]), strict=True))
    medians = [float(np.median(part)) for part in np.array_split(np.asarray(times), min(_BLOCKS, len(times)))]
    found |= {"noise_low": min(medians), "noise_high": max(medians)}
    return {name: float(f"{value:.4g}") for name, value in found.items()} | {"runs": len(times)}


def latency(setting: Setting, cell: str, way: str) -> Rows:
    """Milliseconds of whole sequences (STEPS steps), by batch and precision, beside cuDNN on folded phases."""
    with float32_products(), torch.no_grad():
        model = paper_network(cell).to(setting.device)  # type: ignore[arg-type]
        for batch in setting.batches:
            baseline = functools.partial(_torch_run, functools.partial(model, prune=False), setting.device)
            for precision, run in _ways(setting, model, cell, batch, way):
                with run as contender:
                    calls: dict[str, Run] = {BASELINE: baseline, way: contender}
                    found = _compared(setting, calls, _samples(model.spec, batch, STEPS), precision)
                yield {"batch": batch, "precision": precision, "steps": STEPS, **found}
    return {"status": "ok"}


def streams(setting: Setting, cell: str, runtime: str) -> Rows:
    """Milliseconds of a chunk through `Stream.push`, state carried, beside torch's stream in the same process."""
    bundle = open_bundle(setting, cell, "stream", runtime)
    baseline = RUNTIMES[setting.device][0]
    for form, steps in (("step", 1), ("chunk", CHUNK)):
        samples = np.random.default_rng(0).standard_normal((1, steps, 1), dtype=np.float32)
        with contextlib.ExitStack() as stack:
            opened = {
                name: stack.enter_context(find_runtime(name).stream(bundle, form))
                for name in dict.fromkeys((baseline, runtime))
            }
            for _ in range(4):
                outputs = [stream.push(samples).astype(np.float32) for stream in opened.values()]
                np.testing.assert_allclose(outputs[-1], outputs[0], atol=_TOLERANCE["fp32"])
            calls: dict[str, Call] = {name: functools.partial(stream.push, samples) for name, stream in opened.items()}
            found = timed(setting, calls)
        yield {"form": form, "chunk": steps, **found}
    return {"status": "ok"}


def graphs(setting: Setting, name: str, way: str) -> Rows:
    """Milliseconds of the same work launched kernel by kernel, and as one CUDA graph; outputs are compared first."""
    task = checkpoint_of(name).task if way == "torch" else {}
    length = int(task.get("length", STEPS))
    with float32_products(), torch.no_grad():
        for batch in setting.batches:
            samples = _samples(checkpoint_of(name).dilated, batch, length)
            with (_torch_graph if way == "torch" else _engine_graph)(setting, name, samples, way) as calls:
                found = _compared(setting, calls, samples, "fp32")
            yield {"batch": batch, "steps": length, **found}
    return {"status": "ok"}


def _samples(spec: ModelSpec, batch: int, length: int) -> list[Array]:
    """Three inputs for a network, each (batch, length, ...)."""
    random = np.random.default_rng(0)
    if isinstance(spec.input, Tokens):
        return [random.integers(0, spec.input.vocabulary, (batch, length)) for _ in range(3)]
    return [random.random((batch, length, spec.input.width), dtype=np.float32) for _ in range(3)]


def _ways(
    setting: Setting, model: DilatedRNN, cell: str, batch: int, way: str
) -> list[tuple[str, contextlib.AbstractContextManager[Run]]]:
    """(precision, context of the call) of what is timed."""
    if way in TORCH_WAYS:
        return [("fp32", _torch_way(model, setting.device, way))]
    bundle = open_bundle(setting, cell, f"b{batch}", way)
    runtime = find_runtime(way)
    usable = [graph for graph in bundle.graphs if not runtime.unsupported(bundle, graph)]
    if not usable:
        raise RuntimeUnavailableError(f"{way}: {runtime.unsupported(bundle, bundle.graphs[0])}")
    return [(graph.precision, _session(setting, cell, batch, way, graph.name)) for graph in usable]


@contextlib.contextmanager
def _session(setting: Setting, cell: str, batch: int, way: str, graph: str) -> Iterator[Run]:
    bundle = open_bundle(setting, cell, f"b{batch}", way)
    with find_runtime(way).load(bundle, bundle.graph(graph)) as session:
        yield lambda inputs: session.run({"input": inputs})["output"]


@contextlib.contextmanager
def _torch_way(model: DilatedRNN, device: str, way: str) -> Iterator[Run]:
    """torch-pruned: eager, cone-pruned. torch-native: without cuDNN. torch-phases: no fold. torch-compile: compiled."""

    def native(inputs: torch.Tensor) -> torch.Tensor:
        enabled = torch.backends.cudnn.enabled
        torch.backends.cudnn.enabled = False
        try:
            return model(inputs, prune=False)  # type: ignore[no-any-return]
        finally:
            torch.backends.cudnn.enabled = enabled  # of the baseline, which takes turns with this

    calls: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "torch-pruned": model,
        "torch-native": native,
        "torch-phases": functools.partial(by_phase, model),
        COMPILED: model,
    }
    yield functools.partial(_torch_run, torch.compile(calls[way]) if way == COMPILED else calls[way], device)


def _torch_run(call: Callable[[torch.Tensor], torch.Tensor], device: str, inputs: Array) -> Any:
    return call(torch.from_numpy(inputs).to(device)).cpu().numpy()


@contextlib.contextmanager
def _torch_graph(setting: Setting, name: str, samples: list[Array], way: str) -> Iterator[dict[str, Run]]:
    """As in torch's documentation, CUDA Graphs: a few runs on another stream, then the capture over fixed arrays."""
    if setting.device != "cuda":
        raise RuntimeUnavailableError("CUDA graphs need CUDA")
    model = checkpoint_of(name).network().to("cuda")
    fixed = torch.from_numpy(samples[0]).to("cuda")
    recorder = CudaRecorder()
    with recorder.before():
        for _ in range(3):
            model(fixed)
    outputs, replay = recorder.record(lambda: model(fixed))

    def replayed(inputs: Array) -> Any:
        fixed.copy_(torch.from_numpy(inputs))
        replay()
        return outputs.cpu().numpy()

    yield {"kernels": functools.partial(_torch_run, model, "cuda"), "graph": replayed}


@contextlib.contextmanager
def _engine_graph(setting: Setting, cell: str, samples: list[Array], way: str) -> Iterator[dict[str, Run]]:
    """The engine twice, once recorded."""
    bundle = open_bundle(setting, cell, f"b{len(samples[0])}", way)
    graph = next(graph for graph in bundle.graphs if graph.precision == "fp32")
    runtime = find_runtime(way)
    with runtime.load(bundle, graph) as plain, runtime.load(bundle, graph) as recorded:
        assert isinstance(recorded, TensorRTSession)
        recorded.capture()
        yield {
            "kernels": lambda inputs: plain.run({"input": inputs})["output"],
            "graph": lambda inputs: recorded.run({"input": inputs})["output"],
        }


def _compared(setting: Setting, calls: dict[str, Run], samples: list[Array], precision: str) -> Row:
    """Compare the last call with the first on every input, then time both."""
    for inputs in samples:
        first, *_, last = [np.array(call(inputs)) for call in calls.values()]
        np.testing.assert_allclose(last, first, atol=_TOLERANCE[precision])
    return timed(setting, {name: functools.partial(call, samples[0]) for name, call in calls.items()})


def timed(setting: Setting, calls: dict[str, Call]) -> Row:
    """Milliseconds of each call, taken in turn."""
    seconds, least = _QUICK if setting.quick else _FULL
    times = interleaved_times(calls, seconds=seconds, least=least)
    return {"milliseconds": {name: summary(values) for name, values in times.items()}}

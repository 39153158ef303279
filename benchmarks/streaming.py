"""Cost of a step in a stream, microseconds: ONNX Runtime's graphs with state against eager torch that carries state.

Nine layers of twenty units (and, for the choice between rings and whole delay lines, wider and deeper ones), batch 1,
one thread. Everything goes through `Stream.push`, with its checks. Skewed graphs answer a step for each layer but the
first late.

python -m benchmarks.streaming [--seconds 8]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import interleaved, write_result
from drnn_deploy import ExportOptions, export
from drnn_models.cells import Cell
from drnn_models.checkpoint import Checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.streaming.stream import Stream

CHUNKS = (1, 32, 256)
LARGEST_UNROLLED = 32  # beyond, ONNX Runtime pays for each of thousands of nodes
STEPWISE = "torch eager, a step at a time"
Push = Callable[[], Any]


def network(cell: Cell, layers: int, hidden: int) -> DilatedRNN:
    """Dilations 1, 2, 4, ..., seeded weights, an output for every step."""
    torch.manual_seed(0)
    dilations = tuple(2**layer for layer in range(layers))
    return DilatedRNN(ModelSpec(cell, (hidden,) * layers, dilations, Continuous(1), Head("sequence", 10))).eval()


def eager(model: DilatedRNN, samples: np.ndarray[Any, Any]) -> Push:
    """A call that takes one more chunk, carrying state."""
    state = model.initial_state(1)
    tensor = torch.from_numpy(samples)

    def push() -> Any:
        nonlocal state
        with torch.inference_mode():
            outputs, state = model.advance(tensor, state)
        return outputs.numpy()

    return push


def streams(stack: contextlib.ExitStack, model: DilatedRNN, steps: int) -> dict[str, Stream]:
    """The same network as graphs with state, by emission and kind of memory."""
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    found = {}
    for ring in (True, False):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "bundle"
        emissions: tuple[str, ...] = ("fused", "mixed", "unrolled") if steps <= LARGEST_UNROLLED else ("fused", "mixed")
        emissions += ("skewed",) if steps == 1 and not ring else ()
        form = "step" if steps == 1 else "chunk"
        options = ExportOptions(
            forms=(form,), chunk=steps, ring=ring, emissions=emissions, engines=(), runtimes=("onnxruntime-cpu",)
        )
        bundle = export(Checkpoint(model.spec, weights), folder, options).bundle
        for graph in bundle.graphs:
            stream = stack.enter_context(OnnxRuntime("cpu", threads=1).stream(bundle, graph.name))
            found[f"{graph.emission}, {'rings' if ring else 'lines'}"] = stream
    return found


def measure(model: DilatedRNN, steps: int, seconds: float) -> dict[str, Any]:
    """Microseconds per step of every way, each checked against eager torch first."""
    samples = np.random.default_rng(0).standard_normal((1, steps, 1), dtype=np.float32)
    with contextlib.ExitStack() as stack:
        opened = streams(stack, model, steps)
        calls: dict[str, Push] = {"torch eager": eager(model, samples)}
        if steps > 1:
            calls[STEPWISE] = eager(model, samples[:, :1])
        calls |= {name: functools.partial(stream.push, samples) for name, stream in opened.items()}
        for _ in range(model.spec.layers + 2):
            outputs = {name: call() for name, call in calls.items()}
            for name, found in outputs.items():
                if "skewed" not in name and name != STEPWISE:  # which answer late, and for one step; see parity
                    np.testing.assert_allclose(found, outputs["torch eager"], atol=1e-4, err_msg=name)
        timings = interleaved(calls, seconds=seconds, warmup=20)
    taken = {name: 1 if name == STEPWISE else steps for name in timings}
    return {name: dataclasses.asdict(timing.per(taken[name])) for name, timing in timings.items()}


def main() -> None:
    """Measure and write benchmarks/results/streaming.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="per network and chunk")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sizes: list[tuple[Cell, int, int, tuple[int, ...]]] = [(cell, 9, 20, CHUNKS) for cell in ("gru", "lstm", "rnn")]
    sizes += [("gru", 9, 128, (1,)), ("gru", 11, 20, (1,)), ("gru", 11, 128, (1,))]
    results = []
    for cell, layers, hidden, chunks in sizes:
        model = network(cell, layers, hidden)
        for steps in chunks:
            found = measure(model, steps, arguments.seconds)
            results.append({"cell": cell, "layers": layers, "hidden": hidden, "chunk": steps, "microseconds": found})
            base = found.get(STEPWISE, found["torch eager"])["median"]
            ways = ", ".join(f"{name} {t['median']:.2f} ({base / t['median']:.1f} x)" for name, t in found.items())
            print(f"{cell} {layers} x {hidden}, chunk {steps}: {ways}", flush=True)
    print(f"wrote {write_result('streaming', {'unit': 'microseconds per step', 'networks': results})}")


if __name__ == "__main__":
    main()

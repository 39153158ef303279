"""Latency of the pixel-MNIST network (9 x 20, T = 784) per cell: eager torch against ONNX Runtime on the CPU.

python -m benchmarks.latency [--batch 1] [--threads 1] [--seconds 20]

One thread each by default: at batch 1 more do not help, and the idle threads of one library, which spin, slow the other
down tenfold when the two take turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import onnxruntime
import torch

from benchmarks.measure import interleaved, write_result
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.cells import Cell
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec

STEPS = 784
Contenders = dict[str, Callable[[], Any]]


def network(cell: Cell) -> DilatedRNN:
    """The paper's network with seeded weights."""
    torch.manual_seed(0)
    spec = ModelSpec(cell, (20,) * 9, tuple(2**i for i in range(9)), Continuous(1), Head("last", 10))
    return DilatedRNN(spec).eval()


def contenders(cell: Cell, batch: int, threads: int) -> Contenders:
    """The same network run in different ways on the same input, each checked against the first."""
    model = network(cell)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    inputs = np.random.default_rng(0).random((batch, STEPS, 1), dtype=np.float32)
    tensor = torch.from_numpy(inputs)

    def eager(prune: bool) -> Any:
        with torch.inference_mode():
            return model(tensor, prune=prune).numpy()

    def session(emission: str, prune: bool) -> Callable[[], Any]:
        request = GraphRequest(STEPS, batch, emission, prune)  # type: ignore[arg-type]
        graph = emit(model.spec, weights, request).SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        runtime = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return lambda: runtime.run(None, {"input": inputs})[0]

    found: Contenders = {
        "torch eager": functools.partial(eager, False),
        "torch eager, pruned": functools.partial(eager, True),
        "ONNX Runtime fused": session("fused", False),
        "ONNX Runtime fused, pruned": session("fused", True),
        "ONNX Runtime unrolled, pruned": session("unrolled", True),
    }
    expected = found["torch eager"]()
    for name, run in found.items():
        np.testing.assert_allclose(run(), expected, atol=1e-5, err_msg=name)
    return found


def main() -> None:
    """Measure, write benchmarks/results/latency-bN.json, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="per cell")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result: dict[str, Any] = {}
    for cell in get_args(Cell):
        timings = interleaved(contenders(cell, arguments.batch, arguments.threads), seconds=arguments.seconds)
        baseline = timings["torch eager"].median
        result[cell] = {
            name: {**dataclasses.asdict(timing), "speedup": round(baseline / timing.median, 2)}
            for name, timing in timings.items()
        }
        for name, timing in timings.items():
            spread = f"{timing.low:.3g} to {timing.high:.3g}"
            print(f"{cell:5} {name:30} {timing.median:9.3f} ms ({spread}), {baseline / timing.median:6.1f} x")
    path = write_result(
        f"latency-b{arguments.batch}", {"unit": "ms", "steps": STEPS, "threads": arguments.threads, "cells": result}
    )
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

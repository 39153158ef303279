"""Time to a graph of the pixel-MNIST network (GRU, 9 x 20, T = 784): emitted from weights, and traced by torch.onnx.

python -m benchmarks.emission [--limit 600]
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import multiprocessing
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import torch

from benchmarks.measure import interleaved, write_result
from benchmarks.networks import STEPS, paper_network
from drnn_core.types import Emission
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest


def traced(path: str) -> None:
    """Export with torch.onnx, and leave the seconds it took beside the graph."""
    warnings.simplefilter("ignore")
    started = time.perf_counter()
    torch.onnx.export(paper_network("gru"), (torch.zeros(1, STEPS, 1),), path, verbose=False)
    Path(f"{path}.seconds").write_text(str(time.perf_counter() - started), encoding="utf-8")


def trace_in_child(limit: float) -> dict[str, Any]:
    """Seconds, nodes and whether the traced graph computes what the module does; or why there is no graph."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/traced.onnx"
        child = multiprocessing.get_context("spawn").Process(target=traced, args=(path,))
        child.start()
        child.join(limit)
        if child.is_alive():
            child.kill()
            return {"failed": f"not done after {limit:.0f} s"}
        if not Path(f"{path}.seconds").exists():
            return {"failed": f"the exporter ended with code {child.exitcode}"}
        inputs = np.random.default_rng(0).random((1, STEPS, 1), dtype=np.float32)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        outputs = session.run(None, {session.get_inputs()[0].name: inputs})[0]
        with torch.inference_mode():
            expected = paper_network("gru")(torch.from_numpy(inputs)).numpy()
        return {
            "seconds": round(float(Path(f"{path}.seconds").read_text(encoding="utf-8")), 3),
            "nodes": len(onnx.load(path).graph.node),
            "largest_error": float(np.abs(outputs - expected).max()),
        }


def main() -> None:
    """Measure and write benchmarks/results/emission.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for the torch.onnx export")
    arguments = parser.parse_args()
    model = paper_network("gru")
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    requests = {name: GraphRequest(STEPS, 1, name) for name in get_args(Emission)}
    timings = interleaved(
        {name: functools.partial(emit, model.spec, weights, request) for name, request in requests.items()},
        seconds=5,
    )
    result: dict[str, Any] = {
        f"emitted, {name}": {
            **dataclasses.asdict(timing),
            "unit": "ms",
            "nodes": len(emit(model.spec, weights, requests[name]).graph.node),
        }
        for name, timing in timings.items()
    }
    result["torch.onnx.export"] = trace_in_child(arguments.limit)
    for name, entry in result.items():
        print(f"{name:24} {entry}")
    print(f"wrote {write_result('emission', {'steps': STEPS, 'exporters': result})}")


if __name__ == "__main__":
    main()

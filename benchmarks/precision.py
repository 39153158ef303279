"""What each precision does to the zoo's networks: error against float64, and the task's metric, on real data.

Unrolled graphs through ONNX Runtime's CPU, and where that has no kernels (bfloat16) or computes in wider types
(float16) through the network that NVIDIA's parser makes of the graph, evaluated in NumPy. A task whose data is not on
the machine is left out, and named. Writes benchmarks/results/precision.json and docs/precision.md.

python -m benchmarks.precision [--limit 200] [--tables]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import narrower
from benchmarks.measure import RESULTS, write_result
from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, Precision
from drnn_deploy import ExportOptions, export
from drnn_deploy.evaluation import evaluate_bundle
from drnn_deploy.parity.edges import edge_precision
from drnn_models.checkpoint import load_checkpoint
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.trt_numpy import runtime as tensorrt_network
from drnn_zoo import ZOO

PAGE = Path(__file__).parents[1] / "docs" / "precision.md"
TASKS = {  # task -> its main metric
    "copy-memory": "cross_entropy",
    "pixel-mnist": "accuracy",
    "ptb-char": "bits_per_character",
    "speaker-id": "accuracy",
}
NODES = 40_000  # the copy memory network over its 520 steps
Row = dict[str, Any]
_RANGE = """
## Range

A product reads numbers of its own type. Float16 ends at 65,504: what is larger becomes infinite, and in a stream
every later output NaN (`tests/runtimes/streaming/test_range.py`). So a graph's range is in its manifest
(`largest_input`), and streams and `Session.run` refuse samples beyond it, with nothing taken in:

- fp16: 65,504. fp32, bf16, int8: as far as no sum of the first layer's product exceeds float32, some 1e37.
- relu cells: the largest power of a quarter of that with which all numbers inside stay finite, on the golden data's
  edges.
- weights, and sums of biases, beyond a precision's numbers are named at export, as are matrices that vanish in it.

Parity checks both ends of the range, one side at a time, in all sizes, and as single peaks
(`drnn_deploy/parity/edges.py`).

## What a runtime does with the types

- **ONNX Runtime's CPU, float16**: it takes the casts out and computes products in float32, within float32's noise
  of the network of rounded weights. It shows neither float16's rounding nor its range; reports say so.
  `tensorrt-network` does.
- **ONNX Runtime's CPU, int8**: DequantizeLinear and a MatMul with a matrix become MatMulNBits, which rounds the
  other factor to int8 as well (thousands of noises). The graphs keep the matrix from it by a leading axis, and sessions
  dequantise once, when they open (`session.disable_quant_qdq`), which also takes the conversion out of every run.
- **ONNX Runtime's CPU, float32**: no other optimisation moves outputs by more than its order of summation does. Its
  tanh and sigmoid are within 3 spacings of 1; the sigmoid is 0 below -18, so very small gates are off by all of
  their size.
- **OpenVINO, tract**: float16 is float32 on OpenVINO; what else they do with types: [OpenVINO and tract](runtimes.md).
- **torch**: TF32, bfloat16 on the CPU and autocast are off, whatever the program has allowed.
""".strip().splitlines()


def runtime_of(precision: Precision) -> str:
    """Where a precision is run."""
    info = PRECISIONS[precision]
    return "tensorrt-network" if "cpu" in {*info.not_in_onnxruntime, *info.widened} else "onnxruntime-cpu"


def weight_effect(bundle: Bundle, precision: Precision) -> float:
    """What rounding the weights alone changes, as a share of the largest output, over the golden data but its edges."""
    shares = [
        np.abs(case.narrow_outputs[precision] - case.outputs).max() / np.abs(case.outputs).max()
        for case in bundle.golden
        if precision in case.narrow_outputs and edge_precision(case.name) is None
    ]
    return float(max(shares, default=0.0))


def measure(task: str, limit: int) -> list[Row]:
    """A row for each precision: the largest error of the golden data, and the metric over `limit` test sequences."""
    checkpoint = load_checkpoint(ZOO / task / "model.pt")
    rows = []
    for precision in PRECISIONS:
        runtime = find_runtime(runtime_of(precision))
        with tempfile.TemporaryDirectory() as folder:
            options = ExportOptions(
                emissions=("unrolled",),
                precisions=(precision,),
                batch=20,
                node_budget=NODES,
                engines=(),
                runtimes=(runtime.name,),
            )
            tensorrt_network.MOST_NODES = NODES  # minutes are fine here
            result = export(checkpoint, Path(folder) / "bundle", options)
            (row,) = result.parity.rows
            assert row.worst is not None
            (found,) = evaluate_bundle(Bundle.open(Path(folder) / "bundle"), [runtime], limit=limit)[-1:]
            rows.append(
                {
                    "task": task,
                    "cell": checkpoint.dilated.cell,
                    "precision": precision,
                    "runtime": runtime.name,
                    "passed": row.passed,
                    "error": row.worst.absolute,
                    "relative": row.worst.relative,
                    "in_noise": row.worst.in_noise,
                    "weights": weight_effect(result.bundle, precision),
                    "largest_input": result.bundle.graphs[0].largest_input,
                    "onnx_bytes": result.bundle.path("model.onnx").stat().st_size,
                    "predictions": found.predictions,
                    "changed": found.changed,
                    "metrics": found.metrics,
                }
            )
            print(f"{task} {precision}: error {row.worst.absolute:.2g}, {found.metrics}", flush=True)
    return rows


def page(result: dict[str, Any]) -> str:
    """docs/precision.md as text; everything in it comes from the result file."""
    lines = [
        "# Precision",
        "",
        "Written by `python -m benchmarks.precision`; do not edit it. `--precision` of `drnn-export` types the graph:",
        "matrix products in float16 or bfloat16, or with int8 weights; biases, gates, the LSTM's cell state and all",
        "states that go in and out stay float32, for every cell (`export/drnn_export/emitter/precision.py`). The zoo's",
        f"networks, unrolled, on the first {result['limit']} sequences of each test split; float16 and bfloat16",
        "through the network that NVIDIA's parser makes of the graph, in NumPy: ONNX Runtime's CPU computes the",
        "one in float32, and has no kernels for the other. The rest is ONNX Runtime's. No GPU was measured.",
        "",
        "*Weights*: what rounding the weights alone changes, as a share of the largest output, over the golden data,",
        "which has inputs thirty times too large. *Error*: the largest against float64 with the weights that the graph",
        "holds.",
        "*In noise*: the same in units of what the precision's other roundings do to the network; up to 8 passes. A",
        "star: 8 noises are more than a quarter of the outputs, so parity compares nothing, and the row is no pass.",
        "",
        "| task | cell | precision | weights | error | relative | in noise | metric | ONNX file |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        metric = TASKS[row["task"]]
        value = f"{metric.replace('_', ' ')} {row['metrics'][metric]:.4f}"
        name = f"{row['task']} | {row['cell'].upper()} | {row['precision']}"
        effect = f"{row['weights']:.1e}" if row["weights"] else "-"
        noise = f"{row['in_noise']:.2f}" + ("" if row["passed"] else "*")
        errors = f"{effect} | {row['error']:.1e} | {row['relative']:.1e} | {noise}"
        lines.append(f"| {name} | {errors} | {value} | {row['onnx_bytes'] / 1e3:,.0f} kB |")
    lines += [
        "",
        *_RANGE,
        "",
        "## Why only the products",
        "",
        "Written by `python -m benchmarks.narrower` from the reference's loop: root mean square error against float64",
        "on `normal` golden inputs, with the products rounded, then the LSTM's cell state after every step too, then",
        "all states, then all arithmetic. Most of the error is the products'. An LSTM's cell state in float16 may",
        "make it half as large again, as in speaker-id; elsewhere the states make little difference, and rounding",
        "everything may come out on either side. A compiled step is one kernel in fp32, fp16 and bf16",
        "(`tests/export/engine/test_kernels.py`), so float32 outside of the products adds none, and it is what every",
        "cell gets.",
        "",
        *narrower.table(json.loads((RESULTS / "narrower.json").read_text(encoding="utf-8"))["rows"]),
    ]
    if result["missing"]:
        lines += ["", f"Not measured, because the data was not there: {', '.join(result['missing'])}."]
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=200, help="test sequences of each task")
    parser.add_argument("--tables", action="store_true", help="measure nothing: write the page again")
    given = parser.parse_args(arguments)
    if not given.tables:
        rows, missing = [], []
        for task in TASKS:
            try:
                rows += measure(task, given.limit)
            except InputError as error:
                print(f"{task}: {error}", flush=True)
                missing.append(task)
        write_result("precision", {"limit": given.limit, "rows": rows, "missing": missing})
    PAGE.write_text(page(json.loads((RESULTS / "precision.json").read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()

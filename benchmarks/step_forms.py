"""Ways to write one unrolled step of each cell: kernels, build time and engine size with TensorRT-RTX.

One layer of 32 units, dilation 1, 64 steps, compute capability 8.6, no GPU; the median of builds in turn. What is
emitted stands first; the others are made by exchanging methods of `drnn_export.emitter.cells`. Writes
benchmarks/results/step-forms.json and docs/step-forms.md.

python -m benchmarks.step_forms [--rounds 5]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.measure import RESULTS, write_result
from drnn_export.emitter import cells
from drnn_export.emitter.builder import GraphBuilder
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.emitter.weights import stack
from drnn_export.engine.build import build_engine
from drnn_models.cells import Cell
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.trt.sidecar import Sidecar

PAGE = Path(__file__).parents[1] / "docs" / "step-forms.md"
HIDDEN, STEPS = 32, 64
Steps = tuple[list[str], str]
Patch = Mapping[str, Callable[..., Any]]


def slices(g: GraphBuilder, value: str, sizes: Sequence[int], name: str, labels: Sequence[str], axis: int) -> list[str]:
    """`GraphBuilder.split` as one Slice for each part."""
    starts = np.cumsum([0, *sizes])
    bounds = zip(labels, starts[:-1], starts[1:], strict=True)
    return [g.take(value, int(start), int(stop), f"{name}/{label}", axis=axis) for label, start, stop in bounds]


def rnn_of_product_and_sum(cell: cells.RnnCell, layer: Any, project: Any, first: Any, ticks: Any) -> Steps:
    """MatMul and Add in place of Gemm."""
    g = cell.g
    recurrent, h, outputs = g.constant(f"{layer.name}/RT", layer.r["h"].T.copy()), first[0], []
    for tick, fed in zip(ticks, project("h", with_recurrent_bias=True, label="input"), strict=True):
        gates = g.node("Add", [g.node("MatMul", [h, recurrent], f"{tick}/recalled"), fed], f"{tick}/gates")
        h = cell.update(gates, {"h": h}, layer.hidden, tick, axis=1)["h"]
        outputs.append(h)
    return outputs, ""


def gru_of_one_product(cell: cells.GruCell, layer: Any, project: Any, first: Any, ticks: Any) -> Steps:
    """One recurrent product for all three gates in place of two."""
    g, name, size, h, outputs = cell.g, layer.name, layer.hidden, first[0], []
    recurrent = g.constant(f"{name}/R", stack(layer.r, "zrn"))
    bias = g.constant(f"{name}/BR", stack(layer.br, "zrn"))
    fed = project("zr", with_recurrent_bias=False, label="input_zr")
    fed_new = project("n", with_recurrent_bias=False, label="input_n")
    for tick, for_gates, for_new in zip(ticks, fed, fed_new, strict=True):
        all_three = g.node("Gemm", [h, recurrent, bias], f"{tick}/recalled", transB=1)
        two, recalled = g.split(all_three, [2 * size, size], f"{tick}/parts", ["zr", "n"], axis=1)
        gates = g.node("Add", [two, for_gates], f"{tick}/gates")
        h = cell.combine(h, gates, for_new, recalled, lambda *_: "", size, tick, axis=1)
        outputs.append(h)
    return outputs, ""


def gru_of_both_shares(
    cell: cells.GruCell, h: str, gates: str, fed_new: str, recalled: str, _: Any, size: int, tick: str, *, axis: int
) -> str:
    """The new h is (1 - z) * n + z * h in place of n + z * (h - n)."""
    g = cell.g
    update, reset = g.split(g.node("Sigmoid", [gates], f"{tick}/zr"), [size] * 2, f"{tick}/gate", "zr", axis=axis)
    kept = g.node("Mul", [reset, recalled], f"{tick}/kept")
    new = g.node("Tanh", [g.node("Add", [fed_new, kept], f"{tick}/total")], f"{tick}/n")
    one = g.constant("one", np.ones(1, np.float32))
    fresh = g.node("Mul", [g.node("Sub", [one, update], f"{tick}/rest"), new], f"{tick}/fresh")
    return g.node("Add", [fresh, g.node("Mul", [update, h], f"{tick}/old")], f"{tick}/h")


def lstm_of_three_sigmoids(
    cell: cells.LstmCell, gates: str, before: Mapping[str, str], size: int, tick: str, axis: int
) -> dict[str, str]:
    """A Sigmoid for each gate in place of one for three."""
    g = cell.g
    parts = g.split(gates, [size] * 4, f"{tick}/parts", "ifog", axis=axis)
    keep_in, forget, out = (
        g.node("Sigmoid", [part], f"{tick}/{gate}") for part, gate in zip(parts, "ifo", strict=False)
    )
    added = g.node("Mul", [keep_in, g.node("Tanh", [parts[3]], f"{tick}/candidate")], f"{tick}/added")
    c = g.node("Add", [g.node("Mul", [forget, before["c"]], f"{tick}/kept"), added], f"{tick}/c")
    return {"h": g.node("Mul", [out, g.node("Tanh", [c], f"{tick}/squashed")], f"{tick}/h"), "c": c}


FORMS: dict[Cell, dict[str, Patch]] = {
    "rnn": {
        "Gemm": {},
        "MatMul and Add": {"RnnCell.steps": rnn_of_product_and_sum},
        "Gemm, Slice in place of Split": {"GraphBuilder.split": slices},
    },
    "gru": {
        "two products, n + z (h - n)": {},
        "two products, (1 - z) n + z h": {"GruCell.combine": gru_of_both_shares},
        "one product, n + z (h - n)": {"GruCell.steps": gru_of_one_product},
        "two products, Slice in place of Split": {"GraphBuilder.split": slices},
    },
    "lstm": {
        "one Sigmoid for three gates": {},
        "three Sigmoids": {"LstmCell.update": lstm_of_three_sigmoids},
        "one Sigmoid, Slice in place of Split": {"GraphBuilder.split": slices},
    },
}


@contextlib.contextmanager
def written(patch: Patch) -> Iterator[None]:
    """Emit in another way."""
    with contextlib.ExitStack() as stack:
        for name, function in patch.items():
            owner, _, method = name.partition(".")
            stack.enter_context(mock.patch.object(getattr(cells, owner), method, function))
        yield


def build(cell: Cell, patch: Patch) -> Sidecar:
    """One build."""
    spec = ModelSpec(cell, (HIDDEN,), (1,), Continuous(1), Head("last", 10))
    weights = {name: value.numpy(force=True) for name, value in DilatedRNN(spec).state_dict().items()}
    with tempfile.TemporaryDirectory() as folder, written(patch):
        graph = Path(folder) / "model.onnx"
        request = GraphRequest(STEPS, 1, "unrolled", form="chunk")
        graph.write_bytes(emit(spec, weights, request).SerializeToString())
        return build_engine(graph, Path(folder) / "engine", "tensorrt-rtx", compute_capabilities=("8.6",))


def measure(rounds: int) -> list[dict[str, Any]]:
    """A row for each form."""
    built: dict[tuple[Cell, str], list[Sidecar]] = {}
    for _ in range(rounds):
        for cell, forms in FORMS.items():
            for form, patch in forms.items():
                built.setdefault((cell, form), []).append(build(cell, patch))
    rows = []
    for (cell, form), sidecars in built.items():
        seconds = sorted(sidecar.build_seconds for sidecar in sidecars)
        rows.append(
            {
                "cell": cell,
                "form": form,
                "kernels": sidecars[0].kernels,
                "seconds": [seconds[0], statistics.median(seconds), seconds[-1]],
                "bytes": sidecars[0].engine_bytes,
            }
        )
        print(rows[-1], flush=True)
    return rows


def page(result: dict[str, Any]) -> str:
    """docs/step-forms.md as text."""
    lines = [
        "# How a step is written",
        "",
        "Written by `python -m benchmarks.step_forms`; do not edit it. Equivalent ways to write an unrolled step, as",
        f"TensorRT-RTX compiles them for compute capability 8.6: one layer of {HIDDEN} units, {STEPS} steps, dilation",
        f"1. Median of {result['rounds']} builds in turn, with the shortest and the longest. Emitted is the first of",
        "each cell: no other one has fewer kernels, and none is built faster by more than the builds differ among",
        "themselves. Besides the steps an engine has two or more kernels for the input's products and the head.",
        "",
        "| cell | step | kernels | build, s | engine, MB |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        low, median, high = row["seconds"]
        seconds = f"{median:.2f} ({low:.2f} to {high:.2f})"
        lines.append(
            f"| {row['cell'].upper()} | {row['form']} | {row['kernels']} | {seconds} | {row['bytes'] / 1e6:.1f} |"
        )
    return "\n".join([*lines, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="builds of each form")
    given = parser.parse_args(arguments)
    write_result("step-forms", {"rounds": given.rounds, "rows": measure(given.rounds)})
    PAGE.write_text(page(json.loads((RESULTS / "step-forms.json").read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()

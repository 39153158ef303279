"""What rounding more than the products would cost: the reason for what `drnn_export.emitter.precision` keeps in
float32.

The zoo's networks on golden `normal` inputs, in the reference's loop with more and more of it rounded to float16 or
bfloat16; each error is the root mean square against float64. Writes benchmarks/results/narrower.json, which
docs/precision.md shows.

python -m benchmarks.narrower
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import write_result
from drnn_deploy.parity.known_answers import ComputedAnswers
from drnn_deploy.planner.plan import task_length
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint, load_checkpoint
from drnn_models.spec import Head
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.reference.loop import Array, run_reference
from drnn_runtimes.reference.low_precision import rounding_product
from drnn_zoo import ZOO

TYPES: dict[str, Any] = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}
VARIANTS = ("products", "and cell state", "and all states", "everything")
Row = dict[str, Any]


def error(checkpoint: Checkpoint, case: GoldenCase, kind: Any, variant: str) -> float | None:
    """The root mean square error of a variant; None where it has no meaning, or gives no number."""
    spec, weights, product = checkpoint.dilated, checkpoint.weights, rounding_product(kind)
    if variant == "and cell state" and "c" not in spec.cell_states:
        return None
    outputs: NDArray[np.generic]
    with np.errstate(over="ignore", invalid="ignore"):
        if variant in ("products", "everything"):
            precision = np.float32 if variant == "products" else kind
            outputs = run_reference(spec, weights, case.inputs, precision=precision, product=product).outputs
        else:
            ending = "_c" if variant == "and cell state" else ""
            outputs = _stepwise(checkpoint, case.inputs, kind, ending)
    found = float(np.sqrt(np.mean((outputs.astype(np.float64) - case.outputs) ** 2)))
    return found if np.isfinite(found) else None


def _stepwise(checkpoint: Checkpoint, inputs: NDArray[np.generic], kind: Any, ending: str) -> NDArray[np.generic]:
    """The outputs with the states whose names end with `ending` rounded after every step."""
    spec, weights, product = checkpoint.dilated, checkpoint.weights, rounding_product(kind)
    state: Mapping[str, Array] | None = None
    outputs = []
    for step in range(inputs.shape[1]):
        piece = inputs[:, step : step + 1]
        found = run_reference(spec, weights, piece, state, precision=np.float32, product=product)
        state = {
            name: line.astype(kind).astype(np.float32) if name.endswith(ending) else line
            for name, line in found.state.items()
        }
        outputs.append(found.outputs)
    return outputs[-1] if spec.head.kind == "last" else np.concatenate(outputs, axis=1)


def measure(task: str) -> list[Row]:
    """A row for each type."""
    checkpoint = load_checkpoint(ZOO / task / "model.pt")
    length = task_length(checkpoint)
    assert length is not None
    if checkpoint.dilated.head.kind == "last_k":
        checkpoint = every_step(checkpoint)
    answers = ComputedAnswers(checkpoint.dilated, checkpoint.weights, [GraphRequest(length)])
    case = next(case for case in answers.cases(GraphRequest(length)) if case.name == "normal")
    rows = []
    for name, kind in TYPES.items():
        errors = {variant: error(checkpoint, case, kind, variant) for variant in VARIANTS}
        rows.append({"task": task, "cell": checkpoint.dilated.cell, "type": name, "errors": errors})
        print(rows[-1], flush=True)
    return rows


def every_step(checkpoint: Checkpoint) -> Checkpoint:
    """The network with an output for each step, which pieces of one step can be cut from."""
    spec = checkpoint.dilated
    every = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs))
    return dataclasses.replace(checkpoint, spec=every, examples=None)


def table(rows: list[Row]) -> list[str]:
    """The rows as Markdown."""
    lines = [f"| task | cell | type | {' | '.join(VARIANTS)} |", f"|---|---|---|{'---|' * len(VARIANTS)}"]
    for row in rows:
        errors = (row["errors"][variant] for variant in VARIANTS)
        shown = ("-" if value is None else f"{value:.1e}" for value in errors)
        lines.append(f"| {row['task']} | {row['cell'].upper()} | {row['type']} | {' | '.join(shown)} |")
    return lines


if __name__ == "__main__":
    tasks = ("copy-memory", "pixel-mnist", "ptb-char", "speaker-id")
    write_result("narrower", {"rows": [row for task in tasks for row in measure(task)]})

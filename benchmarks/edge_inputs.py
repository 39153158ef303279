"""How far tract is off at the edge of a precision's range: freshly initialised networks, beside the limit of parity.

python -m benchmarks.edge_inputs    # benchmarks/results/edge-inputs.json, and the table of docs/runtimes.md
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import torch

from drnn_core.environment import installed_versions
from drnn_deploy import ExportOptions, export
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_models.cells import Cell
from drnn_models.checkpoint import Checkpoint, as_checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec

RESULTS = Path("benchmarks/results/edge-inputs.json")
SHAPES = (((20,) * 3, 200), ((12,) * 4, 64))  # units of each layer, steps
SEEDS = range(8)


def networks(cell: Cell) -> Iterator[tuple[Checkpoint, int]]:
    """Networks as they begin a training, with three features and five outputs, and the steps of a sequence."""
    for hidden, length in SHAPES:
        spec = ModelSpec(cell, hidden, tuple(2**i for i in range(len(hidden))), Continuous(3), Head("last", 5))
        for seed in SEEDS:
            torch.manual_seed(seed)
            yield as_checkpoint(DilatedRNN(spec)), length


def worst_noises(checkpoint: Checkpoint, length: int, runtime: str) -> tuple[float, float]:
    """The worst error on inputs at the edge, and on all others, in noises."""
    with tempfile.TemporaryDirectory() as folder:
        options = ExportOptions(length=length, engines=(), runtimes=(runtime,))
        report = export(checkpoint, Path(folder) / "bundle", options).parity
    cases = [case for row in report.rows if row.runtime == runtime for case in row.cases]
    found = {
        edge: max(case.in_noise or 0.0 for case in cases if case.case.startswith("edge") == edge)
        for edge in (True, False)
    }
    return found[True], found[False]


def main() -> None:
    """Measure, write and print."""
    rows = []
    for cell in get_args(Cell):
        found = [worst_noises(checkpoint, length, "tract") for checkpoint, length in networks(cell)]
        edge, other = sorted(at for at, _ in found), max(rest for _, rest in found)
        failed = sum(at > NOISE_MULTIPLE for at in edge)
        rows.append({"cell": cell, "networks": len(edge), "failed": failed, "edge": edge, "elsewhere": other})
        print(f"| {cell.upper()} | {edge[0]:.1f} to {edge[-1]:.1f} | {failed} of {len(edge)} | {other:.1f} |")
    RESULTS.write_text(
        json.dumps({"versions": installed_versions(["tract", "numpy"]), "rows": rows}, indent=1) + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()

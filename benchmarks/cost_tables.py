"""docs/costs.md: the planner's estimates beside the measurements that they were fitted to.

python -m benchmarks.cost_tables
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.measure import RESULTS
from drnn_deploy.planner.cost_model import load_costs
from drnn_deploy.planner.native_cost import native_costs
from drnn_deploy.planner.plan import shown_cost
from drnn_models.cells import Cell

PAGE = Path(__file__).parents[1] / "docs" / "costs.md"
NETWORKS = {(9, 20): "nine layers of 20, dilations 1 to 256", (10, 32): "ten layers of 32, dilations 2 to 1024"}
FILES = "costs.json", "native-costs.json"
Row = dict[str, Any]


def write_page() -> Path:
    """Write the page from the committed results."""
    PAGE.write_text(page(), encoding="utf-8")
    return PAGE


def page() -> str:
    """The page as text. Everything in it comes from the result files and the shipped coefficients."""
    result, native = (json.loads((RESULTS / file).read_text(encoding="utf-8")) for file in FILES)
    machine, rows = result["machine"], result["rows"]
    versions = machine["versions"]
    where = f"{machine['processor']}, {machine['cores']} cores, ONNX Runtime {versions['onnxruntime-gpu']}"
    lines = [
        "# Estimates beside measurements",
        "",
        "What `drnn-deploy plan` estimates is fitted to measurements (`python -m benchmarks.costs`). This page puts",
        "the two side by side. Written by `python -m benchmarks.cost_tables`; do not edit it.",
        "",
        f"Measured on {where}; builds are TensorRT-RTX's, for compute capability 8.6, one at a time. No engine",
        f"was run. {_clocks(rows)} Graphs have the words of files: fused is style `operator`, skewed is `pipelined`",
        "([glossary](glossary.md)).",
        "",
        "Nine of ten measurements that a fit had not seen were within these factors of its estimate:",
        "",
        "| cell | time of a run | time of a build | size of an engine |",
        "|---|---|---|---|",
    ]
    for cell in get_args(Cell):
        costs = load_costs(cell)
        lines.append(f"| {cell.upper()} | {costs.run_error} | {costs.build_error} | {costs.engine_error} |")
    for (layers, hidden), title in NETWORKS.items():
        fitting = [row for row in rows if (row["layers"], row["hidden"]) == (layers, hidden)]
        lines += ["", f"## Engines: {title}", "", *_builds([row for row in fitting if row["kind"] == "build"])]
        lines += ["", f"## Runs: {title}", "", *_runs([row for row in fitting if row["kind"] == "run"])]
    lines += ["", "## All of them", "", *_summary(rows)]
    lines += ["", "## Runtime native", "", *_native(native)]
    return "\n".join([*lines, ""])


def _clocks(rows: list[Row]) -> str:
    """Which builds were timed by the processor time of the builder, as other work was going on."""
    builds = [row for row in rows if row["kind"] == "build"]
    timed = sorted({row["emission"] for row in builds if row.get("clock") == "processor"})
    return f"Builds of emission {' and '.join(timed)} are in seconds of processor time." if timed else ""


def _native(result: dict[str, Any]) -> list[str]:
    machine, rows = result["machine"], result["rows"]
    lines = [
        "`--target native` estimates runs of the weights through the compiled kernel ([native](native.md)): on one",
        "thread, called from Python with bound arrays. Emissions and rings make no difference to it, and whole",
        "sequences are always pruned. Fitted by `python -m benchmarks.native_costs`; measured on",
        f"{machine['processor']} with {machine['compiler']}, in the thread's own time.",
        "",
        "| cell | nine of ten unseen within a factor of | how many | median error | worst factor |",
        "|---|---|---|---|---|",
    ]
    for cell in get_args(Cell):
        of_cell = [row for row in rows if row["cell"] == cell]
        unseen = native_costs(cell)["run_error"]
        lines.append(f"| {cell.upper()} | {unseen} | {len(of_cell)} | {' | '.join(_errors(of_cell))} |")
    for (layers, hidden), title in NETWORKS.items():
        fitting = [row for row in rows if (row["layers"], row["hidden"]) == (layers, hidden)]
        lines += ["", f"Microseconds of a run, {title}, measured (estimated):", ""]
        lines += ["| run | batch | RNN | GRU | LSTM |", "|---|---|---|---|---|"]
        shapes = dict.fromkeys((row["form"], row["steps"], row["batch"]) for row in fitting)
        for form, steps, batch in shapes:
            by_cell = {r["cell"]: r for r in fitting if (r["form"], r["steps"], r["batch"]) == (form, steps, batch)}
            shown = [
                f"{shown_cost(by_cell[cell]['measured'])} ({shown_cost(by_cell[cell]['estimated'])})"
                if cell in by_cell
                else "-"
                for cell in get_args(Cell)
            ]
            lines.append(f"| {form}{'' if form == 'step' else f' of {steps}'} | {batch} | {' | '.join(shown)} |")
    return lines


def _errors(rows: list[Row]) -> tuple[str, str]:
    """The median error and the worst factor of estimates."""
    off = np.array([row["estimated"] / row["measured"] for row in rows])
    return f"{np.median(np.abs(off - 1)):.0%}", f"{np.max(np.maximum(off, 1 / off)):.1f}"


def _builds(rows: list[Row]) -> list[str]:
    lines = ["Seconds to build, measured (estimated), and MB of the engine.", ""]
    lines += ["| graph | nodes, GRU | RNN | GRU | LSTM |", "|---|---|---|---|---|"]
    for key, by_cell in _by_graph(rows).items():
        shown = [
            f"{r['measured']:.2g} ({r['estimated']:.2g}) s, {r['engine_bytes'] / 1e6:.1f} MB" if r else "-"
            for r in (by_cell.get(cell) for cell in get_args(Cell))
        ]
        nodes = f"{by_cell['gru']['nodes']:,}" if "gru" in by_cell else "-"
        lines.append(f"| {key} | {nodes} | {' | '.join(shown)} |")
    return lines


def _runs(rows: list[Row]) -> list[str]:
    lines = ["Microseconds of a run on one thread, batch 1, measured (estimated).", ""]
    lines += ["| graph | RNN | GRU | LSTM |", "|---|---|---|---|"]
    for key, by_cell in _by_graph([row for row in rows if row["batch"] == 1]).items():
        shown = [
            f"{r['measured']:,.0f} ({r['estimated']:,.0f})" if r else "-"
            for r in (by_cell.get(cell) for cell in get_args(Cell))
        ]
        lines.append(f"| {key} | {' | '.join(shown)} |")
    return lines


def _summary(rows: list[Row]) -> list[str]:
    lines = ["| cell | what | how many | median error | worst factor |", "|---|---|---|---|---|"]
    for cell in get_args(Cell):
        for kind in ("run", "build"):
            chosen = [row for row in rows if (row["cell"], row["kind"]) == (cell, kind)]
            lines.append(f"| {cell.upper()} | {kind} | {len(chosen)} | {' | '.join(_errors(chosen))} |")
    return lines


def _by_graph(rows: list[Row]) -> dict[str, dict[str, Row]]:
    graphs: dict[str, dict[str, Row]] = {}
    for row in rows:
        ring = ", rings" if row["ring"] else f", blocks of {row['block']}" if "block" in row else ""
        steps = "" if row["form"] == "step" else f" of {row['steps']}"
        graphs.setdefault(f"{row['form']}{steps}, {row['emission']}{ring}", {})[row["cell"]] = row
    return graphs


if __name__ == "__main__":
    print(f"wrote {write_page()}")

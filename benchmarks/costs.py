"""Fit the planner's estimates (`drnn_deploy.planner.cost_model`): measure runs on ONNX Runtime's CPU and builds with
TensorRT-RTX.

For each kind of cell: networks of 3 to 10 layers and 8 to 128 units, as sequences, chunks and steps, in every emission.
Non-negative least squares on relative errors. The stated errors are of five-fold cross-validation: of measurements that
the fit has not seen. Writes drnn_deploy/planner/cost_model.json, benchmarks/results/costs.json and docs/costs.md.

Builds are timed by the processor time of the builder's process, which other work on the machine changes little.

python -m benchmarks.costs [--quick | --refit] [--cell gru] [--size 10x32] [--build-emission blocked]
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime

from benchmarks.cost_fits import fit, rounded, spread
from benchmarks.cost_tables import write_page
from benchmarks.measure import RESULTS, write_result
from drnn_deploy.bench.machine import machine
from drnn_deploy.planner.cost_model import Costs, Workload, workload
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.engine.build import build_engine
from drnn_models.cells import Cell
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_models.weights import Weights

SHIPPED = Path(__file__).parents[1] / "drnn_deploy" / "planner" / "cost_model.json"
RUN_NODES, BUILD_CELLS = 3_000, 320  # largest graphs that are measured
RUN_SECONDS = 0.25
WAVEFORM_LAYERS = 10  # of a network for raw sound, whose first dilation is 2
POWERS = np.arange(1.5, 3.05, 0.1)


@dataclasses.dataclass(frozen=True)
class Measured:
    """One graph: what it does, and what was measured of it."""

    cell: str
    layers: int
    hidden: int
    request: GraphRequest
    work: Workload
    value: float  # microseconds per run, or seconds per build
    engine_bytes: int = 0
    clock: str = "wall"  # or "processor"

    @property
    def name(self) -> str:
        """As in the tables."""
        request = self.request
        ring = ", rings" if request.ring else f", blocks of {request.block}" if request.block else ""
        return f"{self.layers} x {self.hidden}, {request.form} of {request.steps}, {request.emission}{ring}"


def network(cell: Cell, layers: int, hidden: int) -> tuple[ModelSpec, Weights]:
    """Seeded weights, one input, the last step's ten outputs; dilations 1, 2, 4, ..., of ten layers 2 to 1024."""
    dilations = tuple(2 ** (layer + (layers == WAVEFORM_LAYERS)) for layer in range(layers))
    spec = ModelSpec(cell, (hidden,) * layers, dilations, Continuous(1), Head("last", 10))
    random = np.random.default_rng(0)
    shapes = spec.weight_shapes().items()
    return spec, {n: (random.standard_normal(s) / np.sqrt(s[-1])).astype(np.float32) for n, s in shapes}


def run_requests() -> Iterator[GraphRequest]:
    """Sequences, chunks and steps in every emission, of one and of eight sequences."""
    for batch in (1, 8):
        for steps, emission in itertools.product((100, 784), ("fused", "mixed", "unrolled")):
            yield GraphRequest(steps, batch, emission)  # type: ignore[arg-type]
        for steps, emission in itertools.product((8, 32, 100, 256), ("fused", "mixed", "unrolled")):
            yield GraphRequest(steps, batch, emission, form="chunk")  # type: ignore[arg-type]
        for emission in ("fused", "unrolled", "skewed"):
            yield GraphRequest(1, batch, emission, form="step")  # type: ignore[arg-type]
        yield GraphRequest(1, batch, "fused", form="step", ring=True)
        yield GraphRequest(32, batch, "fused", form="chunk", ring=True)


def build_requests() -> Iterator[GraphRequest]:
    """What is worth an engine: chunks of every length and emission, steps, and sequences as operators and in blocks."""
    for steps, emission in itertools.product((4, 16, 32, 64, 128, 256), ("fused", "unrolled")):
        yield GraphRequest(steps, 1, emission, form="chunk")  # type: ignore[arg-type]
    for emission in ("fused", "unrolled", "skewed"):
        yield GraphRequest(1, 1, emission, form="step")  # type: ignore[arg-type]
    yield GraphRequest(784, 1, "fused")
    yield GraphRequest(64, 1, "unrolled")
    yield GraphRequest(128, 1, "mixed")
    for block in (8, 16, 32, 64):
        yield GraphRequest(784, 1, "blocked", block=block)


def time_run(spec: ModelSpec, weights: Weights, request: GraphRequest) -> float:
    """Median microseconds of a bound run on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = emit(spec, weights, request).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    held = [np.zeros([int(size) for size in value.shape], np.float32) for value in session.get_inputs()]
    for value, array in zip(session.get_inputs(), held, strict=True):
        binding.bind_cpu_input(value.name, array)
    for value in session.get_outputs():
        binding.bind_output(value.name)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 20 or time.perf_counter() - started < RUN_SECONDS:
        before = time.perf_counter()
        session.run_with_iobinding(binding)
        times.append(time.perf_counter() - before)
    return statistics.median(times[3:]) * 1e6


def measure_runs(cell: Cell, sizes: Sequence[tuple[int, int]]) -> list[Measured]:
    """Every request of every network whose graph is not too large."""
    found = []
    for layers, hidden in sizes:
        spec, weights = network(cell, layers, hidden)
        for request in run_requests():
            work = workload(spec, request)
            if work.size.nodes <= RUN_NODES:
                value = time_run(spec, weights, request)
                found.append(Measured(cell, layers, hidden, request, work, value))
    return found


def measure_builds(cell: Cell, sizes: Sequence[tuple[int, int]], emission: str | None) -> list[Measured]:
    """Builds for one compute capability; one that crashes or takes over ten minutes ends the benchmark.

    emission: Only graphs that are written like this.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        graph, engine = Path(folder) / "model.onnx", Path(folder) / "model.engine"
        for layers, hidden in sizes:
            spec, weights = network(cell, layers, hidden)
            for request in build_requests():
                work = workload(spec, request)
                if sum(work.unrolled_cells) > BUILD_CELLS or emission not in (None, request.emission):
                    continue
                graph.write_bytes(emit(spec, weights, request).SerializeToString())
                before = children_seconds()
                built = build_engine(graph, engine, "tensorrt-rtx", compute_capabilities=("8.6",), time_limit=600)
                seconds = round(children_seconds() - before, 2)
                size = (cell, layers, hidden)
                found.append(Measured(*size, request, work, seconds, built.engine_bytes, clock="processor"))
                print(f"{cell} {found[-1].name}: {seconds:.1f} s, {built.engine_bytes:,} bytes", flush=True)
    return found


def children_seconds() -> float:
    """Processor time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def fit_cell(runs: Sequence[Measured], builds: Sequence[Measured]) -> dict[str, Any]:
    """The entry of one kind of cell in cost_model.json."""
    run_features = np.array([m.work.run_features() for m in runs])
    run_values = np.array([m.value for m in runs])
    build_values = np.array([m.value for m in builds])
    engine_features = np.array([m.work.engine_features() for m in builds])
    engine_values = np.array([float(m.engine_bytes) for m in builds])
    by_power = {float(p): np.array([m.work.build_features(p) for m in builds]) for p in POWERS}

    def loss(power: float) -> float:
        features = by_power[power]
        return float(np.sum((features @ fit(features, build_values) / build_values - 1) ** 2))

    power = min(by_power, key=loss)
    return {
        "run": rounded(fit(run_features, run_values)),
        "build": rounded(fit(by_power[power], build_values)),
        "build_power": round(power, 2),
        "engine": rounded(fit(engine_features, engine_values)),
        "run_error": round(spread(run_features, run_values), 2),
        "build_error": round(spread(by_power[power], build_values), 2),
        "engine_error": round(spread(engine_features, engine_values), 2),
    }


def main() -> None:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few networks, and nothing is written: does it run?")
    parser.add_argument("--refit", action="store_true", help="measure nothing: fit the committed results again")
    parser.add_argument("--cell", dest="cells", action="append", choices=get_args(Cell), help="[default: all]")
    parser.add_argument("--size", dest="sizes", action="append", help="only these networks again, for example 10x32")
    parser.add_argument("--build-emission", help="only the builds of graphs that are written like this again")
    arguments = parser.parse_args()
    quick = arguments.quick
    chosen = [tuple(map(int, size.split("x"))) for size in arguments.sizes or ()]
    run_sizes = [(3, 8)] if quick else [(3, 8), (9, 20), (5, 64), (10, 32), (5, 128), (9, 128)]
    build_sizes = [(1, 8)] if quick else [(1, 32), (9, 20), (10, 32), (5, 128)]
    for cell in arguments.cells or get_args(Cell):
        only = arguments.build_emission
        runs, builds = measured_before(cell) if arguments.refit or chosen or only else ([], [])
        if not arguments.refit:
            again = [size for size in {*run_sizes, *build_sizes} if not chosen or size in chosen]
            builds = [m for m in builds if (m.layers, m.hidden) not in again or only not in (None, m.request.emission)]
            builds += measure_builds(cell, [size for size in build_sizes if size in again], only)
        if not arguments.refit and not only:
            runs = [m for m in runs if (m.layers, m.hidden) not in again]
            runs += measure_runs(cell, [size for size in run_sizes if size in again])
        fitted = fit_cell(runs, builds)
        print(f"{cell}: {len(runs)} runs, {len(builds)} builds, {fitted}", flush=True)
        if not arguments.quick:
            write(cell, fitted, runs, builds)
    if not arguments.quick:
        print(f"wrote {write_page()}")


def request_of(row: dict[str, Any]) -> GraphRequest:
    """The graph of a row of the results file."""
    words = {name: row.get(name) for name in ("steps", "batch", "emission", "form", "ring", "block")}
    return GraphRequest(**words)  # type: ignore[arg-type]


def measured_before(cell: Cell) -> tuple[list[Measured], list[Measured]]:
    """Runs and builds of the committed results."""
    found: dict[str, list[Measured]] = {"run": [], "build": []}
    for row in json.loads((RESULTS / "costs.json").read_text(encoding="utf-8"))["rows"]:
        if row["cell"] == cell:
            request = request_of(row)
            work = workload(network(cell, row["layers"], row["hidden"])[0], request)
            size = (cell, row["layers"], row["hidden"])
            values = (row["measured"], row["engine_bytes"], row.get("clock", "wall"))
            found[row["kind"]].append(Measured(*size, request, work, *values))
    return found["run"], found["build"]


def write(cell: Cell, fitted: dict[str, Any], runs: Sequence[Measured], builds: Sequence[Measured]) -> None:
    """Replace one kind of cell in the two files."""
    costs = Costs(**fitted)
    rows = [_row(m, "run", costs.run_microseconds(m.work)) for m in runs]
    rows += [_row(m, "build", costs.build_seconds(m.work), costs.engine_bytes(m.work)) for m in builds]
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    shipped |= {"machine": machine(), "cells": {**shipped["cells"], cell: fitted}}
    SHIPPED.write_text(json.dumps(shipped, indent=1) + "\n", encoding="utf-8")
    before = json.loads((RESULTS / "costs.json").read_text(encoding="utf-8"))["rows"]
    write_result("costs", {"rows": [row for row in before if row["cell"] != cell] + rows})


def _row(m: Measured, kind: str, estimated: float, estimated_bytes: float = 0.0) -> dict[str, Any]:
    """One measurement beside its estimate, for the results file. Microseconds per run, seconds per build."""
    request = m.request
    return {
        "kind": kind,
        "cell": m.cell,
        "layers": m.layers,
        "hidden": m.hidden,
        "form": request.form,
        "steps": request.steps,
        "batch": request.batch,
        "emission": request.emission,
        "ring": request.ring,
        "nodes": m.work.size.nodes,
        "measured": round(m.value, 3),
        "estimated": round(estimated, 3),
        "engine_bytes": m.engine_bytes,
        "estimated_bytes": round(estimated_bytes),
        **({"block": request.block} if request.block else {}),
        **({"clock": m.clock} if m.clock != "wall" else {}),
    }


if __name__ == "__main__":
    main()

"""Fit the planner's estimates of runtime `native` (`drnn_deploy.planner.native_cost`): measure runs of the kernel that
this machine's compiler makes, on one thread, called from Python with bound arrays. Times are the
thread's own: what else runs on the machine does not count, beyond what it takes of caches.

For each kind of cell: networks of 3 to 10 layers and 8 to 256 units, whole sequences and streams in blocks of 1 to 256
steps, of 1, 8 and 32 sequences. Fitted as in `benchmarks.costs`. Writes benchmarks/results/native-costs.json, the part
`native` of drnn_deploy/planner/cost_model.json, and docs/costs.md.

python -m benchmarks.native_costs [--quick | --refit]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import numpy as np

from benchmarks.cost_fits import fit, rounded, spread
from benchmarks.cost_tables import write_page
from benchmarks.costs import SHIPPED, network
from benchmarks.measure import RESULTS, write_result
from drnn_deploy.bench.machine import machine
from drnn_deploy.planner.native_cost import NATIVE_FEATURES, native_features
from drnn_export.emitter.request import GraphRequest
from drnn_models.cells import Cell
from drnn_models.spec import Continuous, ModelSpec
from drnn_runtimes.native.compiler import compiler
from drnn_runtimes.native.kernel import Kernel, KernelStream

SIZES = ((3, 8, 1), (9, 20, 1), (10, 32, 1), (5, 64, 1), (5, 64, 40), (5, 128, 1), (9, 128, 1), (5, 256, 1))
BATCHES = (1, 8, 32)
SEQUENCES, BLOCKS = (100, 784), (1, 2, 8, 32, 100, 256)
ROUNDS, ROUND_SECONDS, LEAST_TIMES = 3, 0.015, 3  # every run is timed in each round: a busy minute spoils none
SHORTEST = 1e-4  # seconds of what is timed together: the clock itself takes half a microsecond
MOST_PRODUCTS = 4e8  # multiply-adds of a run that is measured


@dataclasses.dataclass(frozen=True)
class MeasuredRun:
    """One run, and its median microseconds."""

    spec: ModelSpec
    request: GraphRequest
    microseconds: float


def requests() -> Iterator[GraphRequest]:
    """Whole sequences, and pieces of streams."""
    for batch in BATCHES:
        yield from (GraphRequest(steps, batch) for steps in SEQUENCES)
        yield from (GraphRequest(steps, batch, form="chunk" if steps > 1 else "step") for steps in BLOCKS)


def sized(cell: Cell, layers: int, hidden: int, inputs: int) -> tuple[ModelSpec, Any]:
    """`benchmarks.costs.network` with so many inputs; seeded weights."""
    spec = dataclasses.replace(network(cell, layers, hidden)[0], input=Continuous(inputs))
    random = np.random.default_rng(0)
    shapes = spec.weight_shapes().items()
    return spec, {n: (random.standard_normal(s) / np.sqrt(s[-1])).astype(np.float32) for n, s in shapes}


def bound_run(kernel: Kernel, request: GraphRequest) -> Callable[[], Any]:
    """A run that reads and writes the same arrays again and again."""
    batch, head = request.batch or 1, kernel.spec.head
    samples = np.random.default_rng(1).standard_normal((batch, request.steps, kernel.spec.input.width), np.float32)
    if request.form != "sequence":
        return KernelStream(kernel, samples).run
    return kernel.bind(samples, np.empty((batch, head.output_steps(request.steps), head.outputs), np.float32))


def times_of(run: Callable[[], Any]) -> list[float]:
    """Microseconds of a run, some times. They are the thread's own, so that what else runs here does not count."""
    run()
    before = time.thread_time()
    run()
    together = range(1 + int(SHORTEST / (time.thread_time() - before)))
    times: list[float] = []
    started = time.thread_time()
    while len(times) < LEAST_TIMES or before - started < ROUND_SECONDS:
        before = time.thread_time()
        for _ in together:
            run()
        times.append((time.thread_time() - before) / len(together) * 1e6)
    return times


def measure(cell: Cell, sizes: Sequence[tuple[int, int, int]]) -> list[MeasuredRun]:
    """Every request of every network that is not too large."""
    kernels = [Kernel(*sized(cell, *size)) for size in sizes]
    what = [
        (kernel.spec, request, bound_run(kernel, request))
        for kernel in kernels
        for request in requests()
        if sum(native_features(kernel.spec, request)[3:5]) <= MOST_PRODUCTS
    ]
    times: list[list[float]] = [[] for _ in what]
    for _ in range(ROUNDS):
        for (_, _, run), taken in zip(what, times, strict=True):
            taken += times_of(run)
    return [
        MeasuredRun(spec, request, statistics.median(taken))
        for (spec, request, _), taken in zip(what, times, strict=True)
    ]


def fit_runs(runs: Sequence[MeasuredRun]) -> dict[str, Any]:
    """The entry of one kind of cell in cost_model.json."""
    features = np.array([native_features(run.spec, run.request) for run in runs])
    values = np.array([run.microseconds for run in runs])
    return {"run": rounded(fit(features, values)), "run_error": round(spread(features, values), 2)}


def row(run: MeasuredRun, fitted: dict[str, Any]) -> dict[str, Any]:
    """One measurement beside its estimate, in microseconds, for the results file."""
    spec, request = run.spec, run.request
    return {
        "cell": spec.cell,
        "layers": spec.layers,
        "hidden": spec.hidden[0],
        "inputs": spec.input.width,
        "form": request.form,
        "steps": request.steps,
        "batch": request.batch,
        "measured": round(run.microseconds, 3),
        "estimated": round(float(native_features(spec, request) @ np.array(fitted["run"])), 3),
    }


def measured_before() -> tuple[dict[str, Any], list[MeasuredRun]]:
    """The machine and the runs of the committed results."""
    result = json.loads((RESULTS / "native-costs.json").read_text(encoding="utf-8"))
    runs = []
    for line in result["rows"]:
        spec, _ = sized(line["cell"], line["layers"], line["hidden"], line["inputs"])
        request = GraphRequest(line["steps"], line["batch"], form=line["form"])
        runs.append(MeasuredRun(spec, request, line["measured"]))
    return result["machine"], runs


def _version() -> str:
    """The compiler, as it calls itself."""
    return subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def main() -> None:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one network, and nothing is written: does it run?")
    parser.add_argument("--refit", action="store_true", help="measure nothing: fit the committed results again")
    arguments = parser.parse_args()
    if arguments.refit:
        where, runs = measured_before()
    else:
        where = {**machine(), "compiler": _version()}
        sizes = SIZES[:1] if arguments.quick else SIZES
        runs = [run for cell in get_args(Cell) for run in measure(cell, sizes)]
    fitted = {cell: fit_runs([run for run in runs if run.spec.cell == cell]) for cell in get_args(Cell)}
    for cell, entry in fitted.items():
        print(
            f"{cell}: {dict(zip(NATIVE_FEATURES, entry['run'], strict=True))}, nine of ten within {entry['run_error']}"
        )
    if arguments.quick:
        return
    write_result("native-costs", {"machine": where, "rows": [row(run, fitted[run.spec.cell]) for run in runs]})
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8")) | {"native": {"machine": where, "cells": fitted}}
    SHIPPED.write_text(json.dumps(shipped, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {write_page()}")


if __name__ == "__main__":
    main()

"""What a graph costs, before it is made: time of a run on ONNX Runtime's CPU, time to build an engine and its size.

Both are sums of counts times coefficients, which `python -m benchmarks.costs` fits to measurements on one machine and
writes to cost_model.json beside this file, with how far off they are. On another machine all of them shift together,
which leaves the order of the candidates nearly as it is.

run    c . (1, operators, other nodes, folded steps of operators, multiply-adds of operators, multiply-adds of nodes,
       gate values, bytes of state in and out)
build  c . (1, operators, cells, cells ** p, loops, cells squared where there are loops), cells summed over the
       unrolled layers, p fitted as well: chains of hundreds of steps take the compiler more than linear time, and so do
       the blocks of all loops together
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.plain_data import shipped_json
from drnn_export.emitter.cells import cell_nodes, product_blocks
from drnn_export.emitter.emit import Estimate, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_models.cells import Cell
from drnn_models.spec import ModelSpec

RUN_FEATURES = (
    "run",
    "operators",
    "nodes",
    "operator steps",
    "operator multiply-adds",
    "node multiply-adds",
    "gate values",
    "state bytes",
)


@dataclasses.dataclass(frozen=True)
class Workload:
    """What one run of a graph does.

    Attributes:
        size: The nodes and bytes of the graph.
        evaluations: The cell evaluations per sequence.
        operators: The recurrent operators.
        unrolled_cells: The cells one after the other in the nodes, for each unrolled run of a layer and each loop's
            block.
        operator_steps: The cells one after the other, summed over the operators.
        loops: The loops over blocks of unrolled steps.
        trips: The trips of these loops.
        repeated_cells: The cells one after the other of all trips of a loop but its first, summed over the loops.
        repeated_nodes: The nodes that run in these trips.
        operator_multiply_adds: The multiply-adds of the operators' matrix products.
        node_multiply_adds: The multiply-adds of all other matrix products.
        gate_values: The elements that go through an activation.
        state_bytes: The bytes of state that go in and out.
    """

    size: Estimate
    evaluations: int
    operators: int
    unrolled_cells: tuple[int, ...]
    operator_steps: int
    loops: int
    trips: int
    repeated_cells: int
    repeated_nodes: int
    operator_multiply_adds: int
    node_multiply_adds: int
    gate_values: int
    state_bytes: int

    @property
    def depth(self) -> int:
        """The cell evaluations one after the other."""
        return sum(self.unrolled_cells) + self.repeated_cells + self.operator_steps

    @property
    def multiply_adds(self) -> int:
        """The multiply-adds of all matrix products."""
        return self.operator_multiply_adds + self.node_multiply_adds

    def run_features(self) -> NDArray[np.float64]:
        """What the time of a run is computed from, (8,), in the order of `RUN_FEATURES`."""
        nodes = self.size.nodes - self.operators + self.repeated_nodes
        counts = (1, self.operators, nodes, self.operator_steps, self.operator_multiply_adds, self.node_multiply_adds)
        return np.array([*counts, self.gate_values, self.state_bytes], np.float64)

    def build_features(self, power: float) -> NDArray[np.float64]:
        """What the time to build an engine is computed from, (6,).

        Args:
            power: The exponent of a chain's length.
        """
        chains = np.array(self.unrolled_cells, np.float64)
        together = chains.sum() ** 2 if self.loops else 0
        return np.array([1, self.operators, chains.sum(), (chains**power).sum(), self.loops, together], np.float64)

    def engine_features(self) -> NDArray[np.float64]:
        """What the size of an engine is computed from, (5,)."""
        cells, weights = sum(self.unrolled_cells), self.size.weight_bytes
        return np.array([1, self.operators, cells, weights, self.loops], np.float64)


def workload(spec: ModelSpec, request: GraphRequest) -> Workload:
    """Count what one run of a graph does. A dynamic batch counts as 1.

    Args:
        spec: The network.
        request: The form, steps, batch, emission and precision of the graph.
    """
    batch, gates = request.batch or 1, spec.gates
    head = spec.head.output_steps(request.steps) * spec.window * spec.hidden[-1] * spec.head.outputs
    products = {True: 0, False: batch * head}  # by whether the run is an operator
    operator_steps: list[int] = []
    unrolled: list[int] = []
    loops: list[tuple[int, int]] = []
    values = 0
    for runs, features, hidden in zip(request.runs(spec), spec.layer_inputs(), spec.hidden, strict=True):
        for cells, fold in runs:
            rows = batch * cells * fold * gates * hidden
            products[request.fuses(spec, cells)] += rows * (features + hidden)
            values += rows
            if request.fuses(spec, cells):
                operator_steps.append(cells)
                continue
            trips, length = request.blocks(cells)
            if trips > 1:
                loops.append((trips, length))
            unrolled += [steps for steps in (length, cells - trips * length) if steps]
    if request.emission == "skewed":
        wide, size = max(*spec.hidden, spec.input.width), max(spec.hidden)
        columns = product_blocks(spec)
        products[False] = batch * (head + spec.layers * (wide + size) * columns * size)
        unrolled = [1]
    states = request.state_shapes(spec).values()
    repeated = sum((trips - 1) * length for trips, length in loops)
    return Workload(
        size=estimate(spec, request),
        evaluations=sum(cells * fold for runs in request.runs(spec) for cells, fold in runs),
        operators=len(operator_steps),
        unrolled_cells=tuple(unrolled),
        operator_steps=sum(operator_steps),
        loops=len(loops),
        trips=sum(trips for trips, _ in loops),
        repeated_cells=repeated,
        repeated_nodes=repeated * cell_nodes(spec),
        operator_multiply_adds=products[True],
        node_multiply_adds=products[False],
        gate_values=values,
        state_bytes=2 * 4 * sum(abs(math.prod(shape)) for shape in states),
    )


@dataclasses.dataclass(frozen=True)
class Costs:
    """The fitted coefficients of one kind of cell.

    Attributes:
        run: Microseconds of a run, for each of `RUN_FEATURES`.
        build: Seconds of a build, for each of `Workload.build_features`.
        build_power: The exponent of a chain's length.
        engine: Bytes of an engine, for each of `Workload.engine_features`.
        run_error: The factor within which nine of ten measured runs are of their estimates.
        build_error: The same factor for builds.
        engine_error: The same factor for engines.
    """

    run: tuple[float, ...]
    build: tuple[float, ...]
    build_power: float
    engine: tuple[float, ...]
    run_error: float
    build_error: float
    engine_error: float

    def run_microseconds(self, work: Workload) -> float:
        """The time of one run on ONNX Runtime's CPU with one thread, in microseconds."""
        return float(work.run_features() @ np.array(self.run))

    def build_seconds(self, work: Workload) -> float:
        """The time of TensorRT-RTX's builder for one compute capability, in seconds."""
        return float(work.build_features(self.build_power) @ np.array(self.build))

    def engine_bytes(self, work: Workload) -> float:
        """The size of TensorRT-RTX's engine for one compute capability, in bytes."""
        return float(work.engine_features() @ np.array(self.engine))


def load_costs(cell: Cell) -> Costs:
    """The fitted coefficients of a kind of cell."""
    entry: dict[str, Any] = shipped_costs()["cells"][cell]
    lists = {name: tuple(entry[name]) for name in ("run", "build", "engine")}
    return Costs(**{**entry, **lists})


def build_seconds(spec: ModelSpec, request: GraphRequest) -> float:
    """The estimated time to build an engine of a graph, in seconds.

    Args:
        spec: The network.
        request: The form, steps, batch, emission and precision of the graph.
    """
    return load_costs(spec.cell).build_seconds(workload(spec, request))


def shipped_costs() -> dict[str, Any]:
    """What cost_model.json holds.

    Raises:
        InputError: The file is missing.
    """
    try:
        shipped: dict[str, Any] = shipped_json("drnn_deploy.planner", "cost_model.json")
    except FileNotFoundError as error:
        raise InputError("cost_model.json is not part of this installation", "Install drnn-deploy again.") from error
    return shipped

"""The counts that estimates are made of, and the shipped coefficients beside the measurements they were fitted to."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

import drnn_deploy
from benchmarks.costs import request_of
from drnn_deploy.planner.cost_model import build_seconds, load_costs, workload
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.cells import Cell
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle.bodies import every_node
from tests.networks import random_weights, specs
from tests.nightly import NIGHTLY

REPOSITORY = Path(drnn_deploy.__file__).resolve().parents[1]
RESULT: dict[str, Any] = json.loads((REPOSITORY / "benchmarks" / "results" / "costs.json").read_text(encoding="utf-8"))
OPERATORS = {"RNN", "GRU", "LSTM"}


def network(cell: Cell, layers: int = 9, hidden: int = 20) -> ModelSpec:
    dilations = tuple(2 ** (layer + (layers == 10)) for layer in range(layers))
    return ModelSpec(cell, (hidden,) * layers, dilations, Continuous(1), Head("last", 10))


@st.composite
def requests(draw: st.DrawFn) -> GraphRequest:
    emission = draw(st.sampled_from(["fused", "mixed", "unrolled", "blocked"]))
    form = "sequence" if emission == "blocked" else draw(st.sampled_from(["sequence", "chunk"]))
    ring = form == "chunk" and draw(st.booleans())
    steps, batch, block = draw(st.integers(1, 30)), draw(st.integers(1, 3)), draw(st.integers(2, 5))
    block = block if emission == "blocked" else None
    return GraphRequest(steps, batch, emission, form=form, ring=ring, block=block)  # type: ignore[arg-type]


def trips_of(graph: onnx.GraphProto, loop: onnx.NodeProto) -> int:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return int(numpy_helper.to_array(constants[loop.input[0]]))


@given(specs(), requests())
def test_counts_are_those_of_the_emitted_graph(spec: ModelSpec, request: GraphRequest) -> None:
    work = workload(spec, request)
    graph = emit(spec, random_weights(spec, 0), request).graph
    nodes = list(every_node(graph.node))
    kinds = [node.op_type for node in nodes]
    assert work.operators == sum(kind in OPERATORS for kind in kinds)
    assert work.size.nodes == len(kinds)
    ends = {"rnn": "/gates", "gru": "/zr", "lstm": "/opened"}[spec.cell]
    assert sum(work.unrolled_cells) == sum(node.name.endswith(ends) for node in nodes)
    trips = {node.name: trips_of(graph, node) for node in graph.node if node.op_type == "Loop"}
    assert (work.loops, work.trips) == (len(trips), sum(trips.values()))
    layers = request.runs(spec)
    assert work.depth == (1 if request.emission == "skewed" else sum(cells for runs in layers for cells, _ in runs))
    states = {value.name for value in graph.input if value.name.startswith("state_")}
    sizes = [
        math.prod(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in graph.input
        if value.name in states
    ]
    assert work.state_bytes == 2 * 4 * sum(sizes)


@given(specs(), st.integers(1, 20))
def test_unrolling_moves_the_arithmetic_and_adds_none(spec: ModelSpec, steps: int) -> None:
    fused, unrolled = (workload(spec, GraphRequest(steps, 1, emission)) for emission in ("fused", "unrolled"))  # type: ignore[arg-type]
    assert fused.multiply_adds == unrolled.multiply_adds
    assert fused.gate_values == unrolled.gate_values
    assert unrolled.operator_multiply_adds == unrolled.operators == 0


@pytest.mark.parametrize("cell", get_args(Cell))
def test_longer_unrolled_chunks_take_longer_to_build_and_to_run(cell: Cell) -> None:
    spec, costs = network(cell), load_costs(cell)
    works = [
        workload(spec, GraphRequest(steps, 1, "unrolled", form="chunk"))
        for steps in (8, 32, 128, *([512] if NIGHTLY else []))
    ]
    for estimate in (costs.run_microseconds, costs.build_seconds, costs.engine_bytes):
        values = [estimate(work) for work in works]
        assert values == sorted(values)
        assert values[0] > 0
    assert build_seconds(spec, GraphRequest(784, 1, "unrolled")) > 10 * build_seconds(spec, GraphRequest(784))


@pytest.mark.parametrize("cell", get_args(Cell))
@pytest.mark.parametrize(("kind", "name"), [("run", "run_error"), ("build", "build_error")])
def test_committed_measurements_are_near_their_estimates(cell: Cell, kind: str, name: str) -> None:
    rows = [row for row in RESULT["rows"] if (row["cell"], row["kind"]) == (cell, kind)]
    costs = load_costs(cell)
    estimates = []
    taken = rows if NIGHTLY else rows[::8]
    for row in taken:
        request = request_of(row)
        work = workload(network(cell, row["layers"], row["hidden"]), request)
        assert work.size.nodes == row["nodes"]
        estimates.append(costs.run_microseconds(work) if kind == "run" else costs.build_seconds(work))
    np.testing.assert_allclose(estimates, [row["estimated"] for row in taken], rtol=1e-3, atol=1e-3)
    factors = np.exp([abs(math.log(row["estimated"] / row["measured"])) for row in rows])
    assert len(rows) > 50
    assert np.quantile(factors, 0.9) <= 1.1 * getattr(costs, name) < 2  # which is of rows that a fit had not seen


def test_page_is_what_the_results_say() -> None:
    from benchmarks.cost_tables import page

    assert (REPOSITORY / "docs" / "costs.md").read_text(encoding="utf-8") == page()

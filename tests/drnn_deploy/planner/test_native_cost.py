"""The counts that estimates of the compiled kernel are made of, and its coefficients beside the measurements."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import drnn_deploy
from drnn_deploy.planner.cost_model import workload
from drnn_deploy.planner.native_cost import NATIVE_FEATURES, native_costs, native_features, native_microseconds
from drnn_export.emitter.request import GraphRequest
from drnn_models.cells import Cell
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from tests.networks import specs

REPOSITORY = Path(drnn_deploy.__file__).resolve().parents[1]
RESULT: dict[str, Any] = json.loads(
    (REPOSITORY / "benchmarks" / "results" / "native-costs.json").read_text(encoding="utf-8")
)
ALONE, ALONE_PRODUCTS, PRODUCTS = map(NATIVE_FEATURES.index, ("rows alone", "products alone", "products together"))
requests = st.builds(
    lambda steps, batch, form: GraphRequest(steps if form != "step" else 1, batch, form=form),
    st.integers(1, 40),
    st.sampled_from([None, 1, 3, 8]),
    st.sampled_from(["sequence", "chunk", "step"]),
)


def network(cell: Cell, layers: int, hidden: int, inputs: int) -> ModelSpec:
    dilations = tuple(2 ** (layer + (layers == 10)) for layer in range(layers))
    return ModelSpec(cell, (hidden,) * layers, dilations, Continuous(inputs), Head("last", 10))


@pytest.mark.parametrize("cell", get_args(Cell))
def test_committed_measurements_are_near_their_estimates(cell: Cell) -> None:
    rows = [row for row in RESULT["rows"] if row["cell"] == cell]
    estimates = [
        native_microseconds(
            network(cell, row["layers"], row["hidden"], row["inputs"]),
            GraphRequest(row["steps"], row["batch"], form=row["form"]),
        )
        for row in rows
    ]
    np.testing.assert_allclose(estimates, [row["estimated"] for row in rows], rtol=1e-3, atol=1e-3)
    factors = np.exp(np.abs(np.log(np.array(estimates) / [row["measured"] for row in rows])))
    assert len(rows) > 100
    assert np.quantile(factors, 0.9) <= 1.1 * native_costs(cell)["run_error"] < 1.5
    assert {row["form"] for row in rows} == {"sequence", "chunk", "step"}


def test_a_vocabulary_makes_no_row_wider() -> None:
    """One-hot symbols are read as numbers, so that as many sequences run together as of one feature."""
    one, many = (
        native_features(ModelSpec("rnn", (8,), (1,), Tokens(size), Head("last", 1)), GraphRequest(64, 7))
        for size in (2, 4096)
    )
    assert np.array_equal(one, many)


@given(specs(), requests)
def test_how_a_graph_is_written_makes_no_difference(spec: ModelSpec, request: GraphRequest) -> None:
    cost = native_microseconds(spec, request)
    assert cost > 0
    other = {"prune": False} if request.form == "sequence" else {"ring": True}
    emission = "fused" if request.batch is None else "unrolled"
    assert native_microseconds(spec, dataclasses.replace(request, emission=emission, **other)) == cost  # type: ignore[arg-type]


@given(specs(), requests)
def test_more_steps_and_sequences_never_mean_less_work(spec: ModelSpec, request: GraphRequest) -> None:
    products = native_features(spec, request)[[ALONE_PRODUCTS, PRODUCTS]].sum()
    for more in ({"steps": request.steps + 7, "form": request.form.replace("step", "chunk")}, {"batch": 9}):
        longer = dataclasses.replace(request, **more)
        assert native_features(spec, longer)[[ALONE_PRODUCTS, PRODUCTS]].sum() >= products


@given(
    st.sampled_from(get_args(Cell)),
    st.lists(st.sampled_from([8, 16]), min_size=1, max_size=3),
    st.integers(1, 300),
    st.sampled_from([1, 5, 300]),
    st.data(),
)
def test_products_are_those_of_the_graph(
    cell: Cell, hidden: list[int], steps: int, batch: int, data: st.DataObject
) -> None:
    dilations = tuple(data.draw(st.sampled_from([1, 2, 5, 64, 400])) for _ in hidden)
    spec = ModelSpec(cell, tuple(hidden), dilations, Continuous(3), Head("sequence", 8))
    request = GraphRequest(steps, batch, form="chunk")
    counted = native_features(spec, request)[[ALONE_PRODUCTS, PRODUCTS]].sum()
    assert counted == workload(spec, request).multiply_adds


@given(st.integers(1, 600), st.sampled_from([1, 2, 3, 5, 6, 7, 16, 64]), st.sampled_from([1, 3, 40, 300]))
def test_rows_alone_are_those_of_the_kernel(steps: int, dilation: int, batch: int) -> None:
    spec = ModelSpec("gru", (8,), (dilation,), Continuous(1), Head("sequence", 1))
    alone, together = 0, max(1, 256 // batch)
    for first in range(0, steps, together):  # as `drnn.h` goes through a stream
        rows = min(together, steps - first) * batch
        for start in range(0, rows, 32):
            left = min(32, rows - start)
            while left:
                some = min(left, dilation * batch)
                alone += some % 4
                left -= some
    assert native_features(spec, GraphRequest(steps, batch, form="chunk"))[ALONE] == alone


def test_one_hot_tokens_cost_no_product() -> None:
    request = GraphRequest(50, 1, form="chunk")
    of_tokens, of_numbers = (
        native_microseconds(ModelSpec("gru", (8,), (1,), given, Head("last", 2)), request)
        for given in (Tokens(4096), Continuous(4096))
    )
    assert of_tokens < of_numbers / 10

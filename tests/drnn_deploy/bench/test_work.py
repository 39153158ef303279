"""The limit's counts against independent ones."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_deploy.bench.work import work_of
from drnn_deploy.planner.cost_model import workload
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens

SPEC = ModelSpec("gru", (4, 5, 6), (1, 2, 4), Continuous(3), Head("last", 2))


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.integers(1, 24),
    st.sampled_from(["last", "sequence"]),
)
def test_chain_is_the_longest_path_of_the_equation(dilations: list[int], steps: int, head: str) -> None:
    spec = ModelSpec("rnn", (2,) * len(dilations), tuple(dilations), Continuous(1), Head(head, 1), fusion=False)  # type: ignore[arg-type]

    @functools.cache
    def path(layer: int, step: int) -> int:
        """Cells up to this one: h(l, t) waits for h(l, t - d) and h(l - 1, t)."""
        if layer < 0 or step < 0:
            return 0
        return 1 + max(path(layer - 1, step), path(layer, step - dilations[layer]))

    assert work_of(spec, "sequence", steps, 1).chain == path(len(dilations) - 1, steps - 1)
    assert work_of(spec, "chunk", steps, 1).chain == path(len(dilations) - 1, steps - 1)


@pytest.mark.parametrize("form", ["sequence", "chunk"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("batch", [1, 5])
def test_arithmetic_is_that_of_the_graph_where_nothing_is_padded(cell: str, form: str, batch: int) -> None:
    spec = ModelSpec(cell, (4, 5, 6), (1, 2, 4), Continuous(3), Head("last", 2))  # type: ignore[arg-type]
    planned = workload(spec, GraphRequest(32, batch, "fused", form=form))  # type: ignore[arg-type]
    found = work_of(spec, form, 32, batch)  # type: ignore[arg-type]
    assert found.operations == 2 * planned.multiply_adds
    assert (found.cells, found.layer_chain) == (planned.evaluations, planned.depth)


@given(st.integers(1, 64), st.integers(1, 9))
def test_arithmetic_grows_with_the_batch_and_bytes_by_more_than_weights(steps: int, batch: int) -> None:
    one, more = (work_of(SPEC, "chunk", steps, size) for size in (1, batch))
    assert more.operations == batch * one.operations
    weights = 4 * sum(int(np.prod(shape)) for shape in SPEC.weight_shapes().values())
    assert more.bytes - weights == batch * (one.bytes - weights)
    assert (more.chain, more.cells) == (one.chain, one.cells)


def test_one_hot_vectors_are_not_multiplied() -> None:
    def spec(source: Continuous | Tokens) -> ModelSpec:
        return ModelSpec("rnn", (8,), (1,), source, Head("last", 1))

    wide = work_of(spec(Continuous(50)), "sequence", 10, 1).operations
    looked_up = work_of(spec(Tokens(50)), "sequence", 10, 1).operations
    assert wide - looked_up == 2 * 10 * 8 * 50

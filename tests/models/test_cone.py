from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_models.cone import as_slice, plan_cone
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import specs

lengths = st.integers(1, 60)


def reachable(spec: ModelSpec, length: int) -> list[set[int]]:
    """The steps of each layer that the outputs depend on, by following the equation edge by edge."""
    first = length - spec.head.output_steps(length) - spec.window + 1
    needed = [set[int]() for _ in range(spec.layers)]
    todo = [(spec.layers - 1, t) for t in range(max(first, 0), length)]
    while todo:
        layer, t = todo.pop()
        if layer < 0 or t < 0 or t in needed[layer]:
            continue
        needed[layer].add(t)
        todo += [(layer, t - spec.dilations[layer]), (layer - 1, t)]
    return needed


def computed(spec: ModelSpec, length: int, *, prune: bool) -> list[list[int]]:
    """The steps of each layer that the plan computes."""
    steps, below = [], np.arange(length)
    for layer in plan_cone(spec, length, prune=prune).layers:
        below = below if layer.select is None else below[layer.select]
        assert len(below) == layer.steps
        steps.append(below.tolist())
    return steps


@given(specs(), lengths)
def test_every_reachable_step_is_computed(spec: ModelSpec, length: int) -> None:
    for needed, steps in zip(reachable(spec, length), computed(spec, length, prune=True), strict=True):
        assert needed <= set(steps)


@given(specs(), lengths)
def test_nothing_else_is_computed_where_dilations_nest(spec: ModelSpec, length: int) -> None:
    if all(above % below == 0 for below, above in zip(spec.dilations, spec.dilations[1:], strict=False)):
        for needed, steps in zip(reachable(spec, length), computed(spec, length, prune=True), strict=True):
            assert needed == set(steps)


@given(specs(), lengths)
def test_computed_steps_are_a_dilated_layer_of_the_folded_dilation(spec: ModelSpec, length: int) -> None:
    """Among the computed steps, `fold` places back is exactly `dilation` steps back."""
    plan = plan_cone(spec, length)
    for layer, dilation, steps in zip(plan.layers, spec.dilations, computed(spec, length, prune=True), strict=True):
        assert all(now - before == dilation for before, now in zip(steps, steps[layer.fold :], strict=False))
        assert all(t < dilation for t in steps[: layer.fold])


@given(specs(), lengths)
def test_without_pruning_every_step_is_computed(spec: ModelSpec, length: int) -> None:
    assert computed(spec, length, prune=False) == [list(range(length))] * spec.layers


@given(st.sets(st.integers(0, 40), min_size=1))
def test_as_slice_selects_the_same_or_nothing(chosen: set[int]) -> None:
    indices = np.array(sorted(chosen))
    found = as_slice(indices)
    even = len(set(np.diff(indices).tolist())) <= 1
    assert (found is not None) == even
    if found is not None:
        assert np.arange(41)[found].tolist() == indices.tolist()


def test_length_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plan_cone(ModelSpec("rnn", (2,), (1,), Continuous(1), Head("last", 1)), 0)

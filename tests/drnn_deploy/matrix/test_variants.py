"""Which graphs a matrix has: of any network, of a selection, and of a bundle."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy.matrix.options import MatrixOptions, select
from drnn_deploy.matrix.variants import FORMS, Selection, other_lengths, plan_graphs
from drnn_export.emitter.emit import NODE_BUDGET, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from tests.networks import random_weights, specs


@settings(max_examples=15)
@given(specs(), st.integers(1, 30))
def test_any_network_gets_every_form_and_several_lengths_batches_and_chunks(spec: ModelSpec, length: int) -> None:
    sets, notes = plan_graphs(Checkpoint(spec, random_weights(spec, 0), {"length": length}), Selection())
    requests = [request for graphs in sets for request in graphs.requests]
    assert {(r.form, r.emission) for r in sets[0].requests} == {(f, e) for f, all_ in FORMS.items() for e in all_}
    assert {r.batch for r in requests} >= {1, 5}
    assert {r.steps for r in requests if r.form == "chunk"} == {32, 7}
    assert {r.steps for r in requests if r.form == "sequence"} == {length, *other_lengths(spec, length)}
    assert {r.prune for r in requests if r.form == "sequence"} == {True, False}
    names = [(g.label, r.form, r.steps, r.emission, r.precision) for g in sets for r in g.requests]
    assert (len(set(names)), notes) == (len(names), [])
    for graphs in sets:
        assert len({(r.form, r.steps, r.emission, r.precision) for r in graphs.requests}) == len(graphs.requests)
        assert len({r.steps for r in graphs.requests if r.form == "sequence"}) <= 1


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 200))
def test_lengths_are_divided_by_the_largest_dilation_and_not_and_shorter(dilations: list[int], length: int) -> None:
    spec = ModelSpec("gru", (2,) * len(dilations), tuple(dilations), Continuous(1), Head("last", 2))
    largest, found = max(dilations), {length, *other_lengths(spec, length)}
    assert max(found) <= 2 * length
    if largest <= length and largest > 2:
        assert any(each % largest == 0 for each in found)
        assert any(each < largest for each in found)
        assert any(each > largest and each % largest for each in found) or length * 2 < largest + largest // 2 + 1


@pytest.mark.parametrize("selection, expected", [
    (Selection(forms=("step",)), {("step", e, "fp32") for e in ("fused", "unrolled", "skewed")}),
    (Selection(emissions=("skewed",)), {("step", "skewed", "fp32")}),
    (Selection(forms=("sequence",), emissions=("unrolled",)), {("sequence", "unrolled", "fp32")}),
    (Selection(precisions=("bf16",)),
     {("chunk", "unrolled", "bf16"), ("step", "unrolled", "bf16"), ("step", "skewed", "bf16")}),
    (Selection(forms=("sequence",), precisions=("fp16", "int8")),
     {("sequence", "fused", "fp16"), ("sequence", "fused", "int8")}),
])  # fmt: skip
def test_selections_of_a_checkpoint(copier: Checkpoint, selection: Selection, expected: set[Any]) -> None:
    sets, _ = plan_graphs(copier, selection)
    assert {(r.form, r.emission, r.precision) for graphs in sets for r in graphs.requests} == expected


def test_what_was_asked_for_and_cannot_be_is_said(copier: Checkpoint) -> None:
    _, notes = plan_graphs(copier, Selection(precisions=("bf16", "fp32")))
    assert any("no recurrent operators of bfloat16" in note for note in notes)
    with pytest.raises(InputError, match="one product of all layers"):
        plan_graphs(copier, Selection(forms=("step",), emissions=("skewed",), precisions=("int8",)))


def test_large_graphs_that_nobody_asked_for_are_left_out() -> None:
    spec = ModelSpec("gru", (2,) * 64, (1,) * 64, Continuous(1), Head("last", 2))
    sets, _ = plan_graphs(Checkpoint(spec, random_weights(spec, 0), {"length": 40}), Selection())
    requests = [request for graphs in sets for request in graphs.requests]
    assert all(estimate(spec, request).nodes <= NODE_BUDGET for request in requests)
    assert {r.emission for r in requests if r.form == "chunk"} == {"fused", "mixed"}


def test_other_lengths_are_left_out_where_their_graphs_are_large() -> None:
    spec = ModelSpec("gru", (2,) * 40, (1,) * 39 + (64,), Continuous(1), Head("last", 2))
    network = Checkpoint(spec, random_weights(spec, 0), {"length": 40})
    assert estimate(spec, GraphRequest(40, emission="unrolled")).nodes < NODE_BUDGET
    assert estimate(spec, GraphRequest(64, emission="unrolled")).nodes > NODE_BUDGET
    sets, _ = plan_graphs(network, Selection(forms=("sequence",), emissions=("unrolled",)))
    assert {request.steps for graphs in sets for request in graphs.requests} == {40, 33}


def test_network_that_does_not_say_its_length_is_checked_on_one_that_reaches_all_layers() -> None:
    spec = ModelSpec("rnn", (3, 3), (1, 8), Continuous(1), Head("last", 2))
    sets, _ = plan_graphs(Checkpoint(spec, random_weights(spec, 0)), Selection(forms=("sequence",)))
    assert {r.steps for graphs in sets for r in graphs.requests} == {17, 8, 5}


def test_selection_of_a_bundle(several: Bundle) -> None:
    found = select(several, MatrixOptions(emissions=("fused",), precisions=("fp16", "fp32")))
    assert [graph.name for graph in found.graphs] == ["sequence/fused", "sequence/fused/fp16"]
    assert select(several, MatrixOptions()).graphs == several.graphs
    with pytest.raises(InputError, match=r"has no graph of --form chunk\n") as error:
        select(several, MatrixOptions(forms=("chunk",), precisions=("fp16",)))
    assert "sequence/operator/fp32, sequence/operator/fp16, sequence/unrolled/fp32" in error.value.fix


@pytest.mark.parametrize("named, said", [
    ({"forms": ("sequence", "step")}, "--form step"),
    ({"emissions": ("fused", "blocked", "skewed")}, "--style blocked, --style pipelined"),
    ({"precisions": ("int8", "fp16")}, "--precision int8"),
    ({"emissions": ("unrolled", "fused"), "precisions": ("fp16",)}, "--style unrolled, --precision fp16"),
])  # fmt: skip
def test_selection_that_is_there_in_part_is_refused(several: Bundle, named: dict[str, Any], said: str) -> None:
    """A report on the others alone would look as if all that was named had passed."""
    both = dataclasses.replace(several, graphs=tuple(g for g in several.graphs if g.name != "sequence/unrolled/fp16"))
    with pytest.raises(InputError, match=rf"has no graph of {said}\n"):
        select(both, MatrixOptions(**named))

"""Graphs with state from known states: right ones pass, and a change of any row of any state, in or out, fails."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions
from drnn_deploy.exporter.contents import write_bundle
from drnn_deploy.parity import seeded_states
from drnn_deploy.parity.known_answers import ComputedAnswers
from drnn_deploy.parity.seeded_states import check_states, seeded
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.graph_kind import edges, state_pairs
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.session import Arrays, Session
from tests.networks import random_weights, specs
from tests.nightly import NIGHTLY

Array = NDArray[Any]
Change = Callable[[Arrays], Arrays]
HERE = find_runtime("onnxruntime-cpu")
LAST, EVERY = Head("last", 2), Head("sequence", 3)
LINES = {  # every kind of state
    "gru": (ModelSpec("gru", (4, 3, 5), (1, 2, 4), Continuous(2), LAST), GraphRequest(3, 2, form="chunk")),
    "lstm": (ModelSpec("lstm", (4, 3), (2, 5), Tokens(7), EVERY), GraphRequest(1, 7, form="step")),
    "ring": (
        ModelSpec("lstm", (3, 4), (2, 40), Continuous(1), LAST, fusion=False),
        GraphRequest(4, 2, form="chunk", ring=True),
    ),
    "lines": (ModelSpec("lstm", (3, 4), (1, 12), Continuous(1), LAST), GraphRequest(4, 1, form="chunk")),
    "window": (ModelSpec("rnn", (3, 4), (3, 6), Continuous(1), EVERY), GraphRequest(5, 2, form="chunk")),
    "skewed": (
        ModelSpec("lstm", (3, 4, 2), (1, 2, 4), Continuous(1), EVERY),
        GraphRequest(1, 2, "skewed", form="step"),
    ),
    "window skewed": (
        ModelSpec("gru", (3, 4), (2, 4), Continuous(1), LAST),
        GraphRequest(1, 2, "skewed", form="step"),
    ),
}


class Changed:
    """A session whose inputs or outputs are changed."""

    def __init__(self, session: Session, before: Change = dict, after: Change = dict) -> None:
        self._session, self._before, self._after = session, before, after

    def run(self, inputs: Mapping[str, Array]) -> Arrays:
        return self._after(self._session.run(self._before({name: x.copy() for name, x in inputs.items()})))

    def bind(self, *_: object) -> Callable[[], None]:
        raise NotImplementedError


def bundle_of(spec: ModelSpec, request: GraphRequest, folder: Path) -> Bundle:
    network = Checkpoint(spec, random_weights(spec, 3))
    answers = ComputedAnswers(spec, network.weights, [request], cache=folder / "cache")
    options = ExportOptions(profile=(1, 3, 6))
    return write_bundle(network, folder / "bundle", [request], answers.cases(request)[:1], options)


def scaled_row(name: str, row: int) -> Change:
    """One row of one state a thousandth larger."""

    def change(arrays: Arrays) -> Arrays:
        arrays[name] = arrays[name].copy()
        arrays[name][:, row] *= np.float32(1.001)
        return arrays

    return change


@settings(max_examples=100 if NIGHTLY else 8)
@given(
    specs(),
    st.integers(1, 9),
    st.sampled_from([1, 2, None]),
    st.booleans(),
    st.sampled_from(["fused", "unrolled", "mixed", "skewed"]),
    st.sampled_from(["fp32", "fp16", "int8"]),
)
def test_right_graphs_pass(
    tmp_path_factory: pytest.TempPathFactory,
    spec: ModelSpec,
    steps: int,
    batch: int | None,
    ring: bool,
    emission: Any,
    precision: Any,
) -> None:
    form: Any = "chunk"
    if emission == "skewed":
        form, steps, ring = "step", 1, False
    try:
        request = GraphRequest(steps, batch, emission, form=form, ring=ring, precision=precision)
    except InputError:  # there is no such graph
        reject()
    bundle = bundle_of(spec, request, tmp_path_factory.mktemp("right"))
    (graph,) = bundle.graphs
    assume(not HERE.unsupported(bundle, graph))
    with HERE.load(bundle, graph) as session:
        result = check_states(session, graph, seeded(spec, bundle.weights, graph))
    assert result.passed, result


@pytest.mark.parametrize("kind", LINES)
def test_every_row_of_every_state_counts(kind: str, tmp_path: Path) -> None:
    bundle = bundle_of(*LINES[kind], tmp_path)
    (graph,) = bundle.graphs
    known = seeded(bundle.spec, bundle.weights, graph)
    rows = {tensor.name: tensor.shape[1] for tensor in (*graph.inputs, *graph.outputs)}
    names = [name for pair in graph.states for name in pair]
    with HERE.load(bundle, graph) as session:
        assert check_states(session, graph, known).passed
        for name, row in ((state, row) for state in names for row in range(rows[state])):
            if (name, row) == ("state_started", bundle.spec.layers - 1):
                continue  # there is no layer above it to reach
            change = {"after" if name.startswith("next") else "before": scaled_row(name, row)}
            result = check_states(Changed(session, **change), graph, known)  # type: ignore[arg-type]
            assert not result.passed, (name, row)


@pytest.mark.parametrize("kind", LINES)
def test_no_state_can_be_lost_held_or_mixed_up(kind: str, tmp_path: Path) -> None:
    bundle = bundle_of(*LINES[kind], tmp_path)
    (graph,) = bundle.graphs
    known = seeded(bundle.spec, bundle.weights, graph)

    changes: list[dict[str, Change]] = []
    for before, after in graph.states:
        changes += [
            {"before": lambda inputs, name=before: {**inputs, name: 0 * inputs[name]}},  # type: ignore[misc]
            {"after": lambda outputs, name=after: {**outputs, name: 0 * outputs[name]}},  # type: ignore[misc]
            {"after": lambda outputs, name=after: {**outputs, name: outputs[name][:, :-1]}},  # type: ignore[misc]
        ]
        right = known.right[after]
        others = [right[:, ::-1], known.feed[before], *(known.right[other] for _, other in graph.states)]
        changes += [
            {"after": lambda outputs, name=after, held=other: {**outputs, name: held[: len(outputs[name])]}}  # type: ignore[misc]
            for other in others
            if other.shape == right.shape and not np.array_equal(other, right)
        ]
    with HERE.load(bundle, graph) as session:
        for number, change in enumerate(changes):
            result = check_states(Changed(session, **change), graph, known)  # type: ignore[arg-type]
            assert not result.passed, number


@pytest.mark.parametrize("batch", [7, None])
def test_states_of_two_rows_of_a_batch_cannot_be_swapped(batch: int | None, tmp_path: Path) -> None:
    spec = ModelSpec("gru", (4, 3), (1, 3), Continuous(2), LAST)
    bundle = bundle_of(spec, GraphRequest(2, batch, form="chunk"), tmp_path)
    (graph,) = bundle.graphs
    known = seeded(spec, bundle.weights, graph)
    largest = batch or 6
    with HERE.load(bundle, graph) as session:
        for one, other in itertools.combinations(range(largest), 2):

            def swapped(outputs: Arrays, one: int = one, other: int = other) -> Arrays:
                rows = np.arange(len(outputs["output"]))
                if len(rows) > other:
                    rows[[one, other]] = other, one
                return {name: value[rows] if name == "next_state_l1_h" else value for name, value in outputs.items()}

            assert not check_states(Changed(session, after=swapped), graph, known).passed, (one, other)


def test_long_delay_lines_cost_no_long_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dilation of a hundred thousand is as quick as the chunk."""
    seen = []
    right = seeded_states.run_reference

    def counted(spec: ModelSpec, *words: Any, **options: Any) -> Any:
        seen.append(max(spec.dilations))
        return right(spec, *words, **options)

    monkeypatch.setattr(seeded_states, "run_reference", counted)
    spec, request = ModelSpec("gru", (2, 2), (1, 100_000), Continuous(1), LAST), GraphRequest(4, 1, form="chunk")
    inputs, outputs = edges(spec, request)
    states = state_pairs(spec, request)
    graph = GraphInfo("model.onnx", "chunk", "fused", False, 4, 1, "fp32", 13, 1, inputs, outputs, states)
    known = seeded(spec, random_weights(spec, 0), graph)
    assert seen == [4]
    np.testing.assert_array_equal(known.right["next_state_l1_h"][:, :-4], known.feed["state_l1_h"][:, 4:])

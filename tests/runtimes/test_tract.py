"""What tract refuses: a rule that refuses is a graph that fails, and a graph without one is computed right."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.worker_process import Child
from drnn_deploy.parity.check import check_parity
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes import tract
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.tract import TractRuntime
from tests.nightly import NIGHTLY
from tests.runtimes.bundle.graphs import Edit, behind, constant
from tests.runtimes.graphs_of_a_network import Graph, networks, requests, write_graph
from tests.test_old_files import FOLDERS

pytest.importorskip("tract")
pytestmark = pytest.mark.optional_runtimes("tract")
GRU = ModelSpec("gru", (4,), (1,), Continuous(1), Head("sequence", 2))
RELU = ModelSpec("rnn", (6, 5), (1, 2), Continuous(2), Head("sequence", 3), activation="relu")
TANH = ModelSpec("rnn", (6, 5), (1, 2), Continuous(2), Head("sequence", 3))


@pytest.fixture(autouse=True, scope="module")
def one_child() -> Iterator[None]:
    """Trial runs share a process, as long as they do not end it."""
    children = [Child(tract.__name__)]

    def ask(module: str, request: Any, seconds: float) -> Any:
        if children[-1].ended:
            children.append(Child(module))
        return children[-1].ask(request, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tract, "ask", ask)
        yield
        for child in children:
            child.close()


def fails(graph: Graph) -> bool:
    """Whatever the rules say."""
    runtime = TractRuntime()
    return bool(runtime._rehearse(graph.bundle.path("model.onnx"), graph.info, graph.bundle.spec)) or not graph.passes(
        graph.outputs(runtime)
    )


@given(spec=networks(), request=requests(), seed=st.integers(0, 2**31))
@settings(max_examples=500 if NIGHTLY else 20)
def test_what_is_refused_fails_and_all_else_passes(spec: ModelSpec, request: GraphRequest, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            graph = write_graph(Path(folder), spec, request, seed)
        except InputError:
            reject()
        if not TractRuntime().unsupported(graph.bundle, graph.info):
            assert graph.passes(graph.outputs(TractRuntime()))
        elif spec.activation == "tanh":  # a small tanh may be what a relu is
            assert fails(graph)


@pytest.mark.parametrize(("spec", "request_", "reason"), [
    (RELU, GraphRequest(6), "every RNN operator with tanh"),
    (RELU, GraphRequest(6, None, form="chunk"), "every RNN operator with tanh"),
    (RELU, GraphRequest(6, emission="unrolled"), ""),
    (TANH, GraphRequest(6), ""),
    (TANH, GraphRequest(6, None), "only where the graph says how many"),
    (TANH, GraphRequest(6, None, form="chunk"), ""),
    (TANH, GraphRequest(6, emission="unrolled", precision="bf16"), "no bfloat16"),
    (TANH, GraphRequest(8, emission="blocked", block=2), "no Loop operator"),
    (TANH, GraphRequest(6, precision="fp16"), "begins the RNN operator of a float16 graph with float32 zeros"),
    (TANH, GraphRequest(6, precision="fp16", form="chunk"), ""),
    (GRU, GraphRequest(4), "GRU operator on one feature"),
    (GRU, GraphRequest(3), ""),
    (GRU, GraphRequest(4, precision="fp16", form="chunk"), "GRU operator in float16"),
    (GRU, GraphRequest(3, precision="fp16", form="chunk"), ""),
    (ModelSpec("gru", (4,), (1,), Continuous(1), Head("sequence", 2), reset="before"), GraphRequest(4), ""),
    (ModelSpec("gru", (4,), (1,), Continuous(2), Head("sequence", 2)), GraphRequest(4), ""),
    (ModelSpec("lstm", (4,), (1,), Continuous(1), Head("sequence", 2)), GraphRequest(4, precision="int8"), ""),
])  # fmt: skip
def test_each_rule_on_both_sides(spec: ModelSpec, request_: GraphRequest, reason: str, tmp_path: Path) -> None:
    graph = write_graph(tmp_path, spec, request_)
    said = TractRuntime().unsupported(graph.bundle, graph.info)
    assert bool(said) == bool(reason)
    assert reason in said
    assert fails(graph) == bool(reason)


def test_evenly_spaced_steps_are_written_so_that_tract_loads_them(tmp_path: Path) -> None:
    spec = ModelSpec("lstm", (4,) * 4, (1, 2, 4, 8), Continuous(1), Head("last", 2))
    graph = write_graph(tmp_path, spec, GraphRequest(64))
    assert not fails(graph)


def index_beyond_a_table(model: onnx.ModelProto) -> None:
    constant(model, "table", np.zeros(2, np.float32))
    constant(model, "place", np.array([7]))
    gather = onnx.helper.make_node("Gather", ["table", "place"], ["taken"])
    behind(model, gather, onnx.helper.make_node("Add", ["raw", "taken"], ["output"]))


def table_without_the_last_token(model: onnx.ModelProto) -> None:
    (table,) = (tensor for tensor in model.graph.initializer if tensor.name == "embedding/table")
    table.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(table)[:-1], table.name))


def numbers_as_places(model: onnx.ModelProto) -> None:
    """Which zeros do not show."""
    constant(model, "table", np.zeros(2, np.float32))
    cast = onnx.helper.make_node("Cast", ["raw"], ["place"], to=onnx.TensorProto.INT64)
    behind(model, cast, onnx.helper.make_node("Gather", ["table", "place"], ["output"]))


def a_divisor(model: onnx.ModelProto) -> None:
    constant(model, "one", np.ones(1, np.float32))
    behind(model, onnx.helper.make_node("Div", ["one", "raw"], ["output"]))


@pytest.mark.parametrize(("edit", "said"), [
    (index_beyond_a_table, "tract ended the process in which it was tried: killed by SIGABRT"),
    (table_without_the_last_token, "tract ended the process in which it was tried: killed by SIGABRT"),
    (numbers_as_places, "tract might end the process at a Gather of computed places"),
    (a_divisor, "tract might end the process at a Div, which no graph of this package holds"),
])  # fmt: skip
def test_what_could_end_the_process_ends_another_one_or_is_refused_unseen(
    edit: Edit, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = dataclasses.replace(TANH, input=Tokens(5, 2))
    graph = write_graph(tmp_path, spec, GraphRequest(3))
    model = onnx.load(tmp_path / "model.onnx")
    edit(model)
    onnx.save(model, tmp_path / "model.onnx")
    runtime = TractRuntime()
    assert runtime.unsupported(graph.bundle, graph.info) == said
    monkeypatch.setattr(tract, "ask", lambda *_: pytest.fail("it was tried again"))
    with pytest.raises(RuntimeUnavailableError, match=said), runtime.load(graph.bundle, graph.info):
        pass


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_graphs_of_older_bundles_are_computed_right_or_refused(folder: Path) -> None:
    report = check_parity(Bundle.open(folder / "bundle"), [TractRuntime()], required=True)
    assert report.passed, report

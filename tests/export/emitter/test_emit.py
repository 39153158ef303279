from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from drnn_core.errors import InputError
from drnn_core.types import Emission
from drnn_export.emitter.cells import cell_nodes
from drnn_export.emitter.emit import emit, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_models.cone import plan_cone
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle.bodies import count_nodes
from tests.networks import Case, cases, make_case, random_weights

PIXEL = ModelSpec("gru", (20,) * 9, tuple(2**i for i in range(9)), Continuous(1), Head("last", 10))


EMISSIONS = st.one_of(  # with the steps of a block
    st.tuples(st.sampled_from(["fused", "unrolled", "mixed"]), st.none()),
    st.tuples(st.just("blocked"), st.integers(2, 6)),
)


def graph_of(
    case: Case, *, emission: str = "fused", prune: bool = True, dynamic: bool = False, block: int | None = None
) -> onnx.ModelProto:
    batch = None if dynamic else len(case.inputs)
    request = GraphRequest(case.length, batch, emission, prune, block=block)  # type: ignore[arg-type]
    return emit(case.spec, case.weights, request)


def run(model: onnx.ModelProto, inputs: NDArray[np.generic]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: NDArray[np.float32] = session.run(["output"], {"input": inputs})[0]
    return outputs


@given(cases(), st.booleans(), st.booleans())
def test_fused_graph_computes_the_equation(case: Case, prune: bool, dynamic: bool) -> None:
    case.assert_within_noise(run(graph_of(case, prune=prune, dynamic=dynamic), case.inputs))


@given(cases(), st.sampled_from(["unrolled", "mixed"]), st.booleans())
def test_unrolled_and_mixed_graphs_compute_the_equation(case: Case, emission: str, prune: bool) -> None:
    case.assert_within_noise(run(graph_of(case, emission=emission, prune=prune), case.inputs))


@given(cases(), st.integers(2, 6), st.booleans())
def test_blocked_graph_computes_the_equation(case: Case, block: int, prune: bool) -> None:
    case.assert_within_noise(run(graph_of(case, emission="blocked", prune=prune, block=block), case.inputs))


@given(st.integers(1, 2000), st.integers(2, 200))
def test_blocks_are_at_least_half_full_and_leave_less_than_a_block_over(cells: int, block: int) -> None:
    trips, length = GraphRequest(4, 1, "blocked", block=block).blocks(cells)
    if trips == 1:
        assert length == cells < 2 * block
    else:
        assert block / 2 < length <= block
        assert 0 <= cells - trips * length < length


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_blocked_graph_has_a_loop_for_long_layers_and_all_steps_of_short_ones(cell: str) -> None:
    spec = dataclasses.replace(PIXEL, cell=cell)  # type: ignore[arg-type]
    case = make_case(spec, 1, 784)
    model = graph_of(case, emission="blocked", block=32)
    loops = [node.name for node in model.graph.node if node.op_type == "Loop"]
    assert loops == [f"l{layer}/block" for layer in range(5)]  # of 784, 392, 196, 98 and 49 steps
    assert {f"l5/t{step:03d}/h" for step in range(25)} <= {node.name for node in model.graph.node}
    assert count_nodes(model) < estimate(spec, GraphRequest(784, 1, "unrolled")).nodes / 6
    case.assert_within_noise(run(model, case.inputs))


@pytest.mark.parametrize(("cell", "most"), [("rnn", 12), ("gru", 2), ("lstm", 2)])
def test_mixed_graph_has_operators_for_long_layers_and_nodes_for_short_ones(cell: str, most: int) -> None:
    spec = dataclasses.replace(PIXEL, cell=cell)  # type: ignore[arg-type]
    graph = graph_of(make_case(spec, 1, 784), emission="mixed").graph
    cells = [layer.cells for layer in plan_cone(spec, 784).layers]
    fused = {node.name.split("/")[0] for node in graph.node if node.op_type == cell.upper()}
    unrolled = {node.name.split("/")[0] for node in graph.node if node.name.endswith("/t000/h")}
    assert fused == {f"l{layer}" for layer, count in enumerate(cells) if count > most}
    assert unrolled == {f"l{layer}" for layer, count in enumerate(cells) if count <= most}


@given(cases(), st.sampled_from([("unrolled", None), ("blocked", 2), ("blocked", 3)]), st.booleans())
def test_onnx_reference_evaluator_agrees_on_unrolled_graphs(
    case: Case, emission: tuple[str, int | None], prune: bool
) -> None:
    evaluator = ReferenceEvaluator(graph_of(case, emission=emission[0], block=emission[1], prune=prune))
    case.assert_within_noise(evaluator.run(None, {"input": case.inputs})[0])


# onnx's evaluator knows no Relu in its RNN operator.
@given(cases().filter(lambda case: case.spec.activation == "tanh"), st.booleans())
def test_onnx_reference_evaluator_agrees_on_fused_graphs(case: Case, prune: bool) -> None:
    evaluator = ReferenceEvaluator(graph_of(case, prune=prune))
    case.assert_within_noise(evaluator.run(None, {"input": case.inputs})[0])


@given(cases(), EMISSIONS, st.booleans())
def test_estimate_counts_the_nodes_that_are_emitted(case: Case, emission: tuple[str, int], prune: bool) -> None:
    model = graph_of(case, emission=emission[0], prune=prune, block=emission[1])
    request = GraphRequest(case.length, len(case.inputs), emission[0], prune, block=emission[1])  # type: ignore[arg-type]
    assert estimate(case.spec, request).nodes == count_nodes(model)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("emission", ["fused", "unrolled"])
def test_estimate_of_file_size_is_within_a_quarter(cell: str, emission: str) -> None:
    spec = ModelSpec(cell, (20,) * 6, (1, 2, 4, 8, 16, 32), Continuous(1), Head("last", 10))  # type: ignore[arg-type]
    request = GraphRequest(64, 1, emission)  # type: ignore[arg-type]
    size = len(emit(spec, random_weights(spec, 0), request).SerializeToString())
    assert estimate(spec, request).file_bytes == pytest.approx(size, rel=0.25)


@given(cases(), EMISSIONS, st.booleans())
def test_every_edge_has_a_type_and_a_static_shape(case: Case, emission: tuple[str, int], prune: bool) -> None:
    model = graph_of(case, emission=emission[0], prune=prune, block=emission[1])
    onnx.checker.check_model(model, full_check=True)
    known = {value.name: value.type.tensor_type for value in [*model.graph.value_info, *model.graph.output]}
    for output in (name for node in model.graph.node for name in node.output if name):
        assert known[output].elem_type
        assert all(dim.HasField("dim_value") for dim in known[output].shape.dim), output


@given(cases())
def test_only_the_batch_axis_is_free_in_a_dynamic_graph(case: Case) -> None:
    model = graph_of(case, dynamic=True)
    assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim][:2] == ["batch", ""]
    for count in (1, 2, 5):
        inputs = np.concatenate([case.inputs] * count)
        Case(case.spec, case.weights, inputs).assert_within_noise(run(model, inputs))


@given(cases(), EMISSIONS)
def test_same_network_gives_same_bytes(case: Case, emission: tuple[str, int]) -> None:
    first, second = (
        graph_of(case, emission=emission[0], block=emission[1]).SerializeToString(deterministic=True) for _ in range(2)
    )
    assert first == second


def test_nodes_are_named_after_layer_and_step() -> None:
    names = {node.name for node in graph_of(make_case(PIXEL, 1, 784), emission="unrolled").graph.node}
    assert {"l0/t017/gates", "l3/t017/gates", "l8/t000/h", "head/linear"} <= names


def test_opset_and_ir_version_are_old_enough_for_every_supported_reader() -> None:
    model = graph_of(make_case(PIXEL, 1, 784))
    assert (model.opset_import[0].version, model.ir_version) == (13, 7)


def test_metadata_holds_the_spec() -> None:
    model = graph_of(make_case(PIXEL, 1, 16))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["drnn.format"] == "drnn-deploy-graph/1"
    assert ModelSpec.from_json(json.loads(metadata["drnn.spec"])) == PIXEL


def test_pruning_leaves_one_row_per_layer_in_the_paper_network() -> None:
    plan = plan_cone(PIXEL, 784)
    assert [layer.fold for layer in plan.layers] == [1] * 9
    assert plan.evaluations == sum(784 // 2**i + bool(784 % 2**i) for i in range(9))


def test_unrolling_over_the_budget_is_refused_with_the_figure() -> None:
    with pytest.raises(InputError, match=r"24,\d{3} nodes") as refusal:
        emit(PIXEL, random_weights(PIXEL, 0), GraphRequest(1200, 1, "unrolled"))
    assert "--style operator" in refusal.value.fix


def test_blocks_as_long_as_the_sequence_are_held_to_the_budget_of_unrolled_steps() -> None:
    with pytest.raises(InputError, match=r"24,\d{3} nodes") as refusal:
        emit(PIXEL, random_weights(PIXEL, 0), GraphRequest(1200, 1, "blocked", block=1200))
    assert "Use a smaller --block, --style operator, a smaller --length, or --node-budget 24" in refusal.value.fix
    emit(PIXEL, random_weights(PIXEL, 0), GraphRequest(1200, 1, "blocked", block=16))


@pytest.mark.parametrize("emission", ["unrolled", "blocked"])
def test_what_is_far_beyond_the_budget_is_never_made(emission: Emission, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest may ask for any number of steps."""
    monkeypatch.setattr("drnn_export.emitter.emit._NetworkEmitter", None)
    block = 1 << 19 if emission == "blocked" else None
    with pytest.raises(InputError, match=r"take at least [\d,]+ nodes .* over the budget of 20,000") as refusal:
        emit(PIXEL, random_weights(PIXEL, 0), GraphRequest(1 << 19, 1, emission, block=block))
    assert "--node-budget" not in refusal.value.fix  # the number that would do is not known


def test_a_large_budget_of_nodes_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drnn_export.emitter.emit._COUNTABLE", 100)
    weights, request = random_weights(PIXEL, 0), GraphRequest(16, 1, "unrolled")
    with pytest.raises(InputError, match=r"at least [\d,]+ nodes"):
        emit(PIXEL, weights, request, node_budget=100)
    assert len(emit(PIXEL, weights, request, node_budget=10_000).graph.node) > 100


@given(cases(), st.sampled_from(["unrolled", "blocked"]), st.integers(2, 50), st.booleans())
def test_written_cells_are_a_lower_bound_of_the_nodes(case: Case, emission: Emission, block: int, prune: bool) -> None:
    request = GraphRequest(case.length, 1, emission, prune, block=block if emission == "blocked" else None)
    size = estimate(case.spec, request)
    assert 0 < request.written_cells(case.spec) * cell_nodes(case.spec) <= size.nodes
    if emission == "unrolled":
        assert request.written_cells(case.spec) == size.cells


@pytest.mark.parametrize(("request_", "fix"), [
    (GraphRequest(90, 1, "unrolled", form="chunk"), "Use --style operator, a smaller --chunk, or --node-budget"),
    (GraphRequest(90, 1, "unrolled"), "Use --style operator or blocked, a smaller --length, or"),
    (GraphRequest(90, 1, "unrolled", precision="bf16"), "Use --style blocked, a smaller --length, or"),
    (GraphRequest(90, 1, "unrolled", form="chunk", precision="bf16"), "Use a smaller --chunk, or"),
])  # fmt: skip
def test_advice_for_too_many_nodes_is_what_the_form_and_the_precision_have(request_: GraphRequest, fix: str) -> None:
    with pytest.raises(InputError, match="over the budget") as refusal:
        emit(PIXEL, random_weights(PIXEL, 0), request_, node_budget=100)
    assert refusal.value.fix.startswith(fix)


def test_a_dynamic_batch_of_a_precision_without_operators_needs_another_precision() -> None:
    with pytest.raises(InputError, match="precision bf16 cannot take a dynamic batch") as refusal:
        GraphRequest(16, None, "unrolled", precision="bf16")
    assert refusal.value.fix == "Ask for one fixed batch, or for precision fp16."


@pytest.mark.parametrize("emission", ["unrolled", "mixed", "blocked"])
def test_dynamic_batch_is_refused_for_unrolled_graphs(emission: Emission) -> None:
    with pytest.raises(InputError, match="dynamic batch"):
        GraphRequest(16, None, emission)


@pytest.mark.parametrize(("words", "message"), [
    ({"form": "chunk"}, "blocked is for form sequence"),
    ({"block": 1}, "2 steps or more"),
    ({"block": -4}, "2 steps or more"),
])  # fmt: skip
def test_blocks_that_make_no_sense_are_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GraphRequest(16, 1, "blocked", **words)


@pytest.mark.parametrize(
    "emission, block", [("blocked", 0), ("blocked", 1), ("blocked", -3), ("fused", 5), ("fused", 0)]
)
def test_blocks_that_there_are_not_are_refused(emission: str, block: int) -> None:
    with pytest.raises(InputError, match=f"blocks have 2 steps or more.*got {block}"):
        GraphRequest(64, 1, emission, block=block)  # type: ignore[arg-type]


def test_blocks_are_chosen_where_nobody_says_how_long() -> None:
    assert (GraphRequest(64, 1, "blocked").block, GraphRequest(64, 1, "blocked", block=5).block) == (16, 5)
    assert GraphRequest(64, 1, "fused").block is None

"""Graphs with state: a sequence fed in chunks gives what the whole gives, and leaves the state it leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from drnn_core.errors import InputError
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_export.emitter.emit import emit, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle.graph_kind import next_state_name, state_name
from tests.networks import Case, cases, make_case, random_weights

Arrays = dict[str, NDArray[np.float32]]
Run = Callable[[dict[str, NDArray[np.generic]]], Arrays]
PIXEL = ModelSpec("gru", (20,) * 9, tuple(2**i for i in range(9)), Continuous(1), Head("last", 10))


@dataclasses.dataclass(frozen=True)
class Chunked:
    """A case whose sequence is a whole number of chunks, and how to feed it."""

    case: Case
    request: GraphRequest


@st.composite
def chunked(draw: st.DrawFn, *, emissions: tuple[str, ...] = ("fused", "unrolled", "mixed")) -> Chunked:
    case = draw(cases())
    steps = draw(st.integers(1, 12))
    case = make_case(case.spec, len(case.inputs), steps * draw(st.integers(1, 4)), draw(st.integers(0, 2**31)))
    emission = draw(st.sampled_from(emissions))
    batch = draw(st.sampled_from([len(case.inputs)] + [None] * (emission == "fused")))
    form = "step" if steps == 1 else "chunk"
    return Chunked(case, GraphRequest(steps, batch, emission, form=form, ring=draw(st.booleans())))  # type: ignore[arg-type]


def on_onnxruntime(model: onnx.ModelProto) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def on_the_evaluator(model: onnx.ModelProto) -> Run:
    evaluator = ReferenceEvaluator(model)
    return lambda inputs: dict(zip(evaluator.output_names, evaluator.run(None, inputs), strict=True))


def fed(chunked: Chunked, run: Run) -> tuple[NDArray[np.float32], Arrays]:
    """The outputs of all chunks (of head `last` those of the last chunk), and the delay lines after them."""
    case, steps = chunked.case, chunked.request.steps
    lines: Arrays = {n: np.zeros(s, np.float32) for n, s in case.spec.state_shapes(len(case.inputs)).items()}
    taken = {name: shape[1] for name, shape in chunked.request.state_shapes(case.spec).items()}
    pieces = []
    for start in range(0, case.length, steps):
        states = {state_name(name): np.ascontiguousarray(line[:, : taken[name]]) for name, line in lines.items()}
        found = run({"input": case.inputs[:, start : start + steps], **states})
        pieces.append(found["output"])
        for name, line in lines.items():
            new = found[next_state_name(name)]
            assert new.shape == (len(case.inputs), taken[name], line.shape[2])
            lines[name] = np.concatenate([line[:, taken[name] :], new], axis=1)
    return (pieces[-1] if case.spec.head.kind == "last" else np.concatenate(pieces, axis=1)), lines


def assert_right(chunked: Chunked, run: Run) -> None:
    case = chunked.case
    outputs, lines = fed(chunked, run)
    reference, limit = case.reference(), case.limit()
    if case.spec.head.kind == "last_k":  # of which the last chunk has at most its own steps
        count = case.spec.head.output_steps(chunked.request.steps)
        outputs, limit = outputs[:, -count:], limit[-count:]
        reference = dataclasses.replace(reference, outputs=reference.outputs[:, -count:])
    assert outputs.shape == reference.outputs.shape
    assert np.all(np.abs(outputs - reference.outputs) <= limit)
    with torch.inference_mode():
        _, state = case.checkpoint().network().advance(torch.from_numpy(case.inputs))
    for name, line in lines.items():
        expected = reference.state[name]
        noise = max(
            np.abs(state[name].numpy() - expected).max(), np.finfo(np.float32).eps * max(1.0, np.abs(expected).max())
        )
        assert np.abs(line - expected).max() <= NOISE_MULTIPLE * noise, name


@given(chunked())
def test_chunks_give_what_the_whole_gives(chunked: Chunked) -> None:
    case = chunked.case
    assert_right(chunked, on_onnxruntime(emit(case.spec, case.weights, chunked.request)))


@given(chunked(emissions=("unrolled",)))
def test_onnx_reference_evaluator_agrees(chunked: Chunked) -> None:
    case = chunked.case
    assert_right(chunked, on_the_evaluator(emit(case.spec, case.weights, chunked.request)))


@given(chunked())
def test_estimate_is_exact_and_every_static_edge_has_its_shape(chunked: Chunked) -> None:
    case = chunked.case
    model = emit(case.spec, case.weights, chunked.request)
    assert estimate(case.spec, chunked.request).nodes == len(model.graph.node)
    onnx.checker.check_model(model, full_check=True)
    if chunked.request.batch is not None:
        known = {value.name: value.type.tensor_type for value in [*model.graph.value_info, *model.graph.output]}
        for output in (name for node in model.graph.node for name in node.output if name):
            assert all(dim.HasField("dim_value") for dim in known[output].shape.dim), output


@given(chunked())
def test_every_node_is_needed_and_names_are_unique(chunked: Chunked) -> None:
    graph = emit(chunked.case.spec, chunked.case.weights, chunked.request).graph
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    assert all(used.intersection(node.output) for node in graph.node)
    assert {constant.name for constant in graph.initializer} <= used
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("steps", "cells"), [(1, 9), (32, 66), (256, 511)])
def test_unrolled_cells_are_the_sum_over_layers_of_n_over_d_rounded_up(steps: int, cells: int) -> None:
    request = GraphRequest(steps, 1, "unrolled", form="chunk")
    assert estimate(PIXEL, request).cells == cells == sum(-(-steps // d) for d in PIXEL.dilations)
    names = {node.name for node in emit(PIXEL, random_weights(PIXEL, 0), request).graph.node}
    assert sum(name.endswith("/n") for name in names) == cells


def test_weights_are_stored_once_also_where_a_layer_runs_twice() -> None:
    spec = ModelSpec("lstm", (64,), (3,), Continuous(1), Head("sequence", 2), fusion=False)
    for emission in ("fused", "unrolled"):
        sizes = []
        for steps in (3, 4):  # 4: one folded step and a rest
            request = GraphRequest(steps, 1, emission, form="chunk")  # type: ignore[arg-type]
            sizes.append(len(emit(spec, random_weights(spec, 0), request).SerializeToString()))
        assert sizes[1] - sizes[0] < 4000 < 4 * 64 * 64 * 4


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_layer_that_is_an_operator_and_unrolled_for_the_rest_of_a_mixed_chunk(cell: str) -> None:
    spec = ModelSpec(cell, (4,), (2,), Continuous(1), Head("sequence", 2), fusion=False)  # type: ignore[arg-type]
    chunk = Chunked(make_case(spec, 2, 54), GraphRequest(27, 2, "mixed", form="chunk"))
    model = emit(spec, chunk.case.weights, chunk.request)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count(cell.upper()) == kinds.count("Gemm" if cell == "rnn" else "Sigmoid") - (cell == "rnn") == 1
    assert_right(chunk, on_onnxruntime(model))


def test_rings_take_in_and_give_out_only_what_changes() -> None:
    request = GraphRequest(32, 1, "fused", form="chunk", ring=True)
    assert [shape[1] for shape in request.state_shapes(PIXEL).values()] == [1, 2, 4, 8, 16, 32, 32, 32, 32]
    line = dataclasses.replace(request, ring=False)
    assert [shape[1] for shape in line.state_shapes(PIXEL).values()] == list(PIXEL.dilations)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 2, "form": "step"}, "form step has one step, got 2"),
        ({"steps": 2, "form": "stream"}, "form must be one of 'sequence', 'chunk', 'step'"),
        ({"steps": 2, "ring": True}, "form sequence has no state"),
        ({"steps": 0, "form": "chunk"}, "at least 1"),
        ({"steps": 2, "form": "chunk", "emission": "unrolled", "batch": None}, "dynamic batch"),
        ({"steps": 2, "form": "chunk", "emission": "mixed", "batch": None}, "dynamic batch"),
        ({"steps": 2, "form": "chunk", "emission": "skewed"}, "style pipelined is for form step"),
        ({"steps": 1, "form": "step", "emission": "skewed", "ring": True}, "with whole delay lines"),
    ],
)
def test_what_makes_no_graph_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GraphRequest(**arguments)  # type: ignore[arg-type]

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_export.emitter.emit import emit, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle.graph_kind import next_state_name, packed_shapes, state_name
from tests.export.emitter.test_stateful import Run, on_onnxruntime, on_the_evaluator
from tests.networks import Case, cases, make_case, random_weights


def skewed(case: Case, *, dynamic: bool = False) -> onnx.ModelProto:
    request = GraphRequest(1, None if dynamic else len(case.inputs), "skewed", form="step")
    return emit(case.spec, case.weights, request)


def every_step(case: Case) -> Case:
    return dataclasses.replace(case, spec=dataclasses.replace(case.spec, head=Head("sequence", case.spec.head.outputs)))


def assert_right(case: Case, run: Run) -> None:
    """Output of step t - (layers - 1) in run t; what comes before means nothing, what is fed after changes nothing."""
    late = case.spec.layers - 1
    states = {state_name(n): np.zeros(s, np.float32) for n, s in packed_shapes(case.spec, len(case.inputs)).items()}
    after = np.repeat(case.inputs[:, -1:], late, axis=1)
    inputs, outputs = np.concatenate([case.inputs, after], axis=1), []
    for t in range(inputs.shape[1]):
        found = run({"input": inputs[:, t : t + 1], **states})
        outputs.append(found["output"].reshape(len(inputs), 1, -1))
        for name in states:
            states[name] = found[f"next_{name}"]
    case.assert_within_noise(np.concatenate(outputs[late:], axis=1))


@given(cases(), st.booleans())
def test_output_is_exact_and_as_late_as_there_are_layers_above_the_first(case: Case, dynamic: bool) -> None:
    assert_right(every_step(case), on_onnxruntime(skewed(every_step(case), dynamic=dynamic)))


@given(cases())
def test_onnx_reference_evaluator_agrees(case: Case) -> None:
    assert_right(every_step(case), on_the_evaluator(skewed(every_step(case))))


@given(cases())
def test_estimate_is_exact_and_every_edge_has_its_shape(case: Case) -> None:
    model = skewed(case)
    assert estimate(case.spec, GraphRequest(1, len(case.inputs), "skewed", form="step")).nodes == len(model.graph.node)
    known = {value.name: value.type.tensor_type for value in [*model.graph.value_info, *model.graph.output]}
    for output in (name for node in model.graph.node for name in node.output if name):
        assert all(dim.HasField("dim_value") for dim in known[output].shape.dim), output


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_nodes_do_not_grow_with_the_layers(cell: str) -> None:
    sizes = set()
    for layers in (3, 9):
        dilations = tuple(2**layer for layer in range(layers))
        spec = ModelSpec(cell, (8,) * layers, dilations, Continuous(1), Head("last", 2))  # type: ignore[arg-type]
        sizes.add(len(skewed(make_case(spec, 1, 1)).graph.node))
    assert len(sizes) == 1


def test_padding_of_narrow_layers_stays_zero() -> None:
    spec = ModelSpec("lstm", (2, 5), (1, 2), Continuous(1), Head("last", 2))
    model = emit(spec, random_weights(spec, 0), GraphRequest(1, 1, "skewed", form="step"))
    run = on_onnxruntime(model)
    states = {state_name(n): np.zeros(s, np.float32) for n, s in packed_shapes(spec, 1).items()}
    for _ in range(4):
        found = run({"input": np.ones((1, 1, 1), np.float32), **states})
        states = {state_name(name): found[next_state_name(name)] for name in packed_shapes(spec, 1)}
    for part in "hc":
        assert np.all(states[f"state_lines_{part}"][0, 0, 2:] == 0)
        assert np.all(states[f"state_lines_{part}"][0, :, :2] != 0)

"""The parts of right graphs: each is seen, and none is off, on right inputs or as it ran."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_deploy.debug.explain import expected_for, with_differences
from drnn_deploy.debug.isolate import IsolatedStages, isolate_stages
from drnn_deploy.debug.isolate_weights import isolate_layers
from drnn_deploy.debug.stage_errors import Expected
from drnn_deploy.debug.stages import Stage, stages_of
from drnn_deploy.debug.stages import given as given_tensor
from drnn_deploy.debug.verdict import Evidence
from drnn_deploy.parity.state_layout import rows_at
from drnn_deploy.parity.trace_noises import trace_noises
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.registry import find_runtime
from tests.networks import random_weights, specs
from tests.nightly import NIGHTLY

GRAPHS = [("sequence", "fused"), ("sequence", "unrolled"), ("chunk", "mixed"), ("chunk", "fused"), ("step", "skewed")]


def exported(spec: ModelSpec, folder: Path, seed: int = 0, **options: Any) -> Bundle:
    settings = {"length": 9, "engines": (), "runtimes": ("onnxruntime-cpu",), **options}
    if "sequence" not in settings.get("forms", ("sequence",)):
        del settings["length"]
    return export(Checkpoint(spec, random_weights(spec, seed)), folder, ExportOptions(**settings)).bundle


def isolated(bundle: Bundle, runtime: str) -> list[tuple[Expected, IsolatedStages]]:
    graph = bundle.graphs[0]
    evidence = with_differences(bundle, graph, Evidence(runtime, graph.name))
    assert evidence.model is not None
    assert (evidence.edges, evidence.differences) == ((), ())
    found = []
    for case in bundle.golden:
        if case.stream == bool(graph.states):
            expected, agrees = expected_for(bundle, graph, case)
            assert agrees
            found.append(
                (expected, isolate_stages(find_runtime(runtime), bundle, expected, evidence.model, lambda _: False))
            )
    return found


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Any]:
    form, emission = draw(st.sampled_from(GRAPHS))
    fused = emission in ("fused", "skewed")
    precision = draw(st.sampled_from(["fp32", "fp16"] if emission == "skewed" else ["fp32", "fp16", "int8"]))
    return {
        "forms": (form,),
        "emissions": (emission,),
        "length": draw(st.integers(1, 20)),
        "chunk": draw(st.integers(1, 12)) if form == "chunk" else None,
        **draw(st.sampled_from([{"batch": 1}, {"batch": 3}, *[{"batch": None, "profile": (1, 2, 3)}] * fused])),
        "precisions": (precision,),
        "ring": draw(st.booleans()) if form != "sequence" and emission != "skewed" else None,
        "prune": form != "sequence" or draw(st.booleans()),
    }


@pytest.mark.parametrize("runtime, examples", [("onnxruntime-cpu", 5), ("tensorrt-network", 2)])
def test_no_part_of_a_right_graph_is_off(runtime: str, examples: int) -> None:
    @given(specs(), graphs(), st.integers(0, 2**31))
    @settings(max_examples=16 * examples if NIGHTLY else examples)
    def check(spec: ModelSpec, options: dict[str, Any], seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                bundle = exported(spec, Path(folder) / "bundle", seed, **options)
            except InputError as error:
                assert "beyond float32" in error.message
                reject()
            for expected, found in isolated(bundle, runtime):
                assert found.note == found.node == found.rounding == ""
                seen = [stage.stage for stage in found.stages]
                assert seen[-spec.layers - 1 :] == [*(f"layer {layer}" for layer in range(spec.layers)), "head"]
                late = bundle.graphs[0].delay and expected.case.inputs.shape[1] < spec.layers
                for stage in found.stages:
                    for deviation in (stage.alone, stage.whole):
                        assert late or deviation is not None
                        assert deviation is None or deviation.passed, (stage, expected.case.name)
                for state in found.states:
                    assert state.alone.passed, state

    check()


@given(specs(), st.integers(1, 25), st.booleans())
@settings(max_examples=150 if NIGHTLY else 5)
def test_parts_say_which_steps_a_pruned_graph_computes(spec: ModelSpec, length: int, prune: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        last = dataclasses.replace(spec, head=Head("last", 2), activation="tanh")
        bundle = exported(last, Path(folder) / "bundle", length=length, prune=prune)
    for stage, dilation in zip(stages_of(bundle.spec, bundle.graphs[0])[-spec.layers :], spec.dilations, strict=True):
        steps = stage.steps(0)
        assert (np.diff(steps) > 0).all()
        assert 0 <= steps[0] <= steps[-1] == length - 1
        assert prune or len(steps) == length
        assert set(steps[steps >= dilation] - dilation) <= set(steps)  # the layer's own past


def test_steps_of_a_pruned_graph_by_hand(tmp_path: Path) -> None:
    """Dilations 1, 2, 4 over twelve steps, of which the head reads the last."""
    spec = ModelSpec("rnn", (2, 2, 2), (1, 2, 4), Continuous(1), Head("last", 2))
    stages = stages_of(spec, exported(spec, tmp_path / "bundle", length=12).graphs[0])
    assert [stage.steps(0).tolist() for stage in stages] == [list(range(12)), [1, 3, 5, 7, 9, 11], [3, 7, 11]]
    chunk = exported(spec, tmp_path / "chunk", forms=("chunk",), chunk=3).graphs[0]
    assert [stage.steps(2).tolist() for stage in stages_of(spec, chunk)] == [[6, 7, 8]] * 3
    skewed = exported(spec, tmp_path / "skewed", forms=("step",), emissions=("skewed",)).graphs[0]
    assert [stage.steps(2).tolist() for stage in stages_of(spec, skewed)] == [[2], [1], [0]]


def test_tensors_are_laid_out_and_read_back() -> None:
    random = np.random.default_rng(0)
    trace = {"l0_h": random.standard_normal((2, 7, 3))}
    stage = Stage("layer 0", "l0", "l0_h", 3, np.arange(7), 7, 8)
    for shape in ((8, 2, 3), (4, 1, 4, 3), (-1, 2, 3), (4, 1, -1, 3), (16, 3)):
        tensor = given_tensor([stage], trace, 0, shape)
        assert all(want in (-1, size) for size, want in zip(tensor.shape, shape, strict=True))
        np.testing.assert_array_equal(stage.observed(tensor, 2), trace["l0_h"])
        assert not tensor.reshape(-1)[7 * 2 * 3 :].any()
    assert stage.observed(np.zeros((6, 2, 3)), 2).shape == (0,)
    assert stage.observed(np.zeros((8, 2, 4)), 2).shape == (0,)
    np.testing.assert_array_equal(rows_at(trace["l0_h"], np.array([-1, 6, 7]))[:, [0, 2]], 0)


@given(specs(), st.integers(0, 2**31))
@settings(max_examples=150 if NIGHTLY else 5)
def test_layers_of_the_weights_by_themselves_are_right(spec: ModelSpec, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            bundle = exported(spec, Path(folder) / "bundle", seed)
        except InputError as error:
            assert "beyond float32" in error.message
            reject()
        expected, _ = expected_for(bundle, bundle.graphs[0], bundle.golden[1])
        for runtime in ("torch", "reference"):
            stages, note = isolate_layers(find_runtime(runtime), bundle, expected)
            assert [stage.stage for stage in stages] == [f"layer {layer}" for layer in range(spec.layers)]
            assert all(stage.alone is not None and stage.alone.passed for stage in stages)
            assert "does not run" not in note


def test_noise_of_a_part_is_measured_and_at_least_a_rounding() -> None:
    spec = ModelSpec("rnn", (4, 4), (1, 2), Continuous(2), Head("last", 2), activation="relu")
    weights = {name: 3 * value for name, value in random_weights(spec, 0).items()}
    inputs = np.random.default_rng(0).standard_normal((2, 12, 2)).astype(np.float32)
    right = run_reference(spec, weights, inputs, traced=True)
    graph = dataclasses.replace(graph_info(spec), precision="fp32")
    found = trace_noises(spec, weights, graph.precision, inputs, right).trace
    for name, value in right.trace.items():
        floor = np.finfo(np.float32).eps * max(1.0, np.abs(value).max())
        assert found[name].shape == value.shape[1:]
        assert np.all(found[name] >= floor)
    assert found["l1_h"].max() > 5 * np.finfo(np.float32).eps * np.abs(right.trace["l1_h"]).max()
    narrow = trace_noises(spec, weights, "bf16", inputs, right).trace
    assert narrow["l1_h"].max() > 1e3 * found["l1_h"].max()


def graph_info(spec: ModelSpec) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return exported(spec, Path(folder) / "b", length=12).graphs[0]

"""What a bundle says of itself fits together, or is refused with the entry; writers refuse what readers do."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

from drnn_core.errors import InputError
from drnn_core.types import TensorInfo
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import EngineInfo, GoldenCase, GraphInfo
from drnn_runtimes.bundle.fit import check_manifest
from drnn_runtimes.bundle.golden import read_golden, write_golden
from drnn_runtimes.bundle.writer import write_manifest
from tests.networks import random_inputs, random_weights, specs
from tests.runtimes.bundle.graphs import info_of, requests

SPEC = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("sequence", 3))
WHOLE, CHUNK = GraphRequest(8, 1), GraphRequest(4, 1, form="chunk", ring=True)


def graph(request: GraphRequest = WHOLE, spec: ModelSpec = SPEC, **changes: Any) -> GraphInfo:
    model = emit(spec, random_weights(spec, 0), request)
    return dataclasses.replace(info_of(spec, request, model), **changes)


ODD: dict[str, tuple[GraphRequest, dict[str, Any], str]] = {
    "ring of a sequence": (WHOLE, {"ring": True}, r"graphs\[0\].form: form sequence has no state"),
    "step of two": (CHUNK, {"form": "step"}, r"graphs\[0\].form: form step has one step, got 4"),
    "unrolled of any batch": (
        WHOLE,
        {"batch": None, "emission": "unrolled", "profile": (1, 2, 3)},
        r"\.form: .*static",
    ),
    "skewed chunk": (CHUNK, {"emission": "skewed"}, r"\.form: style pipelined is for form step"),
    "fused bf16": (WHOLE, {"precision": "bf16"}, r"\.form: there are no recurrent operators"),
    "steps beyond the reference": (WHOLE, {"steps": 10**9}, r"graphs\[0\].steps: 1,000,000,000 steps and"),
    "pruned chunk": (CHUNK, {"pruned": True}, r"graphs\[0\].pruned"),
    "delay of a whole sequence": (WHOLE, {"delay": 1}, r"graphs\[0\].delay: it says 1, and emission fused has 0"),
    "profile of one batch": (WHOLE, {"profile": (1, 2, 3)}, r"graphs\[0\].profile: it says \[1, 2, 3\]"),
    "no profile of any batch": (GraphRequest(8, None), {"profile": None}, r"graphs\[0\].profile: a free batch needs"),
    "profile that descends": (GraphRequest(8, None), {"profile": (3, 2, 1)}, r"graphs\[0\].profile: it says \[3"),
    "profile beyond memory": (GraphRequest(8, None), {"profile": (1, 2, 10**9)}, r"graphs\[0\].batch: a run of"),
    "no inputs": (WHOLE, {"inputs": ()}, r"graphs\[0\].inputs: they are , and the network's are input float32"),
    "another batch": (WHOLE, {"batch": 2}, r"graphs\[0\].inputs: .*\[1, 8, 2\], and the network's are .*\[2, 8, 2\]"),
    "another length": (WHOLE, {"steps": 9}, r"graphs\[0\].inputs"),
    "output without axes": (WHOLE, {"outputs": (TensorInfo("output", "float32", ()),)}, r"graphs\[0\].outputs"),
    "no states": (CHUNK, {"states": ()}, r"graphs\[0\].states: they are \[\]"),
    "states the other way round": (
        CHUNK,
        {"states": (("next_state_l0_h", "state_l0_h"), ("next_state_l1_h", "state_l1_h"))},
        r"graphs\[0\].states",
    ),
    "whole delay lines of a ring": (GraphRequest(1, 1, form="step"), {"ring": True}, r"graphs\[0\].inputs"),
    "a million nodes": (WHOLE, {"nodes": 10**6}, r"graphs\[0\].nodes: 1,000,000 are more than"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_graph_that_the_network_cannot_have_is_refused_with_its_entry(name: str, tmp_path: Path) -> None:
    request, changes, words = ODD[name]
    with pytest.raises(InputError, match=words):
        check_manifest(SPEC, [graph(request, **changes)], [])
    with pytest.raises(InputError, match=words):
        write_manifest(tmp_path, SPEC, {}, [graph(request, **changes)])
    assert list(tmp_path.iterdir()) == []


ENGINE = EngineInfo("e", "e.json", "model.onnx", "tensorrt")


@pytest.mark.parametrize(("graphs", "engines", "words"), [
    ([graph(), graph(GraphRequest(8, 1, "unrolled"))], [], "graphs: two have the file 'model.onnx'"),
    ([graph(), graph(file="other.onnx")], [], "graphs: two have the name 'sequence/fused'"),
    ([graph()] * 257, [], "graphs: 257 of them"),
    ([graph()], [dataclasses.replace(ENGINE, graph="x.onnx")], r"engines\[0\].graph: there is no graph 'x.onnx'"),
    ([graph()], [ENGINE, dataclasses.replace(ENGINE, file="f", sidecar="f.json")], "two are of 'tensorrt and model"),
    ([graph()], [dataclasses.replace(ENGINE, sidecar="e")], "engines: two have the file 'e'"),
])  # fmt: skip
def test_graphs_and_engines_that_contradict_each_other(
    graphs: list[GraphInfo], engines: list[EngineInfo], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        check_manifest(SPEC, graphs, engines)


def case(spec: ModelSpec, steps: int, *, stream: bool = False, **changes: Any) -> GoldenCase:
    inputs, answered = random_inputs(spec, 2, steps, 0), steps if stream else spec.head.output_steps(steps)
    shape = (2, spec.head.outputs) if spec.head.kind == "last" and not stream else (2, answered, spec.head.outputs)
    made = GoldenCase("some", inputs, np.zeros(shape), 1e-7, stream=stream)
    return dataclasses.replace(made, **changes)


@given(specs(), requests())
@settings(max_examples=settings().max_examples // 2)
def test_golden_cases_of_the_right_sizes_are_written_and_read(spec: ModelSpec, request: GraphRequest) -> None:
    import tempfile

    info, stream = graph(request, spec), request.form != "sequence"
    steps = request.steps * 2 if stream else request.steps
    assume(steps >= 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.npz"
        write_golden(path, spec, [info], [case(spec, steps, stream=stream)])
        (found,) = read_golden(path, spec, [info])
    np.testing.assert_array_equal(found.inputs, random_inputs(spec, 2, steps, 0))


TOKENS = ModelSpec("gru", (4, 5), (1, 2), Tokens(7), Head("last", 3))
BAD_CASES: dict[str, tuple[ModelSpec, dict[str, Any], str]] = {
    "short": (SPEC, {"inputs": np.zeros((2, 7, 2), np.float32), "outputs": np.zeros((2, 7, 3))}, "7 steps do not suit"),
    "long": (SPEC, {"inputs": np.zeros((2, 9, 2), np.float32), "outputs": np.zeros((2, 9, 3))}, "9 steps do not suit"),
    "other features": (SPEC, {"inputs": np.zeros((2, 8, 3), np.float32)}, "the network reads float32 of shape"),
    "flat": (SPEC, {"inputs": np.zeros(8, np.float32)}, "the network reads float32"),
    "wide inputs": (SPEC, {"inputs": np.zeros((2, 8, 2))}, "the inputs are float64"),
    "no sequences": (SPEC, {"inputs": np.zeros((0, 8, 2), np.float32), "outputs": np.zeros((0, 8, 3))}, "0 sequences"),
    "fewer outputs": (SPEC, {"outputs": np.zeros((2, 5, 3))}, "the outputs are float64 of shape"),
    "narrow outputs": (SPEC, {"outputs": np.zeros((2, 8, 3), np.float32)}, "the outputs are float32"),
    "inputs of NaN": (SPEC, {"inputs": np.full((2, 8, 2), np.nan, np.float32)}, "the inputs hold NaN"),
    "outputs of infinity": (SPEC, {"outputs": np.full((2, 8, 3), np.inf)}, "the outputs hold NaN"),
    "targets of three": (SPEC, {"targets": np.zeros(3, np.int64)}, "the targets are int64"),
    "targets of text": (SPEC, {"targets": np.array(["a", "b"])}, "the targets are <U1"),
    "token 7 of 7": (TOKENS, {"inputs": np.full((2, 8), 7)}, "tokens outside of 0 to 6"),
    "token -1": (TOKENS, {"inputs": np.full((2, 8), -1)}, "tokens outside of 0 to 6"),
    "tokens in 32 bits": (TOKENS, {"inputs": np.zeros((2, 8), np.int32)}, "the inputs are int32"),
}


@pytest.mark.parametrize("name", BAD_CASES)
def test_a_golden_case_that_is_none_of_the_networks_is_neither_written_nor_read(name: str, tmp_path: Path) -> None:
    spec, changes, words = BAD_CASES[name]
    bad, path = case(spec, 8, **changes), tmp_path / "golden.npz"
    with pytest.raises(InputError, match=f"golden case 'some': .*{words}"):
        write_golden(path, spec, [graph(spec=spec)], [bad])
    assert not path.exists()
    with pytest.MonkeyPatch.context() as patch:
        for check in ("check_case", "check_values"):
            patch.setattr(f"drnn_runtimes.bundle.golden.{check}", lambda *_, **__: None)
        write_golden(path, spec, [], [bad])
    with pytest.raises(InputError, match=f"golden case 'some': .*{words}"):
        read_golden(path, spec, [graph(spec=spec)])


def test_a_stream_is_as_long_as_the_longest_chunk(tmp_path: Path) -> None:
    stream, chunk = case(SPEC, 3, stream=True), graph(CHUNK)
    with pytest.raises(InputError, match=r"its 3 steps do not suit graph chunk4/fused, which takes 4"):
        write_golden(tmp_path / "golden.npz", SPEC, [chunk], [stream])
    write_golden(tmp_path / "golden.npz", SPEC, [graph()], [stream])  # which no graph there reads

"""Every contender that is here, in this process: it computes what float64 does, whole and streamed, in any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import InputError
from drnn_deploy.bench.answers import answer_for, batch_inputs, judge_outputs
from drnn_deploy.bench.contender import Array, Contender
from drnn_deploy.bench.measure import pairs
from drnn_deploy.bench.registry import CONTENDERS, GAUGES, choose
from drnn_deploy.bench.settings import Setting, write_row
from drnn_deploy.bench.worker import pieces
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime, StreamingRuntime
from tests.networks import random_weights

pytestmark = pytest.mark.optional_runtimes("native", "openvino", "tract")
SLOW = {"torch-compile", "torch-onnx"}
ALWAYS = {"torch", "torch-eager", "onnxruntime-cpu"}
MAY_REFUSE = {  # contender and graph: releases of tract differ
    *(("torch-onnx", graph) for graph in ("step/fused", "chunk4/fused")),
    *(("tract", graph) for graph in ("sequence/fused", "sequence/unrolled")),
}
ON_GPUS = {name for name in CONTENDERS if "cuda" in name or "tensorrt" in name}  # take some graph of each setting
SETTINGS = [Setting("sequence", 11, 3), Setting("step", 1, 1), Setting("chunk", 4, 3)]


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda setting: f"{setting.form}-{setting.steps}")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Setting, Bundle]:
    setting: Setting = request.param
    spec = ModelSpec("lstm", (4, 5), (1, 2), Tokens(6), Head("last", 3))
    folder = tmp_path_factory.mktemp("row") / "bundle"
    return setting, write_row(Checkpoint(spec, random_weights(spec, 0)), setting, (), folder)


def test_threads_are_set_where_there_is_a_setting(
    prepared: tuple[Setting, Bundle], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, int]] = []

    def spy(runtime: Runtime, threads: int) -> Runtime:
        asked.append((runtime.name, threads))
        return runtime

    monkeypatch.setattr(StreamingRuntime, "with_threads", spy)
    for name in ("onnxruntime-cpu", "native"):
        contender = CONTENDERS[name]
        if contender.availability().usable and not contender.unsupported(prepared[1], prepared[1].graphs[0]):
            with contender.load(
                prepared[1], prepared[1].graphs[0], batch=prepared[0].batch, threads=2, folder=tmp_path
            ):
                pass
    assert asked == [("onnxruntime-cpu", 2)]


def outputs_of(contender: Contender, bundle: Bundle, graph: GraphInfo, inputs: Array, folder: Path) -> Array:
    with contender.load(bundle, graph, batch=len(inputs), threads=1, folder=folder) as call:
        outputs = [np.array(call(piece)) for piece in pieces(inputs, graph)]
    return np.concatenate(outputs, axis=1) if graph.states else outputs[0]


@pytest.mark.parametrize(
    "contender",
    [pytest.param(entry, id=name, marks=[pytest.mark.nightly] * (name in SLOW)) for name, entry in CONTENDERS.items()],
)
def test_it_computes_what_is_right(prepared: tuple[Setting, Bundle], contender: Contender, tmp_path: Path) -> None:
    available = contender.availability()
    if not available.usable:
        assert contender.name not in ALWAYS, available
        pytest.skip(available.detail)
    setting, bundle = prepared
    case = answer_for(bundle.spec, bundle.weights, bundle.graphs)
    inputs = batch_inputs(case, setting.batch)
    refused: dict[tuple[str, str], str] = {}
    ran = 0
    for number, (_, graph) in enumerate(pairs(bundle, [contender])):
        if reason := contender.unsupported(bundle, graph):
            refused[contender.name, graph.name] = reason
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            whole = outputs_of(contender, bundle, graph, inputs, folder)
        except InputError as error:  # graphs that a release of a runtime does not take
            refused[contender.name, graph.name] = error.message
            continue
        result = judge_outputs(bundle.spec, graph, case, setting.batch, whole)
        assert result.verdict == "passed", (graph.name, result)
        changed = whole + 100 * result.limit
        assert judge_outputs(bundle.spec, graph, case, setting.batch, changed).verdict == "failed"
        assert judge_outputs(bundle.spec, graph, case, setting.batch, whole[:, :0]).verdict == "failed"
        assert judge_outputs(bundle.spec, graph, case, setting.batch + 1, whole).verdict == "failed"
        ran += 1
    assert (contender.name in ON_GPUS and ran) or {*refused} <= MAY_REFUSE, refused


def test_the_rows_of_a_batch_differ(prepared: tuple[Setting, Bundle]) -> None:
    """So that a contender that gives every row the first one's outputs is seen."""
    _, bundle = prepared
    case = answer_for(bundle.spec, bundle.weights, bundle.graphs)
    assert not np.array_equal(case.outputs[0], case.outputs[1])
    assert [len(batch_inputs(case, size)) for size in (1, 2, 5)] == [1, 2, 5]
    first, second, third = batch_inputs(case, 3)
    assert np.array_equal(first, third) and not np.array_equal(first, second)


def test_names_are_those_of_contenders() -> None:
    assert [entry.name for entry in choose([])] == list(CONTENDERS)
    assert {*CONTENDERS} >= ALWAYS
    assert all(name == entry.name for name, entry in (CONTENDERS | GAUGES).items())
    with pytest.raises(InputError, match="there is no contender 'fast'"):
        choose(["fast"])

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
from tests.networks import random_weights

pytestmark = pytest.mark.optional_runtimes("native", "openvino", "tract")
SLOW = {"torch-compile", "torch-onnx"}
REFUSED = {("tract", "sequence"), ("torch-onnx", "step"), ("torch-onnx", "chunk")}  # and says so
HERE = [contender for contender in CONTENDERS.values() if contender.availability().usable]
SETTINGS = [Setting("sequence", 11, 3), Setting("step", 1, 1), Setting("chunk", 4, 3)]


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda setting: f"{setting.form}-{setting.steps}")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Setting, Bundle]:
    setting: Setting = request.param
    spec = ModelSpec("lstm", (4, 5), (1, 2), Tokens(6), Head("last", 3))
    folder = tmp_path_factory.mktemp("row") / "bundle"
    return setting, write_row(Checkpoint(spec, random_weights(spec, 0)), setting, (), folder)


def outputs_of(contender: Contender, bundle: Bundle, graph: GraphInfo, inputs: Array, folder: Path) -> Array:
    with contender.load(bundle, graph, batch=len(inputs), threads=1, folder=folder) as call:
        outputs = [np.array(call(piece)) for piece in pieces(inputs, graph)]
    return np.concatenate(outputs, axis=1) if graph.states else outputs[0]


@pytest.mark.parametrize(
    "contender",
    [pytest.param(entry, id=entry.name, marks=[pytest.mark.nightly] * (entry.name in SLOW)) for entry in HERE],
)
def test_it_computes_what_is_right(prepared: tuple[Setting, Bundle], contender: Contender, tmp_path: Path) -> None:
    setting, bundle = prepared
    case = answer_for(bundle.spec, bundle.weights, bundle.graphs)
    inputs = batch_inputs(case, setting.batch)
    ran, reason = 0, ""
    for number, (_, graph) in enumerate(pairs(bundle, [contender])):
        if reason := contender.unsupported(bundle, graph):
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            whole = outputs_of(contender, bundle, graph, inputs, folder)
        except InputError as error:  # graphs that a release of a runtime does not take
            reason = error.message
            continue
        result = judge_outputs(bundle.spec, graph, case, whole)
        assert result.verdict == "passed", (graph.name, result)
        changed = whole + 100 * result.limit
        assert judge_outputs(bundle.spec, graph, case, changed).verdict == "failed"
        assert judge_outputs(bundle.spec, graph, case, whole[:, :0]).verdict == "failed"
        ran += 1
    assert ran or (contender.name, setting.form) in REFUSED, reason


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
    assert all(name == entry.name for name, entry in (CONTENDERS | GAUGES).items())
    with pytest.raises(InputError, match="there is no contender 'fast'"):
        choose(["fast"])

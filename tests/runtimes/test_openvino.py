"""Whatever graph there is, OpenVINO computes it, and in the types that the graph says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy.debug.explain import explain_report
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_deploy.parity.check import check_parity
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.openvino import OpenVinoRuntime, OpenVinoSession
from tests.drnn_deploy.cli.test_parity import flip_a_weight
from tests.networks import make_case
from tests.nightly import NIGHTLY
from tests.runtimes.graphs_of_a_network import networks, requests, write_graph

openvino = pytest.importorskip("openvino")
pytestmark = pytest.mark.optional_runtimes("openvino")
RUNTIME = OpenVinoRuntime(threads=1)


@given(spec=networks(), request=requests(), seed=st.integers(0, 2**31))
@settings(max_examples=500 if NIGHTLY else 20)
def test_every_graph_passes(spec: ModelSpec, request: GraphRequest, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            graph = write_graph(Path(folder), spec, request, seed)
        except InputError:
            reject()
        assert RUNTIME.unsupported(graph.bundle, graph.info) == ""
        assert graph.passes(graph.outputs(RUNTIME))


def test_int8_weights_times_constant_zeros(tmp_path: Path) -> None:
    """OpenVINO cannot compile them as they are, but for some processors."""
    spec = ModelSpec("gru", (4, 4), (1, 2), Continuous(2), Head("sequence", 2))
    graph = write_graph(tmp_path, spec, GraphRequest(5, emission="unrolled", precision="int8"))
    assert graph.passes(graph.outputs(RUNTIME))
    try:
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(str(tmp_path / "model.onnx"), "CPU", settings)
    except RuntimeError as refusal:
        assert "is_static" in str(refusal)
    else:
        assert graph.passes(compiled.create_infer_request().infer({"input": graph.case.inputs})["output"])


@pytest.mark.parametrize("emission", ["fused", "unrolled"])
def test_float32_is_not_rounded_on_a_cpu_with_units_for_bfloat16(emission: str, tmp_path: Path) -> None:
    spec = ModelSpec("lstm", (64,), (1,), Continuous(64), Head("sequence", 8))
    graph = write_graph(tmp_path, spec, GraphRequest(16, 4, emission))  # type: ignore[arg-type]
    assert graph.passes(graph.outputs(RUNTIME))
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        compiled = openvino.Core().compile_model(str(tmp_path / "model.onnx"), "CPU")
        outputs = compiled.create_infer_request().infer({"input": graph.case.inputs})["output"]
        assert not graph.passes(outputs), "OpenVINO does not round to bfloat16 any more: the setting can go"


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_those_that_were_asked_for(threads: int, tmp_path: Path) -> None:
    spec = ModelSpec("gru", (4,), (1,), Continuous(2), Head("last", 2))
    graph = write_graph(tmp_path, spec, GraphRequest(4))
    with OpenVinoRuntime(threads=threads).load(graph.bundle, graph.info) as session:
        assert isinstance(session, OpenVinoSession)
        assert session._compiled.get_property("INFERENCE_NUM_THREADS") == threads


def test_bound_arrays_are_read_and_written_where_they_are(tmp_path: Path) -> None:
    spec = ModelSpec("gru", (4, 4), (1, 2), Continuous(2), Head("sequence", 2))
    graph = write_graph(tmp_path, spec, GraphRequest(4, 3, form="chunk"))
    with RUNTIME.load(graph.bundle, graph.info) as session:
        inputs = {t.name: np.ones(t.shape, np.float32) for t in graph.info.inputs}
        outputs = {t.name: np.zeros(t.shape, np.float32) for t in graph.info.outputs}
        call = session.bind(inputs, outputs)
        for factor in (1.0, 0.5):
            for value in inputs.values():
                value *= factor
            call()
            for name, right in session.run(inputs).items():
                np.testing.assert_array_equal(outputs[name], right)
        fixed = np.ones((3, 4, 2), np.float32)
        fixed.flags.writeable = False
        with pytest.raises(InputError, match="OpenVINO cannot run chunk4/fused: array is not writeable"):
            session.bind({**inputs, "input": fixed}, outputs)


def test_what_is_wrong_in_a_graph_is_found_on_it(tmp_path: Path) -> None:
    spec = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
    options = ExportOptions(length=8, engines=(), runtimes=("reference",))
    folder = export(make_case(spec, 1, 8).checkpoint(), tmp_path / "bundle", options).bundle.folder
    flip_a_weight(folder)
    bundle = Bundle.open(folder)
    (explanation,) = explain_report(bundle, check_parity(bundle, [RUNTIME]), [RUNTIME])
    assert "head/W" in explanation.verdict
    assert (explanation.runtime, explanation.seen_on) == ("openvino", "")
    assert explanation.stages

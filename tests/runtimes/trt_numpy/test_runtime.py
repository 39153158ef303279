"""NVIDIA's parser's network in NumPy: right for what we export, and wrong where a graph is."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.gpu import Gpu
from drnn_deploy import ExportOptions, export
from drnn_deploy.cli.console import make_console, show_parity
from drnn_deploy.parity.check import check_parity
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.session import Arrays
from drnn_runtimes.trt.bindings import TensorRTModule
from drnn_runtimes.trt_numpy import runtime
from drnn_runtimes.trt_numpy.runtime import MOST_NODES, TensorRTNetworkRuntime
from tests.networks import Case, cases, make_case, random_weights
from tests.nightly import some_by_day
from tests.runtimes.streaming.streams import bundle_of

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")

NETWORK = find_runtime("tensorrt-network")


_OF_FORM = {"sequence": ["blocked", "blocked"], "chunk": [], "step": ["skewed"]}


def outputs(bundle: Bundle, feed: Arrays) -> Arrays:
    with NETWORK.load(bundle, bundle.graphs[0]) as session:
        return session.run(feed)


@st.composite
def requests(draw: st.DrawFn, batch: int, length: int) -> GraphRequest:
    form = draw(st.sampled_from(["sequence", "chunk", "step"]))
    emission = draw(st.sampled_from(["fused", "unrolled", "mixed", *_OF_FORM[form]]))
    fixed = batch if emission in ("unrolled", "mixed", "blocked") else draw(st.sampled_from([batch, None]))
    ring = form != "sequence" and emission != "skewed" and draw(st.booleans())
    prune = form == "sequence" and draw(st.booleans())
    steps, block = 1 if form == "step" else length, draw(st.integers(2, 4))
    block = block if emission == "blocked" else None
    return GraphRequest(steps, fixed, emission, prune, form, ring, block=block)  # type: ignore[arg-type]


@given(st.data(), cases())
def test_network_computes_what_onnx_runtime_does(data: st.DataObject, case: Case) -> None:
    request = data.draw(requests(len(case.inputs), case.length))
    case = make_case(case.spec, len(case.inputs), request.steps)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(Path(folder), case, request)
        (graph,) = bundle.graphs
        feed: Arrays = {"input": case.inputs}
        for tensor in graph.inputs[1:]:
            feed[tensor.name] = random.standard_normal((len(case.inputs), *tensor.shape[1:]), dtype=np.float32)
        found = outputs(bundle, feed)
        with OnnxRuntime("cpu", threads=1).load(bundle, graph) as session:
            expected = session.run(feed)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("cell", some_by_day(["lstm", "gru", "rnn"], 3))
def test_every_form_and_emission_passes_parity(cell: str, tmp_path: Path) -> None:
    spec = ModelSpec(cell, (4, 5, 3), (1, 2, 4), Continuous(2), Head("last", 3))  # type: ignore[arg-type]
    options = ExportOptions(
        length=21,
        forms=("sequence", "chunk", "step"),
        chunk=5,
        emissions=("fused", "unrolled", "mixed", "skewed", "blocked"),
        block=5,
        engines=(),
        runtimes=("tensorrt-network",),
    )
    whole = dataclasses.replace(
        options, forms=("sequence",), chunk=None, block=None, emissions=("fused", "unrolled"), prune=False
    )
    for place, chosen in enumerate((options, whole)):
        result = export(seeded(spec), tmp_path / str(place), chosen)
        assert result.parity.passed
        assert [row.graph for row in result.parity.rows] == [graph.name for graph in result.bundle.graphs]


def seeded(spec: ModelSpec) -> Checkpoint:
    return Checkpoint(spec, random_weights(spec, 0))


def swap_gates(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name.endswith("operator/R"):
            value = numpy_helper.to_array(tensor)
            first, second, *rest = np.split(value, 3, axis=1)
            tensor.CopyFrom(numpy_helper.from_array(np.concatenate([second, first, *rest], axis=1), tensor.name))


def flip_reset(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "linear_before_reset":
                attribute.i = 1 - attribute.i


def shift_dilation(model: onnx.ModelProto) -> None:
    """The second layer reads its delay line one row too late."""
    for node in model.graph.node:
        if node.name == "l1/oldest_h":
            node.input[1], node.input[2] = "one", "three"
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.array([1]), "one"), numpy_helper.from_array(np.array([3]), "three")]
    )


@pytest.mark.parametrize("plant", [swap_gates, flip_reset, shift_dilation])
def test_planted_error_is_caught(plant: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    spec = ModelSpec("gru", (4, 5), (1, 4), Continuous(2), Head("sequence", 3))
    options = ExportOptions(
        forms=("chunk",), chunk=2, emissions=("fused",), ring=False, engines=(), runtimes=("tensorrt-network",)
    )
    right = export(seeded(spec), tmp_path / "bundle", options)
    assert right.parity.passed
    bundle = right.bundle
    model = onnx.load(bundle.path("model.onnx"))
    plant(model)
    onnx.save(model, bundle.path("model.onnx"))
    (row,) = check_parity(bundle, [NETWORK]).rows
    assert (row.passed, row.exit_code, row.error) == (False, 0, "")
    assert row.worst is not None
    assert row.worst.in_noise is None or row.worst.in_noise > 100


@pytest.mark.parametrize("operator", ["gru", "lstm"])
def test_two_layers_of_one_name_stay_two_loops(operator: str, tmp_path: Path) -> None:
    """NVIDIA's objects for one loop are one Python object only while one is held; mixed up, the layers would be one."""
    spec = ModelSpec(operator, (4, 4), (1, 2), Continuous(2), Head("sequence", 3))  # type: ignore[arg-type]
    case = make_case(spec, 2, 9)
    bundle = bundle_of(tmp_path, case, GraphRequest(9, 2))
    model = onnx.load(bundle.path("model.onnx"))
    for node in model.graph.node:
        node.name = "the same"
    onnx.save(model, bundle.path("model.onnx"))
    case.assert_within_noise(outputs(bundle, {"input": case.inputs})["output"])


def test_network_other_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    case = make_case(ModelSpec("gru", (3,), (2,), Continuous(4), Head("last", 2)), 1, 5)
    bundle = bundle_of(tmp_path, case, GraphRequest(5))
    model = onnx.load(bundle.path("model.onnx"))
    model.graph.output[0].name = model.graph.node[-1].output[0] = "another"
    onnx.save(model, bundle.path("model.onnx"))
    with pytest.raises(InputError, match=r"its outputs are \['another'\], and the manifest says \['output'\]"):
        outputs(bundle, {"input": case.inputs})


def test_graph_that_the_parser_refuses_is_an_error_in_its_words(tmp_path: Path) -> None:
    case = make_case(ModelSpec("gru", (3,), (2,), Continuous(4), Head("last", 2)), 1, 5)
    bundle = bundle_of(tmp_path, case, GraphRequest(5))
    model = onnx.load(bundle.path("model.onnx"))
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(onnx.helper.make_node("Mod", ["raw", "raw"], ["output"], fmod=0))
    onnx.save(model, bundle.path("model.onnx"))
    with pytest.raises(InputError, match=r"TensorRT-RTX .* on model\.onnx: the ONNX parser does not take it"):
        outputs(bundle, {"input": case.inputs})


def test_wrong_inputs_are_refused(tmp_path: Path) -> None:
    case = make_case(ModelSpec("gru", (3,), (2,), Tokens(4), Head("last", 2)), 1, 5)
    bundle = bundle_of(tmp_path, case, GraphRequest(5))
    for feed in ({}, {"input": case.inputs[:, :4]}, {"input": case.inputs.astype(np.int32)}):
        with pytest.raises(InputError, match="input"):
            outputs(bundle, feed)


def test_every_report_says_that_no_engine_ran(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the engine is not executed" in NETWORK.availability().detail
    spec = ModelSpec("gru", (3,), (2,), Continuous(1), Head("last", 2))
    options = ExportOptions(length=5, engines=(), runtimes=("tensorrt-network", "torch"))
    report = export(seeded(spec), tmp_path / "bundle", options).parity
    notes = {row.runtime: row.caveat for row in report.rows}
    said = "the network of NVIDIA's parser was checked; the engine was not executed"
    assert notes == {"tensorrt-network": said, "torch": ""}
    show_parity(make_console(None), report)
    assert f"note    tensorrt-network: {said}" in capsys.readouterr().out


def test_without_nvidias_modules_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = TensorRTModule("TensorRT", "tensorrt", reason="not installed")
    monkeypatch.setattr(runtime, "tensorrt_module", lambda flavour: missing)
    assert "pip install 'drnn-deploy[rtx]'" in NETWORK.availability().fix
    case = make_case(ModelSpec("gru", (3,), (2,), Tokens(4), Head("last", 2)), 1, 5)
    with pytest.raises(RuntimeUnavailableError, match="TensorRT-RTX is not installed"):
        outputs(bundle_of(tmp_path, case, GraphRequest(5)), {"input": case.inputs})


@pytest.mark.parametrize(("device", "usable"), [(None, False), (Gpu("a GPU", "8.6", "CUDA 13.0"), True)])
def test_tensorrt_alone_needs_a_gpu(device: Gpu | None, usable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The full TensorRT's builder does not start without a driver: usable means that `load` can work."""
    modules = {
        "tensorrt": TensorRTModule("TensorRT", "tensorrt", object(), "11.0"),
        "tensorrt-rtx": TensorRTModule("TensorRT-RTX", "tensorrt-rtx-cu13", reason="not installed"),
    }
    monkeypatch.setattr(runtime, "tensorrt_module", modules.__getitem__)
    monkeypatch.setattr(runtime.gpu, "gpu", lambda: device)
    assert NETWORK.availability().usable is usable


def test_graph_too_large_to_walk_is_said_to_be() -> None:
    case = make_case(ModelSpec("gru", (3,), (2,), Tokens(4), Head("last", 2)), 1, 5)
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(Path(folder), case, GraphRequest(5))
    large = dataclasses.replace(bundle.graphs[0], nodes=MOST_NODES + 1)
    assert "20,001 nodes are more than" in TensorRTNetworkRuntime().unsupported(bundle, large)
    assert TensorRTNetworkRuntime().unsupported(bundle, bundle.graphs[0]) == ""

"""What openvino and tract have in common; what only one does is in a file of its own."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.types import Precision
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.reference.low_precision import graph_weights
from drnn_runtimes.registry import find_runtime, require
from tests.networks import Case, make_case

NAMES = ("openvino", "tract")
LENGTH = 11
pytestmark = pytest.mark.optional_runtimes(*NAMES)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(ModelSpec("lstm", (4, 3), (1, 2), Tokens(5, 3), Head("last_k", 3, 2)), 3, LENGTH)


@pytest.fixture(scope="module")
def bundle(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(
        length=LENGTH, batch=3, forms=("sequence", "chunk"), chunk=4, engines=(), runtimes=("onnxruntime-cpu",)
    )
    return export(case.checkpoint(), tmp_path_factory.mktemp("export") / "bundle", options).bundle


def test_it_is_usable_in_the_files_that_ask(name: str) -> None:
    available = find_runtime(name).availability()
    assert available.usable
    assert require([name])[0].name == name
    assert any(character.isdigit() for character in available.detail)  # its version


def test_without_the_package_it_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    available = find_runtime(name).availability()
    assert (available.usable, available.fix) == (False, f"pip install 'drnn-deploy[{name}]'")


def test_a_broken_package_is_no_stack_trace(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{name}.py").write_text(
        "raise OSError('libgomp.so.1: cannot open shared object file')", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    available = find_runtime(name).availability()
    assert (available.usable, available.fix) == (False, f"pip install --force-reinstall {name}")
    assert available.detail.endswith("cannot be imported: libgomp.so.1: cannot open shared object file")


def test_outputs_are_those_of_the_equation_in_every_run(name: str, bundle: Bundle, case: Case) -> None:
    """Also after other inputs, and where threads share the session."""
    other = (case.inputs + 1) % 5
    with find_runtime(name).load(bundle, bundle.graph("sequence")) as session:
        first = session.run({"input": case.inputs})["output"]
        case.assert_within_noise(first)
        assert not np.array_equal(session.run({"input": other})["output"], first)
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: session.run({"input": case.inputs})["output"], range(40)))
    for outputs in results:
        np.testing.assert_array_equal(outputs, first)


def test_a_stream_gives_what_the_sequence_gives(name: str, bundle: Bundle, case: Case) -> None:
    with find_runtime("reference").stream(bundle, "chunk") as right, find_runtime(name).stream(bundle) as stream:
        for _ in range(3):
            expected = right.push(case.inputs[:, :8])
            np.testing.assert_allclose(stream.push(case.inputs[:, :8]), expected, atol=2e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "takes the inputs"),
        ({"input": np.zeros((3, LENGTH), np.int64), "more": np.zeros(1)}, "takes the inputs"),
        ({"input": np.zeros((3, LENGTH), np.int32)}, "must be int64 of shape"),
        ({"input": np.zeros((2, LENGTH), np.int64)}, "must be int64 of shape"),
        ({"input": np.full((3, LENGTH), 5)}, "tokens must be 0 to 4"),
        ({"input": np.full((3, LENGTH), -1)}, "tokens must be 0 to 4"),
        ({"input": np.full((3, LENGTH), 2**62)}, "tokens must be 0 to 4"),
    ],
)
def test_wrong_inputs_are_refused(
    name: str, bundle: Bundle, inputs: Mapping[str, NDArray[np.generic]], message: str
) -> None:
    graph = bundle.graph("sequence")
    with find_runtime(name).load(bundle, graph) as session:
        with pytest.raises(InputError, match=message):
            session.run(inputs)
        with pytest.raises(InputError, match=message):
            session.bind(dict(inputs), {"output": np.zeros((3, 2, 3), np.float32)})()


def test_what_no_graph_of_a_bundle_holds_is_refused_unseen(name: str, bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(bundle.path("model.onnx"))
    model.graph.node[0].op_type = "Loop"
    onnx.save(model, tmp_path / "loop.onnx")
    graph = dataclasses.replace(bundle.graph("sequence"), file="loop.onnx")
    forged = dataclasses.replace(bundle, folder=tmp_path)
    with pytest.raises(InputError, match=r"loop.onnx cannot be loaded: .*Loop"), find_runtime(name).load(forged, graph):
        pass
    (tmp_path / "loop.onnx").write_bytes(b"\x08\x0a")
    with pytest.raises(InputError, match=r"loop.onnx cannot be loaded"), find_runtime(name).load(forged, graph):
        pass


def test_large_graphs_are_named_with_their_size(name: str, bundle: Bundle) -> None:
    runtime, graph = find_runtime(name), dataclasses.replace(bundle.graph("sequence"), nodes=5001)
    assert "5,001 nodes" in runtime.unsupported(bundle, graph)
    with pytest.raises(RuntimeUnavailableError, match="5,001 nodes"), runtime.load(bundle, graph):
        pass


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Case, Bundle]]:
    """A network whose graphs are far from float32 where products are rounded."""
    case = make_case(ModelSpec("gru", (8,), (1,), Continuous(8), Head("last", 4)), 1, 5)
    precisions = ("fp16", "bf16", "int8")
    options = ExportOptions(
        length=5, emissions=("unrolled",), precisions=precisions, engines=(), runtimes=("reference",)
    )
    yield case, export(case.checkpoint(), tmp_path_factory.mktemp("narrow") / "bundle", options).bundle


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_a_caveat_says_where_products_are_not_rounded(
    name: str, narrow: tuple[Case, Bundle], precision: Precision
) -> None:
    case, bundle = narrow
    (graph,) = (graph for graph in bundle.graphs if graph.precision == precision)
    runtime = find_runtime(name)
    if reason := runtime.unsupported(bundle, graph):
        assert (name, precision, reason) == ("tract", "bf16", "tract has no bfloat16")
        return
    with runtime.load(bundle, graph) as session:
        outputs = session.run({"input": case.inputs})["output"]
    wide = run_reference(case.spec, graph_weights(case.weights, precision), case.inputs).outputs
    error, noise = float(np.abs(outputs - wide).max()), float(case.limit().max())
    assert (error <= noise) == (precision == "int8" or bool(runtime.caveat(graph)))
    assert error <= float(case.limit(precision).max())

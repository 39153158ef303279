from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from drnn_core.errors import InputError
from drnn_core.types import TensorInfo
from drnn_deploy import ExportOptions, export
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.onnx_surgery import cut, given_name, known_tensors, opened, read_graph, tensor_infos
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from tests.networks import random_inputs, random_weights

SPEC = ModelSpec("lstm", (3, 2), (1, 2), Continuous(2), Head("last", 2))
INPUTS = {"input": random_inputs(SPEC, 2, 4, 0)}


def model_of(batch: int | None, emission: str) -> onnx.ModelProto:
    return emit(SPEC, random_weights(SPEC, 1), GraphRequest(4, batch, emission))  # type: ignore[arg-type]


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [value.name for value in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(names, feeds), strict=True))


def test_a_named_size_is_free() -> None:
    model = model_of(None, "fused")
    assert tensor_infos(model.graph.input) == (TensorInfo("input", "float32", (-1, 4, 2)),)
    assert tensor_infos(model.graph.output) == (TensorInfo("output", "float32", (-1, 2)),)


@pytest.mark.parametrize("name", ["time_major", "l0/outputs", "l0/t003/c", "l1/t000/h"])
def test_what_is_seen_and_given_back_changes_nothing_and_what_is_changed_does(name: str) -> None:
    """The tensors of a graph become outputs; a cut graph answers by what it is given in their place."""
    model = model_of(2, "unrolled")
    known = known_tensors(model)
    before = run(opened(model, [known[name]]), INPUTS)
    assert before[name].shape == known[name].shape
    np.testing.assert_array_equal(before["output"], run(model, INPUTS)["output"])
    apart = cut(model, [known[name]])
    same = run(apart, {"input": INPUTS["input"], given_name(name): before[name]})
    np.testing.assert_array_equal(same["output"], before["output"])
    other = run(apart, {"input": INPUTS["input"], given_name(name): before[name] + 1})
    np.testing.assert_array_equal(other[name], before[name])
    assert (other["output"] != before["output"]).any()
    onnx.checker.check_model(apart, full_check=True)


@pytest.mark.parametrize("kind", [0, 99])
def test_a_tensor_of_no_type_is_not_known(kind: int) -> None:
    model = model_of(2, "fused")
    odd = model.graph.input.add(name="odd")
    odd.type.tensor_type.elem_type = kind
    odd.type.tensor_type.shape.dim.add(dim_value=1)
    known = known_tensors(model)
    assert "odd" not in known
    assert known["output"] == TensorInfo("output", "float32", (2, 2))
    with pytest.raises(InputError, match="'odd' is no tensor of a type"):
        tensor_infos(model.graph.input)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(length=4, engines=(), runtimes=("reference",))
    return export(Checkpoint(SPEC, random_weights(SPEC, 1)), tmp_path_factory.mktemp("bundle"), options).bundle


def test_a_file_that_is_no_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"model\.onnx cannot be loaded: it is not an ONNX model"):
        read_graph(dataclasses.replace(bundle, folder=tmp_path), bundle.graphs[0])


def test_constants_in_another_file_are_refused(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where onnx looks for the other file
    model = read_graph(bundle, bundle.graphs[0])
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(InputError, match="keeps constants in another file"):
        read_graph(dataclasses.replace(bundle, folder=tmp_path), bundle.graphs[0])

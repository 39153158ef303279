"""Engines from NVIDIA's own parser and compiler, ahead of time for compute capability 8.6: no GPU is needed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from drnn_core.errors import EngineError, InputError
from drnn_core.types import TensorInfo
from drnn_export.engine.config import BuildControls
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path, this_platform
from tests.export.engine.small_builds import (
    FLOAT,
    ONE_BUILDER,
    SM86,
    B,
    C,
    H,
    Size,
    T,
    build,
    files,
    one_node,
    products,
    recurrent,
    rtx,
    save,
    weights,
)
from tests.export.lint.cases import NOT_COMPILED


@ONE_BUILDER
@pytest.mark.parametrize("operator", ["RNN", "GRU", "LSTM"])
def test_an_engine_comes_with_a_sidecar_that_describes_it(operator: str, tmp_path: Path) -> None:
    graph = recurrent(tmp_path, operator)
    engine = tmp_path / "engines" / "model.engine"
    sidecar = build(graph, engine)
    assert Sidecar.read(sidecar_path(engine)) == sidecar
    assert files(engine.parent) == ["model.engine", "model.engine.json"]
    assert sidecar.engine_bytes == engine.stat().st_size > 1000
    assert sidecar.engine_sha256 == hashlib.sha256(engine.read_bytes()).hexdigest()
    assert sidecar.onnx_sha256 == hashlib.sha256(graph.read_bytes()).hexdigest()
    assert (sidecar.onnx, sidecar.flavour, sidecar.version) == ("model.onnx", "tensorrt-rtx", rtx.__version__)
    assert (sidecar.platform, sidecar.compute_capabilities) == (this_platform(), SM86)
    assert (sidecar.ahead_of_time, sidecar.driver, sidecar.batch) == (True, None, None)
    assert sidecar.flags == {"tf32": False, "strongly_typed": True, "version_compatible": False}
    assert sidecar.inputs == (TensorInfo("input", "float32", (T, B, C)),)
    assert sidecar.outputs == (TensorInfo("output", "float32", (T, 1, B, H)),)
    assert 0 < sidecar.build_seconds < 60


def test_the_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    graph = recurrent(tmp_path)
    engines = [tmp_path / "a.engine", tmp_path / "b.engine"]
    for engine in engines:
        build(graph, engine)
    assert engines[0].read_bytes() == engines[1].read_bytes()


@ONE_BUILDER
def test_tf32_is_in_the_engine_only_when_asked_for(tmp_path: Path) -> None:
    graph, engine = products(tmp_path), tmp_path / "model.engine"
    exact = build(graph, engine)
    rounded = build(graph, engine, controls=BuildControls(tf32=True))
    assert (exact.flags["tf32"], rounded.flags["tf32"]) == (False, True)
    assert exact.engine_sha256 != rounded.engine_sha256


@ONE_BUILDER
def test_tokens_keep_their_type(tmp_path: Path) -> None:
    gather = helper.make_node("Gather", ["table", "input"], ["output"], "embedding")
    graph = save(
        tmp_path / "model.onnx",
        [gather],
        {"input": (TensorProto.INT64, [B, T])},
        {"output": (FLOAT, [B, T, H])},
        {"table": weights(5, H)},
    )
    sidecar = build(graph, tmp_path / "e", controls=BuildControls(workspace_mib=16))
    assert sidecar.inputs[0].dtype == "int64"


@ONE_BUILDER
def test_a_free_batch_is_built_for_a_range(tmp_path: Path) -> None:
    graph = recurrent(tmp_path, batch="batch")
    sidecar = build(graph, tmp_path / "e", batch=(1, 2, 8))
    assert sidecar.batch == (1, 2, 8)
    assert sidecar.inputs[0].shape == (T, -1, C)
    assert Sidecar.read(tmp_path / "e.json") == sidecar


@pytest.mark.parametrize(
    ("axis", "batch", "words"),
    [
        ("batch", None, "smallest, usual and largest"),
        ("batch", (0, 1, 2), "from 1 up"),
        ("batch", (1, 9, 8), "smallest <= usual <= largest"),
        (B, (1, 2, 8), "fixed batch"),
    ],
)
def test_batch_sizes_must_suit_the_graph(
    axis: Size, batch: tuple[int, int, int] | None, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        build(recurrent(tmp_path, batch=axis), tmp_path / "e", batch=batch)
    assert files(tmp_path) == ["model.onnx"]


@ONE_BUILDER
@pytest.mark.parametrize(("operator", "domain"), [("Det", ""), ("Frobnicate", "other.domain")])
def test_an_unsupported_operator_is_named_with_its_node(operator: str, domain: str, tmp_path: Path) -> None:
    engine = tmp_path / "model.engine"
    engine.write_bytes(b"the engine before")
    with pytest.raises(EngineError, match=rf"node 'l0/culprit' \({operator}\): \w+") as caught:
        build(one_node(tmp_path, operator, domain), engine)
    assert "drnn-export" in caught.value.fix
    assert engine.read_bytes() == b"the engine before"
    assert files(tmp_path) == ["model.engine", "model.onnx"]


def test_what_the_compiler_refuses_reaches_the_user(tmp_path: Path) -> None:
    onnx.save(NOT_COMPILED["Tanh of INT8"], tmp_path / "model.onnx")
    with pytest.raises(EngineError, match=r"the compiler does not take it\n .*infer_type"):
        build(tmp_path / "model.onnx", tmp_path / "e")


@pytest.mark.parametrize("kept", [0, 10, 200, -5])
def test_a_file_cut_short_is_refused(kept: int, tmp_path: Path) -> None:
    graph = recurrent(tmp_path)
    graph.write_bytes(graph.read_bytes()[:kept])
    with pytest.raises(InputError, match="cut short"):
        build(graph, tmp_path / "e")


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize("kind", [0, 99, "sequence"])
def test_an_edge_that_is_no_tensor_of_numbers_is_refused(side: str, kind: int | str, tmp_path: Path) -> None:
    graph = recurrent(tmp_path)
    model = onnx.load(graph)
    value = getattr(model.graph, side)[0]
    if kind == "sequence":
        value.CopyFrom(helper.make_tensor_sequence_value_info(side, FLOAT, [B]))
    else:
        value.type.tensor_type.elem_type = kind
    onnx.save(model, graph)
    with pytest.raises(InputError, match=f"model.onnx: the input or output '{side}' is no tensor of a type") as refused:
        build(graph, tmp_path / "e")
    assert "drnn-export" in refused.value.fix


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        build(tmp_path / "model.onnx", tmp_path / "e")


@ONE_BUILDER
def test_batch_first_recurrence_is_refused(tmp_path: Path) -> None:
    """NVIDIA's parser reads it as time-major without a word."""
    with pytest.raises(EngineError, match=r"'l0/op' \(GRU\) has layout=1"):
        build(recurrent(tmp_path, layout=1), tmp_path / "e")


@ONE_BUILDER
@pytest.mark.parametrize("where", ["input", "initializer"])
def test_float64_is_refused(where: str, tmp_path: Path) -> None:
    """NVIDIA's parser narrows it without a word."""
    wide: tuple[int, list[Size]] = (TensorProto.DOUBLE, [H])
    add = helper.make_node("Add", ["input", "bias"], ["output"], "add")
    graph = save(tmp_path / "model.onnx", [add], {"input": wide}, {"output": wide}, {"bias": weights(H).astype("f8")})
    if where == "initializer":
        model = onnx.load(graph)
        model.graph.input[0].type.tensor_type.elem_type = FLOAT
        onnx.save(model, graph)
    with pytest.raises(EngineError, match=f"'{'input' if where == 'input' else 'bias'}' is float64"):
        build(graph, tmp_path / "e")


@ONE_BUILDER
def test_an_output_other_than_declared_is_refused(tmp_path: Path) -> None:
    graph = recurrent(tmp_path)
    model = onnx.load(graph)
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = T + 1
    onnx.save(model, graph)
    with pytest.raises(EngineError, match=rf"declares .*\({T + 1}, 1, {B}, {H}\).*makes .*\({T}, 1, {B}, {H}\)"):
        build(graph, tmp_path / "e")
    assert files(tmp_path) == ["model.onnx"]


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write"):
        build(recurrent(tmp_path), tmp_path / "file" / "e")

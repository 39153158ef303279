"""The second build of the same graph is none, and nothing damaged or foreign is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from drnn_core.errors import EngineError, InputError
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.engine import build as tensorrt
from drnn_export.engine.build import NotBegunError, build_engine
from drnn_export.engine.config import BuildControls
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path
from tests.networks import random_weights

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
pytestmark = pytest.mark.usefixtures("one_builder")

TF32 = BuildControls(tf32=True)
SPEC = ModelSpec("rnn", (3,), (1,), Continuous(1), Head("last", 2))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(emit(SPEC, random_weights(SPEC, 0), GraphRequest(2, 1, "unrolled")).SerializeToString())
    return path


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The builds that really happen."""
    real, found = tensorrt.run_builder, []

    def counting(onnx: Path, *arguments: object) -> object:
        found.append(onnx.name)
        return real(onnx, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tensorrt, "run_builder", counting)
    return found


def build(graph: Path, name: str = "model.engine", **changes: object) -> Sidecar:
    options = {"compute_capabilities": ("8.6",), "cache": graph.parent / "cache", **changes}
    return build_engine(graph, graph.parent / name, "tensorrt-rtx", **options)  # type: ignore[arg-type]


def entry(graph: Path) -> Path:
    (found,) = (graph.parent / "cache").glob("*.engine")
    return found


def test_what_would_take_too_long_is_not_begun_and_taken_where_it_was_built_before(
    graph: Path, builds: list[str]
) -> None:
    with pytest.raises(NotBegunError, match="it would take about 700 s, over the limit of 600 s"):
        build(graph, estimate=700.0)
    assert builds == [] and not (graph.parent / "model.engine").exists()
    build(graph)
    assert build(graph, "again.engine", estimate=700.0).build_seconds == 0
    with pytest.raises(NotBegunError):
        build(graph, controls=TF32, estimate=700.0)
    assert builds == ["model.onnx"]


@pytest.mark.parametrize("estimate", [0.0, 700.0])
def test_a_graph_is_checked_whatever_the_cache_holds(
    estimate: float, graph: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version, which did not know all rules, may have built it."""

    def too_large(*_: object) -> None:
        raise InputError("the model cannot be checked: it takes over 15 s", "Give the path of an .onnx file.")

    build(graph)
    monkeypatch.setattr("drnn_export.lint.linter.lint_model", too_large)
    for cache in ("cache", "empty"):
        with pytest.raises(EngineError, match=r"model\.onnx is not built unchecked, and the model cannot") as refused:
            build(graph, "again.engine", estimate=estimate, cache=graph.parent / cache)
        assert "--engine none" in refused.value.fix
    assert builds == ["model.onnx"]


def test_second_build_is_taken_from_the_cache(graph: Path, builds: list[str]) -> None:
    first, second = build(graph), build(graph, "again.engine")
    assert builds == ["model.onnx"]
    assert (graph.parent / "again.engine").read_bytes() == (graph.parent / "model.engine").read_bytes()
    assert Sidecar.read(sidecar_path(graph.parent / "again.engine")) == second
    assert first.build_seconds > 0 == second.build_seconds
    assert second.kernels == first.kernels


@pytest.mark.parametrize(
    "change", [{"controls": TF32}, {"compute_capabilities": ("8.9",)}, {"controls": BuildControls(workspace_mib=16)}]
)
def test_other_flags_are_another_engine(change: dict[str, object], graph: Path, builds: list[str]) -> None:
    build(graph)
    build(graph, **change)
    assert len(builds) == 2
    assert len(list((graph.parent / "cache").glob("*.engine"))) == 2


def test_other_weights_are_another_engine(graph: Path, builds: list[str]) -> None:
    build(graph)
    graph.write_bytes(emit(SPEC, random_weights(SPEC, 1), GraphRequest(2, 1, "unrolled")).SerializeToString())
    build(graph)
    assert len(builds) == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flip,
        lambda path: path.write_bytes(b""),
        lambda path: sidecar_path(path).unlink(),
        lambda path: sidecar_path(path).write_text("{", encoding="utf-8"),
        lambda path: sidecar_path(path).write_text(
            sidecar_path(path).read_text(encoding="utf-8").replace('"onnx_sha256": "', '"onnx_sha256": "0')[:-1],
            encoding="utf-8",
        ),
    ],
)
def test_damaged_entry_is_built_again(damage: Callable[[Path], object], graph: Path, builds: list[str]) -> None:
    build(graph)
    whole = entry(graph).read_bytes()
    damage(entry(graph))
    again = build(graph)
    assert len(builds) == 2
    assert again.build_seconds > 0
    assert entry(graph).read_bytes() == whole
    build(graph)
    assert len(builds) == 2


def test_engine_of_another_graph_under_the_same_key_is_not_taken(graph: Path, builds: list[str]) -> None:
    build(graph)
    mine = entry(graph)
    graph.write_bytes(emit(SPEC, random_weights(SPEC, 1), GraphRequest(2, 1, "unrolled")).SerializeToString())
    build(graph)
    (other,) = (path for path in mine.parent.glob("*.engine") if path != mine)
    for source, target in ((mine, other), (sidecar_path(mine), sidecar_path(other))):
        target.write_bytes(source.read_bytes())
    build(graph)
    assert len(builds) == 3


def test_cache_that_cannot_be_written_to_does_not_matter(graph: Path) -> None:
    (graph.parent / "file").write_text("no folder", encoding="utf-8")
    assert build(graph, cache=graph.parent / "file").build_seconds > 0
    assert (graph.parent / "model.engine").is_file()


def test_oldest_entries_go_where_the_cache_is_full(
    graph: Path, builds: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build(graph)
    most = entry(graph).stat().st_size + sidecar_path(entry(graph)).stat().st_size + 10
    monkeypatch.setattr("drnn_core.cache.limit", lambda _: most)
    build(graph, controls=TF32)
    assert len(list((graph.parent / "cache").iterdir())) == 2
    build(graph, controls=TF32)
    assert len(builds) == 2


def test_a_graph_that_keeps_weights_elsewhere_is_refused(graph: Path) -> None:
    """The digest of the file would not change with them."""
    onnx.save(onnx.load(graph), graph, save_as_external_data=True, location="model.data", size_threshold=0)
    with pytest.raises(InputError, match="keeps weights in another file"):
        build(graph)


def test_a_function_that_keeps_weights_elsewhere_is_refused(graph: Path) -> None:
    model, weights = onnx.load(graph), numpy_helper.from_array(np.ones(3, np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="model.data")
    held = helper.make_node("Constant", [], ["w"], value=weights)
    model.functions.append(helper.make_function("mine", "F", [], ["w"], [held], [helper.make_opsetid("", 17)]))
    onnx.save(model, graph)
    with pytest.raises(InputError, match=r"keeps weights in another file \('w'\)"):
        build(graph)

"""Engines with the project's kernel inside, by NVIDIA's parser and compiler, for four GPU generations in one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from drnn_core.errors import EngineError, InputError
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.engine import process
from drnn_export.engine.build import build_engine
from drnn_models.cells import Cell
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle.functions import DOMAIN
from drnn_runtimes.plugin.carried import kernel_version
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path
from tests.networks import random_weights
from tests.nightly import combinations
from tests.runtimes.cuda_kernel.networks_of_images import no_nvrtc
from tests.runtimes.plugin.engines import CAPABILITIES, SPEC, bundle_with_kernel, kernel, pretend_images

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")

PAPER = (20,) * 9, tuple(2**i for i in range(9))
FORMS = {
    "sequence": {"steps": 784, "form": "sequence"},
    "chunk": {"steps": 32, "form": "chunk"},
    "step": {"steps": 1, "form": "step"},
}


@pytest.mark.parametrize(
    ("cell", "form", "precision", "batch"),
    combinations(get_args(Cell), list(FORMS), ["fp32", "fp16"], [1, None], by_day=9),
)
def test_one_engine_holds_the_kernel_for_four_gpus(
    cell: Cell,
    form: str,
    precision: str,
    batch: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    pretend_images(monkeypatch)
    spec = ModelSpec(cell, *PAPER, Continuous(1), Head("last", 10))
    request = GraphRequest(batch=batch, emission="plugin", precision=precision, **FORMS[form])  # type: ignore[arg-type]
    bundle, sidecar = bundle_with_kernel(tmp_path, spec, request)
    what = f"TensorRT-RTX, kernel inside, {cell}, {bundle.graphs[0].name}, batch {batch}"
    record_property(what, f"{sidecar.build_seconds:.2f} s, {sidecar.engine_bytes:,} bytes")
    assert sidecar.build_seconds < 5
    assert (sidecar.loops, sidecar.kernel is not None) == (0, True)
    data = (tmp_path / "model.engine").read_bytes()
    images = kernel(spec, request).images
    assert all(image in data for image in images.values())
    assert sidecar.kernel is not None
    assert [image.compute_capability for image in sidecar.kernel.images] == list(CAPABILITIES)
    assert (sidecar.kernel.plugin, sidecar.kernel.kernel) == (f"{DOMAIN}::DilatedStack", kernel_version())
    assert Sidecar.read(sidecar_path(tmp_path / "model.engine")) == sidecar


def test_the_same_kernel_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_images(monkeypatch)
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        digests.append(bundle_with_kernel(tmp_path / name)[1].engine_sha256)
    assert digests[0] == digests[1]


def test_without_the_kernel_the_same_file_becomes_loops(tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    spec = ModelSpec("lstm", *PAPER, Continuous(1), Head("last", 10))
    graph.write_bytes(emit(spec, random_weights(spec, 0), GraphRequest(784, 1, "plugin")).SerializeToString())
    sidecar = build_engine(graph, tmp_path / "model.engine", "tensorrt-rtx", compute_capabilities=("8.6",))
    assert sidecar.kernel is None
    assert sidecar.loops


@pytest.mark.nightly
@pytest.mark.skipif(bool(no_nvrtc()), reason=no_nvrtc())
def test_with_nvidias_compiler_the_images_are_the_same_too(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    spec = ModelSpec("lstm", *PAPER, Continuous(1), Head("last", 10))
    _, sidecar = bundle_with_kernel(tmp_path, spec, GraphRequest(784, None, "plugin"))
    record_property("TensorRT-RTX, kernel of NVRTC inside", f"{sidecar.engine_bytes:,} bytes")
    assert sidecar.kernel is not None
    made = kernel(spec, GraphRequest(784, None, "plugin")).digests
    assert [image.sha256 for image in sidecar.kernel.images] == [made[name] for name in ("80", "86", "89", "120")]
    assert all(20_000 < image.bytes < 200_000 for image in sidecar.kernel.images)


def test_a_graph_without_the_node_gets_no_kernel(tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    graph.write_bytes(emit(SPEC, random_weights(SPEC, 0), GraphRequest(16, 1, "fused")).SerializeToString())
    with pytest.raises(InputError, match="no stack of layers as one node"):
        build_engine(graph, tmp_path / "model.engine", "tensorrt-rtx", with_kernel=True)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


def test_a_parser_that_takes_the_function_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As TensorRT 10.3 does where a function has the plugin's name; here the node does not ask for the plugin."""
    pretend_images(monkeypatch)
    model = emit(SPEC, random_weights(SPEC, 0), GraphRequest(16, 1, "plugin"))
    node = model.graph.node[0]
    kept = [attribute for attribute in node.attribute if attribute.name != "plugin_namespace"]
    del node.attribute[:]
    node.attribute.extend(kept)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EngineError, match="took the operators of the stack in place of the plugin"):
        build_engine(
            tmp_path / "model.onnx",
            tmp_path / "model.engine",
            "tensorrt-rtx",
            compute_capabilities=("8.6",),
            with_kernel=True,
        )


def test_a_plugin_of_another_network_is_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_images(monkeypatch)
    other = kernel(SPEC, GraphRequest(16, 1, "plugin", prune=False))
    monkeypatch.setattr("drnn_export.engine.build.kernel_of", lambda *_: other)
    with pytest.raises(EngineError, match="of another network than the kernel") as refused:
        bundle_with_kernel(tmp_path)
    assert refused.value.exit_code == 4


def test_the_builders_process_finds_the_library_that_the_parser_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, str] | None] = []

    def answered(module: str, request: object, limit: float, environment: dict[str, str] | None = None) -> object:
        given.append(environment)
        assert environment is not None
        folder = environment["LD_LIBRARY_PATH"].split(":")[0]
        assert (Path(folder) / "libtensorrt_rtx.so").resolve().is_file()
        return {"error": "", "details": []}

    monkeypatch.setattr(process, "ask", answered)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/elsewhere")
    with pytest.raises(EngineError):
        process.run_builder(Path("model.onnx"), {}, "TensorRT-RTX", 1.0)
    assert given[0] is not None
    assert given[0]["LD_LIBRARY_PATH"].endswith(":/elsewhere")
    assert not Path(given[0]["LD_LIBRARY_PATH"].split(":")[0]).exists()

"""ONNX Runtime's providers: their options, and that a node which lands elsewhere is named and refused."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from drnn_core import gpu
from drnn_core.errors import RuntimeUnavailableError
from drnn_core.types import Availability
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.onnxrt import providers
from drnn_runtimes.onnxrt import runtime as onnxruntime_module
from drnn_runtimes.onnxrt.providers import (
    NO_FALLBACK,
    PROVIDERS,
    RECORD,
    TF32,
    Device,
    check_placement,
    describe,
    elsewhere,
    missing_tensorrt,
    prepared,
    provider_settings,
)
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from tests.networks import make_case

SPEC = ModelSpec("gru", (4, 4), (1, 2), Continuous(2), Head("last", 3))
CPU = PROVIDERS["cpu"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    options = ExportOptions(length=9, emissions=("fused", "unrolled"), engines=(), runtimes=("onnxruntime-cpu",))
    return export(make_case(SPEC, 1, 9).checkpoint(), tmp_path_factory.mktemp("export") / "bundle", options).bundle


@pytest.fixture
def some_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is not here, with all of CUDA's libraries."""
    monkeypatch.setattr(gpu, "gpu", lambda: gpu.Gpu("some GPU", "8.6", "CUDA 13.0"))
    monkeypatch.setattr(onnxruntime_module, "load_cuda", tuple)


def opened(bundle: Bundle, graph: str, *, record: bool = True) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if record:
        options.add_session_config_entry(RECORD, "1")
    return onnxruntime.InferenceSession(str(bundle.path(bundle.graph(graph).file)), options, providers=[CPU])


@pytest.mark.parametrize("graph", ["sequence/fused", "sequence/unrolled"])
def test_every_node_of_a_graph_is_read_back_and_is_where_it_should_be(bundle: Bundle, graph: str) -> None:
    import onnx

    session = opened(bundle, graph)
    assert elsewhere(session, CPU) == []
    check_placement(session, CPU, "some runtime")
    nodes = onnx.load(bundle.path(bundle.graph(graph).file)).graph.node
    recurrent = {f"{node.name} ({node.op_type}) on {CPU}" for node in nodes if node.op_type in ("GRU", "Sigmoid")}
    assert recurrent
    assert recurrent <= set(elsewhere(session, "another provider") or ())


def test_a_session_on_another_provider_is_refused() -> None:
    session = types.SimpleNamespace(get_providers=lambda: [CPU])
    with pytest.raises(RuntimeUnavailableError, match=f"some runtime fell back to {CPU}") as refused:
        check_placement(session, PROVIDERS["cuda"], "some runtime")
    assert refused.value.exit_code == 3


def placed(**nodes: list[str]) -> Any:
    """A session whose nodes, all of one operator, are on these providers."""
    parts = [
        types.SimpleNamespace(
            ep_name=provider,
            get_nodes=lambda names=names: [types.SimpleNamespace(name=name, op_type="Relu") for name in names],
        )
        for provider, names in nodes.items()
    ]
    return types.SimpleNamespace(
        get_providers=lambda: [*nodes], get_provider_graph_assignment_info=lambda: parts if nodes else []
    )


def test_a_mixed_placement_is_refused_and_its_nodes_are_named() -> None:
    assert elsewhere(placed(CUDA=["a", "b"]), "CUDA") == []
    mixed = placed(CUDA=["a"], CPU=["l0/odd", ""], OTHER=["c"])
    assert elsewhere(mixed, "CUDA") == ["l0/odd (Relu) on CPU", "unnamed (Relu) on CPU", "c (Relu) on OTHER"]
    with pytest.raises(RuntimeUnavailableError, match=r"3 nodes did not land on CUDA: l0/odd \(Relu\) on CPU, unnamed"):
        check_placement(mixed, "CUDA", "some runtime")


def test_long_lists_are_cut_and_counted() -> None:
    assert describe([f"node {number}" for number in range(1005)], "CUDA").endswith("node 4 and 1,000 more")


def test_a_session_without_any_node_proves_nothing() -> None:
    empty = types.SimpleNamespace(get_providers=lambda: ["CUDA"], get_provider_graph_assignment_info=list)
    with pytest.raises(RuntimeUnavailableError, match="ONNX Runtime assigned none"):
        check_placement(empty, "CUDA", "some runtime")


def test_releases_that_do_not_tell_are_known_and_not_taken_for_a_pass() -> None:
    assert elsewhere(types.SimpleNamespace(), CPU) is None


@pytest.mark.usefixtures("some_gpu")
@pytest.mark.skipif(gpu.gpu() is not None, reason="this machine has a GPU")
def test_a_real_fall_back_to_the_cpu_is_refused_with_the_names_of_nodes(
    bundle: Bundle, capfd: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime, asked for CUDA where there is none, goes to the CPU with a line in its log."""
    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime was built without CUDA")
    runtime = OnnxRuntime("cuda")
    assert "CUDA on some GPU" in runtime.availability().detail
    words = rf"onnxruntime-cuda cannot run .*l0/gru \(GRU\) on {CPU}"
    with pytest.raises(RuntimeUnavailableError, match=words), runtime.load(bundle, bundle.graphs[0]):
        pass
    capfd.readouterr()  # ONNX Runtime's own log


def test_a_fall_back_is_refused_also_where_onnx_runtime_lets_it_pass(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second line of defence: a session that came to be on the CPU although another provider was asked for."""
    runtime = OnnxRuntime("cuda")
    monkeypatch.setattr(runtime, "_session", lambda *_, **__: opened(bundle, "sequence/fused"))
    with pytest.raises(RuntimeUnavailableError, match=f"fell back to {CPU}"):
        runtime._placed_session(bundle, bundle.graphs[0])


@pytest.mark.parametrize("device", ["cpu", "cuda", "tensorrt"])
def test_sessions_record_placement_and_accelerators_forbid_the_cpu(
    bundle: Bundle, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda _, options, **others: seen.append((options, others)) or "session"
    )
    assert OnnxRuntime(device)._session("some.onnx", {"use_tf32": "0"}) == "session"
    ((options, others),) = seen
    assert options.get_session_config_entry(RECORD) == "1"
    assert others == {"providers": [(PROVIDERS[device], {"use_tf32": "0"})], "enable_fallback": 0}
    if device == "cpu":
        with pytest.raises(RuntimeError):
            options.get_session_config_entry(NO_FALLBACK)
    else:
        assert options.get_session_config_entry(NO_FALLBACK) == "1"


def settings(graph: GraphInfo, sha256: str = "a" * 64, **changes: Any) -> dict[str, str]:
    return provider_settings("tensorrt", dataclasses.replace(graph, **changes), sha256)


def test_tensorrt_gets_the_types_of_the_graph_and_no_others(bundle: Bundle) -> None:
    graph = bundle.graphs[0]
    assert provider_settings("cpu", graph, "") == {}
    assert provider_settings("cuda", graph, "") == {"use_tf32": "0"}
    narrow = {precision: settings(graph, precision=precision) for precision in ("fp32", "fp16", "bf16")}
    assert [found["trt_fp16_enable"] for found in narrow.values()] == ["0", "1", "0"]
    assert [found.get("trt_bf16_enable", "0") for found in narrow.values()] == ["0", "0", "1"]
    assert {found["trt_int8_enable"] for found in narrow.values()} == {"0"}
    assert "int8" in OnnxRuntime("tensorrt").unsupported(bundle, dataclasses.replace(graph, precision="int8"))
    assert OnnxRuntime("cuda").unsupported(bundle, dataclasses.replace(graph, precision="int8")) == ""


def test_a_free_batch_comes_with_its_profile(bundle: Bundle) -> None:
    graph = bundle.graphs[0]
    assert not any("profile" in name for name in settings(graph))
    inputs = tuple(dataclasses.replace(tensor, shape=(-1, *tensor.shape[1:])) for tensor in graph.inputs)
    found = settings(graph, batch=None, inputs=inputs, profile=(1, 8, 64))
    shown = [found[f"trt_profile_{which}_shapes"] for which in ("min", "opt", "max")]
    assert shown == ["input:1x9x2", "input:8x9x2", "input:64x9x2"]


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRNN_CACHE", str(tmp_path))
    return tmp_path / "onnxruntime"


def test_engines_of_other_weights_are_never_taken(bundle: Bundle, empty_cache: Path) -> None:
    """ONNX Runtime's own names of engines do not depend on the weights."""
    graph = bundle.graphs[0]
    folders = [
        Path(settings(graph, sha256, precision=precision)["trt_engine_cache_path"])
        for sha256 in ("a" * 64, "b" * 64)
        for precision in ("fp32", "fp16")
    ]
    assert len(set(folders)) == 4
    assert {folder.parent for folder in folders} == {empty_cache}
    assert all(folder.is_dir() for folder in folders)
    assert settings(graph)["trt_engine_cache_path"] == str(folders[0])


def test_the_cache_does_not_grow_without_bound(
    bundle: Bundle, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drnn_core.cache.limit", lambda _: 250)
    graph, made = bundle.graphs[0], []
    for age, sha256 in enumerate("abc"):
        folder = Path(settings(graph, sha256 * 64)["trt_engine_cache_path"])
        (folder / "engine").write_bytes(bytes(100))
        for path in (folder / "engine", folder):
            os.utime(path, (age, age))
        made.append(folder)
    settings(graph, "d" * 64)
    assert [folder.is_dir() for folder in made] == [False, True, True]


@pytest.fixture
def no_override(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    yield


@pytest.mark.usefixtures("no_override")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_tf32_is_off_before_the_libraries_load_and_the_environment_is_as_before(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    monkeypatch.setattr(providers, "load_cuda", lambda: seen.append(os.environ.get(TF32)))
    with pytest.raises(ZeroDivisionError), prepared(device):
        assert os.environ[TF32] == "0"
        raise ZeroDivisionError
    assert TF32 not in os.environ
    with prepared("cpu"):
        assert TF32 not in os.environ
    monkeypatch.setenv(TF32, "1")
    with prepared(device):
        assert os.environ[TF32] == "1"
    assert os.environ[TF32] == "1"
    assert seen == ["0", "1"]


@pytest.mark.usefixtures("no_override", "some_gpu")
def test_a_session_on_cuda_is_opened_and_used_without_tf32(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    runtime = OnnxRuntime("cuda")
    monkeypatch.setattr(providers, "load_cuda", tuple)
    monkeypatch.setattr(runtime, "availability", lambda: Availability(True, "made up"))
    monkeypatch.setattr(
        runtime, "_placed_session", lambda *_: seen.append(os.environ.get(TF32)) or opened(bundle, "sequence")
    )
    with runtime.load(bundle, bundle.graphs[0]):
        seen.append(os.environ.get(TF32))
    assert seen == ["0", "0"]
    assert TF32 not in os.environ


def test_the_providers_own_file_says_which_libraries_it_wants() -> None:
    if PROVIDERS["tensorrt"] not in onnxruntime.get_available_providers() or sys.platform != "linux":
        pytest.skip("this ONNX Runtime has no TensorRT provider, or no such file")
    assert {name.partition(".so.")[0] for name in providers._linked()} >= {"libnvinfer", "libnvonnxparser"}


@pytest.mark.usefixtures("some_gpu")
def test_missing_libraries_are_named_with_the_release_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_linked", lambda: ("libnvinfer.so.99", "libm.so.6"))
    assert missing_tensorrt() == ("libnvinfer.so.99",)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDERS["tensorrt"]])
    available = OnnxRuntime("tensorrt").availability()
    assert not available.usable
    assert "cannot load libnvinfer.so.99" in available.detail
    assert "'tensorrt==99.*'" in available.fix
    monkeypatch.setattr(providers, "_linked", lambda: ("libm.so.6",))
    assert OnnxRuntime("tensorrt").availability().detail.endswith("TensorRT on some GPU")


@pytest.mark.skipif(sys.platform != "linux", reason="looks for a .so")
def test_libraries_that_pip_installed_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "libnvinfer_for_this_test.so.10"
    assert not providers._loads(name)
    folder = tmp_path / "tensorrt_libs"
    folder.mkdir()
    (folder / "__init__.py").touch()
    some = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_shared.so"
    shutil.copyfile(some, folder / name)
    monkeypatch.syspath_prepend(tmp_path)
    assert providers._loads(name)

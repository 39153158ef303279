"""Engines from NVIDIA's own parser and compiler, ahead of time for compute capability 8.6: no GPU is needed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from drnn_core.errors import EngineError, InputError
from drnn_core.gpu import Gpu, gpu, gpu_reason
from drnn_core.types import TensorInfo
from drnn_export.engine.build import (
    AHEAD_OF_TIME,
    backend_availability,
    build_engine,
    build_targets,
    known_compute_capabilities,
)
from drnn_export.engine.config import BuildControls
from drnn_runtimes.trt.bindings import tensorrt_module
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path, this_platform
from tests.export.lint.cases import NOT_COMPILED

rtx = pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")

ONE_BUILDER = pytest.mark.usefixtures("one_builder")
T, B, C, H = 12, 2, 3, 4
FLOAT = TensorProto.FLOAT
SM86 = ("8.6",)
SLOW = 6000  # steps of `products` whose build takes far longer than any test waits
Size = int | str


def weights(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[Size]]],
    outputs: dict[str, tuple[int, list[Size]]],
    initializers: Mapping[str, NDArray[np.floating]] | None = None,
) -> Path:
    """Write a graph of opset 13; inputs and outputs are name -> (type, shape)."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in (initializers or {}).items()],
    )
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("other.domain", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def recurrent(folder: Path, operator: str = "GRU", batch: Size = B, **attributes: Any) -> Path:
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[operator]
    node = helper.make_node(operator, ["input", "W", "R"], ["output"], "l0/op", hidden_size=H, **attributes)
    return save(
        folder / "model.onnx",
        [node],
        {"input": (FLOAT, [T, batch, C])},
        {"output": (FLOAT, [T, 1, batch, H])},
        {"W": weights(1, gates * H, C), "R": weights(1, gates * H, H)},
    )


def products(folder: Path, steps: int = 1) -> Path:
    """A chain of `steps` times MatMul and Tanh."""
    names = ["input", *(f"h{step}" for step in range(1, steps)), "output"]
    nodes = []
    for step, (before, after) in enumerate(itertools.pairwise(names)):
        nodes.append(helper.make_node("MatMul", [before, "R"], [f"p{step}"], f"l0/t{step}/product"))
        nodes.append(helper.make_node("Tanh", [f"p{step}"], [after], f"l0/t{step}/tanh"))
    shape: list[Size] = [B, 32]
    return save(
        folder / "model.onnx", nodes, {"input": (FLOAT, shape)}, {"output": (FLOAT, shape)}, {"R": weights(32, 32)}
    )


def one_node(folder: Path, operator: str, domain: str = "") -> Path:
    kind: tuple[int, list[Size]] = (FLOAT, [2, 2])
    nodes = [
        helper.make_node("Tanh", ["input"], ["middle"], "l0/fine"),
        helper.make_node(operator, ["middle"], ["output"], "l0/culprit", domain=domain),
    ]
    return save(folder / "model.onnx", nodes, {"input": kind}, {"output": kind})


def build(graph: Path, engine: Path, **options: Any) -> Sidecar:
    """Build ahead of time, so that a GPU of this machine makes no difference."""
    return build_engine(graph, engine, "tensorrt-rtx", **{"compute_capabilities": SM86, **options})


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


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
    heard: list[str] = []
    sidecar = build(graph, tmp_path / "e", controls=BuildControls(workspace_mib=16), on_message=heard.append)
    assert sidecar.inputs[0].dtype == "int64"
    assert any("Int64" in message for message in heard)


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


def test_the_builder_imports_nothing_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    build(products(tmp_path), Path("model.engine"))
    assert files(tmp_path) == ["json.py", "model.engine", "model.engine.json", "model.onnx"]


def test_the_builder_has_its_callers_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a source tree need not be installed."""
    (tmp_path / "drnn_core.py").write_text("raise SystemExit('found on the path of the caller')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineError, match="exit code 1\nfound on the path of the caller"):
        build(products(tmp_path), tmp_path / "model.engine")


def test_what_a_library_prints_is_not_taken_for_the_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chatty = "import sys; print('hello'); del sys.path[0], sys.modules['tensorrt_rtx']; import tensorrt_rtx"
    (tmp_path / "tensorrt_rtx.py").write_text(chatty, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    build(products(tmp_path), tmp_path / "model.engine")


def test_a_build_past_its_time_limit_is_stopped(tmp_path: Path) -> None:
    graph = products(tmp_path, steps=SLOW)
    start = time.monotonic()
    with pytest.raises(EngineError, match=r"after 0\.7 s and was stopped"):
        build(graph, tmp_path / "e", time_limit=0.7)
    assert time.monotonic() - start < 10
    assert files(tmp_path) == ["model.onnx"]


def builders_of(caller: int) -> set[int]:
    """The builders that a process has started."""
    builders = set()
    with contextlib.suppress(OSError):  # threads and children come and go meanwhile
        for thread in Path(f"/proc/{caller}/task").iterdir():
            for child in map(int, (thread / "children").read_text(encoding="utf-8").split()):
                if b"drnn_export.engine.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    builders.add(child)
    return builders


def next_builder_of(caller: int, besides: set[int] | frozenset[int] = frozenset()) -> int:
    """The process that builds for another one, once it is at work; `besides`: those that were there before."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if new := builders_of(caller) - besides:
            time.sleep(0.5)
            return new.pop()
        time.sleep(0.02)
    pytest.fail("no builder was started")


def running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="finds the builder's process through /proc"
)


@needs_proc
def test_a_crash_of_the_builder_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    graph, kept = products(tmp_path, steps=SLOW), builders_of(os.getpid())
    with concurrent.futures.ThreadPoolExecutor() as pool:
        result = pool.submit(build, graph, tmp_path / "e")
        os.kill(next_builder_of(os.getpid(), kept), signal.SIGSEGV)
        with pytest.raises(EngineError, match=r"the builder crashed on model\.onnx: killed by SIGSEGV"):
            result.result(timeout=30)
    assert files(tmp_path) == ["model.onnx"]


@needs_proc
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_builder_outlives_its_caller(how: signal.Signals, tmp_path: Path) -> None:
    """SIGINT: Ctrl-C, which reaches the builder's process as well; SIGKILL: the caller cannot clear up."""
    script = (
        "import signal, sys; from pathlib import Path; from drnn_export.engine.build import build_engine\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background are started without it\n"
        "try: build_engine(Path(sys.argv[1]), Path(sys.argv[2]), 'tensorrt-rtx', compute_capabilities=('8.6',))\n"
        "except KeyboardInterrupt: sys.exit('interrupted')"
    )
    graph, engine = products(tmp_path, steps=SLOW), tmp_path / "out" / "e"
    caller = subprocess.Popen(
        [sys.executable, "-c", script, str(graph), str(engine)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    builder = next_builder_of(caller.pid)
    if how == signal.SIGINT:
        os.killpg(caller.pid, how)
    else:
        caller.kill()
    _, said = caller.communicate(timeout=30)
    deadline = time.monotonic() + 5
    while running(builder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(builder)
    if how == signal.SIGINT:
        assert said.strip() == "interrupted"
        assert files(engine.parent) == []


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write"):
        build(recurrent(tmp_path), tmp_path / "file" / "e")


@pytest.mark.parametrize("unknown", ["9.0", "8.7", "86", "SM86"])
def test_a_compute_capability_that_the_module_does_not_know_is_refused(unknown: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=rf"{unknown}; it knows 7\.5, 8\.0, 8\.6, 8\.9, 12\.0") as caught:
        build(recurrent(tmp_path), tmp_path / "e", compute_capabilities=("8.6", unknown))
    assert "full TensorRT" in caught.value.fix
    assert files(tmp_path) == ["model.onnx"]


def device(compute_capability: str) -> Gpu:
    return Gpu("some GPU", compute_capability, "CUDA 13.0")


def test_targets_are_what_was_asked_then_this_gpu_then_the_usual_ones() -> None:
    module = tensorrt_module("tensorrt-rtx")
    assert set(AHEAD_OF_TIME) < set(known_compute_capabilities(module.loaded))
    assert build_targets("tensorrt-rtx", module, ("8.9", "8.6", "8.9"), device("8.0")) == ("8.9", "8.6")
    assert build_targets("tensorrt-rtx", module, (), device("8.9")) == ("8.9",)
    assert build_targets("tensorrt-rtx", module, (), None) == AHEAD_OF_TIME
    with pytest.raises(EngineError, match=r"9\.0; it knows"):
        build_targets("tensorrt-rtx", module, (), device("9.0"))


def test_the_full_tensorrt_builds_for_its_own_gpu_only() -> None:
    module = tensorrt_module("tensorrt")
    assert build_targets("tensorrt", module, (), device("9.0")) == ("9.0",)
    assert build_targets("tensorrt", module, ("9.0",), device("9.0")) == ("9.0",)
    with pytest.raises(EngineError, match=r"only \(compute capability 9\.0\), not for 8\.6"):
        build_targets("tensorrt", module, ("8.6",), device("9.0"))


def test_without_a_gpu_one_engine_serves_all_usual_gpus(tmp_path: Path) -> None:
    if gpu() is not None:
        pytest.skip("this machine has a GPU, so the engine would be for it")
    sidecar = build_engine(products(tmp_path), tmp_path / "e", "tensorrt-rtx")
    assert sidecar.compute_capabilities == AHEAD_OF_TIME
    assert sidecar.ahead_of_time


def test_availability_names_the_version_and_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    available = backend_availability("tensorrt-rtx")
    assert available.usable
    assert rtx.__version__ in available.detail
    assert (gpu_reason() or "compute capability") in available.detail
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    assert not backend_availability("tensorrt-rtx").usable
    assert "pip install tensorrt-rtx" in backend_availability("tensorrt-rtx").fix


@pytest.mark.parametrize(("here", "usable"), [("8.9", True), ("9.0", False)])
def test_a_gpu_that_the_module_does_not_know_is_no_target(
    here: str, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drnn_export.engine.build.gpu", lambda: device(here))
    available = backend_availability("tensorrt-rtx")
    assert available.usable == usable
    assert here in available.detail
    assert ("it knows" in available.detail) != usable
    assert backend_availability("tensorrt-rtx", SM86).usable


def test_a_missing_backend_is_an_engine_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineError, match="tensorrt is not installed") as caught:
        build_engine(recurrent(tmp_path), tmp_path / "e", "tensorrt")
    assert "pip install tensorrt" in caught.value.fix


def test_the_full_tensorrt_needs_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module is stood in for by its sibling: it must not be touched before the GPU is looked for."""
    monkeypatch.setitem(sys.modules, "tensorrt", rtx)
    monkeypatch.setattr(rtx, "__version__", "11.4.0")
    if gpu() is not None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match="builds on a GPU only, and") as caught:
        build_engine(recurrent(tmp_path), tmp_path / "e", "tensorrt")
    assert gpu_reason() in str(caught.value)
    assert "tensorrt-rtx" in caught.value.fix


@pytest.mark.gpu
def test_with_a_gpu_the_engine_is_for_it(tmp_path: Path) -> None:
    here = gpu()
    if here is None:
        pytest.skip(gpu_reason())
    if here.compute_capability not in known_compute_capabilities(rtx):
        pytest.skip(f"TensorRT-RTX does not build for compute capability {here.compute_capability}")
    sidecar = build_engine(products(tmp_path), tmp_path / "e", "tensorrt-rtx")
    assert sidecar.compute_capabilities == (here.compute_capability,)
    assert (sidecar.ahead_of_time, sidecar.driver) == (False, here.driver)

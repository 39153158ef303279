"""Bundles with engines that are pretended, or built for this machine's GPU; for the tests of the TensorRT runtimes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save

from drnn_core import gpu
from drnn_core.types import TensorInfo
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, EngineInfo, GraphInfo
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path

FEATURES = 32
ENGINE, ONNX = b"an engine", b"a graph"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def graph_info(batch: int) -> GraphInfo:
    return GraphInfo(
        file="model.onnx",
        form="sequence",
        emission="fused",
        pruned=False,
        steps=1,
        batch=None if batch == -1 else batch,
        precision="fp32",
        opset=13,
        nodes=2,
        inputs=(TensorInfo("input", "float32", (batch, FEATURES)),),
        outputs=(TensorInfo("output", "float32", (batch, FEATURES)),),
        profile=(1, 2, 8) if batch == -1 else None,
    )


SIDECAR = Sidecar(
    flavour="tensorrt-rtx",
    version="1.7.1.116",
    platform="linux-x86_64",
    compute_capabilities=("8.6", "8.9"),
    driver=None,
    ahead_of_time=True,
    flags={"tf32": False, "strongly_typed": True},
    onnx="model.onnx",
    onnx_sha256=digest(ONNX),
    engine_sha256=digest(ENGINE),
    engine_bytes=len(ENGINE),
    build_seconds=0.5,
    command="tensorrt_rtx --onnx=model.onnx",
    inputs=(TensorInfo("input", "float32", (2, FEATURES)),),
    outputs=(TensorInfo("output", "float32", (2, FEATURES)),),
)


def bundle_of(folder: Path, graph: GraphInfo, sidecar: Sidecar | None, engine: bytes = ENGINE) -> Bundle:
    """A bundle with at most one engine, for the sidecar's runtime."""
    engines: tuple[EngineInfo, ...] = ()
    if sidecar is not None:
        (folder / "model.engine").write_bytes(engine)
        sidecar.write(sidecar_path(folder / "model.engine"))
        engines = (EngineInfo("model.engine", "model.engine.json", graph.file, sidecar.flavour),)
    return Bundle(
        folder=folder,
        spec=ModelSpec("rnn", (4,), (1,), Continuous(), Head("last", 2)),
        task={},
        graphs=(graph,),
        engines=engines,
        files={graph.file: sidecar.onnx_sha256 if sidecar else digest(ONNX)},
        versions={},
    )


def need_gpu_for_rtx() -> str:
    """The GPU's compute capability; skips the test where there is none that TensorRT-RTX builds for."""
    rtx = pytest.importorskip("tensorrt_rtx")
    device = gpu.gpu()
    if device is None:
        pytest.skip(gpu.gpu_reason())
    if f"SM{device.compute_capability.replace('.', '')}" not in rtx.ComputeCapability.__members__:
        pytest.skip(f"TensorRT-RTX does not build for compute capability {device.compute_capability}")
    return device.compute_capability


def built_here(folder: Path, batch: int) -> tuple[Bundle, GraphInfo, NDArray[np.float32]]:
    """A bundle with an engine for this GPU that computes tanh(input @ R), and R."""
    from drnn_export.engine.build import build_engine

    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, ["batch" if batch == -1 else batch, FEATURES])
    matrix = np.random.default_rng(0).normal(scale=0.1, size=(FEATURES, FEATURES)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["input", "R"], ["p"]), helper.make_node("Tanh", ["p"], ["output"])]
    values = [helper.make_value_info(name, kind) for name in ("input", "output")]
    model = helper.make_graph(nodes, "test", values[:1], values[1:], [numpy_helper.from_array(matrix, "R")])
    save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "model.onnx")
    sidecar = build_engine(
        folder / "model.onnx", folder / "model.engine", "tensorrt-rtx", batch=(1, 2, 8) if batch == -1 else None
    )
    graph = graph_info(batch)
    return bundle_of(folder, graph, sidecar, (folder / "model.engine").read_bytes()), graph, matrix

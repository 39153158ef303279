"""Small graphs, and builds of them ahead of time. Tests that import this are skipped without TensorRT-RTX."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from drnn_export.engine.build import build_engine
from drnn_runtimes.trt.sidecar import Sidecar

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

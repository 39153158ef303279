"""Hand-made graphs through NVIDIA's parser, and networks made through its API, evaluated in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from drnn_runtimes.session import Arrays
from drnn_runtimes.trt.bindings import collecting_logger, parse_network
from drnn_runtimes.trt_numpy.program import NetworkProgram

rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, np.int64)


def graph_of(
    nodes: Sequence[onnx.NodeProto], feed: Arrays, constants: Mapping[str, Any], outputs: Mapping[str, int], opset: int
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "bare",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for n, v in feed.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def evaluated(model: onnx.ModelProto, feed: Arrays, folder: Path) -> Arrays:
    onnx.save(model, folder / "model.onnx")
    logger = collecting_logger(rtx)
    builder = rtx.Builder(logger)
    network = parse_network(rtx, builder, logger, str(folder / "model.onnx"))
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return NetworkProgram(rtx, network, lambda: constants).run(feed)


def compare(model: onnx.ModelProto, feed: Arrays, folder: Path, tolerance: float = 1e-6) -> None:
    expected = ReferenceEvaluator(model).run(None, feed)
    found = evaluated(model, feed, folder)
    assert len(found) == len(expected)
    for value, want in zip(found.values(), expected, strict=True):
        assert value.dtype == want.dtype
        assert value.shape == want.shape
        value, want = value.astype(np.float64), want.astype(np.float64)
        np.testing.assert_allclose(value, want, rtol=tolerance, atol=tolerance)


Build = Callable[[Any, Any], Any]  # network, its input -> the tensor to give out


def built(build: Build, feed: NDArray[np.float32]) -> NDArray[Any]:
    """The value of a network made through NVIDIA's API, for what its parser makes of no graph of ours."""
    builder = rtx.Builder(collecting_logger(rtx))
    network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    output = build(network, network.add_input("x", rtx.float32, feed.shape))
    output.name = "y"
    network.mark_output(output)
    return NetworkProgram(rtx, network, dict).run({"x": feed})["y"]

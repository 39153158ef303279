"""Reading any ONNX graph, and changed copies of it in which tensors can be seen or replaced."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import helper

from drnn_core.errors import InputError
from drnn_core.types import TensorInfo
from drnn_runtimes.bundle import Bundle, GraphInfo, graph_file


def read_graph(bundle: Bundle, graph: GraphInfo) -> onnx.ModelProto:
    """Read the bundle's ONNX file, to compare it: see `drnn_runtimes.bundle.graph_file.parse_graph`.

    Args:
        bundle: The open bundle that holds the graph.
        graph: One of the bundle's graphs.

    Raises:
        InputError: The file is no ONNX model, or does not hold all its constants.
    """
    return graph_file.parse_graph(bundle.path(graph.file), bundle.spec, graph)


def tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    """Name, type and shape of a tensor whose type and rank are known; a named or missing size is -1.

    Raises:
        InputError: It is a sequence, a map or an optional value, or of a type that onnx has no NumPy type for.
    """
    kind = value.type.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
    except KeyError as error:
        raise InputError(f"{value.name!r:.80} is no tensor of a type that NumPy has") from error
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
    return TensorInfo(value.name, str(dtype), shape)


def tensor_infos(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorInfo, ...]:
    """`tensor_info` of the inputs or outputs of a graph."""
    return tuple(tensor_info(value) for value in values)


def known_tensors(model: onnx.ModelProto) -> dict[str, TensorInfo]:
    """The tensors of a graph whose type and rank can be inferred, by name."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    with contextlib.suppress(Exception):  # a graph that contradicts itself: what it says of itself must do
        model = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    known: dict[str, TensorInfo] = {}
    for value in (*model.graph.value_info, *model.graph.output, *model.graph.input):
        if value.type.tensor_type.HasField("shape"):
            with contextlib.suppress(InputError):
                known[value.name] = tensor_info(value)
    return known


def opened(model: onnx.ModelProto, tensors: Sequence[TensorInfo]) -> onnx.ModelProto:
    """A copy of the model with these tensors as further outputs.

    Args:
        model: A graph; it stays as it is.
        tensors: Tensors of the graph, with the type and shape to declare.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    there = {value.name for value in model.graph.output}
    changed.graph.output.extend(_value_info(tensor) for tensor in tensors if tensor.name not in there)
    return changed


def cut(model: onnx.ModelProto, tensors: Sequence[TensorInfo]) -> onnx.ModelProto:
    """A copy of the model that gives these tensors as outputs and reads inputs (`given_name`) in their place.

    Args:
        model: A graph; it stays as it is.
        tensors: Tensors of the graph, with the type and shape to declare.
    """
    changed = opened(model, tensors)
    given = {tensor.name: given_name(tensor.name) for tensor in tensors}
    for node in changed.graph.node:
        for index, name in enumerate(node.input):
            if name in given:
                node.input[index] = given[name]
    inputs = [_value_info(dataclasses.replace(tensor, name=given[tensor.name])) for tensor in tensors]
    changed.graph.input.extend(inputs)
    return changed


def given_name(tensor: str) -> str:
    """The input that a cut graph reads in place of a tensor."""
    return f"{tensor}/given"


def _value_info(tensor: TensorInfo) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    shape = [f"{tensor.name}/{axis}" if size < 0 else size for axis, size in enumerate(tensor.shape)]
    return helper.make_tensor_value_info(tensor.name, kind, shape)

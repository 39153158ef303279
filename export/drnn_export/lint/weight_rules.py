"""The lint rules for a graph's weights: their types, their sizes, and the files that they may be in."""

from __future__ import annotations

import dataclasses
import math
import posixpath
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from drnn_export.lint.graph_view import Site
from drnn_export.lint.scope import type_name
from drnn_export.lint.tables import Finding, Table

if TYPE_CHECKING:
    import onnx

_FIELD = {  # ONNX's field for values that are not raw bytes; int32_data for all other types
    "FLOAT": "float_data",
    "DOUBLE": "double_data",
    "INT64": "int64_data",
}


def weight_findings(graph: onnx.GraphProto, table: Table, folder: Path) -> Iterator[Finding]:
    """Check every initialiser of a graph.

    Args:
        graph: The graph of a model.
        table: What the target takes.
        folder: The folder of the model's external data.

    Yields:
        The findings.
    """
    used = {name for node in graph.node for name in node.input}
    for sparse in graph.sparse_initializer:
        if sparse.values.name in used:
            what = f"weights {sparse.values.name!r} are sparse, which the parser skips"
            yield _error("sparse", what, "Save them as a dense tensor")
    for tensor in graph.initializer:
        kind = type_name(tensor.data_type)
        if kind == "DOUBLE":
            yield _error("float64", f"{tensor.name!r} is float64, which TensorRT computes in float32", "Use float32")
        elif kind not in table.types:
            yield _error("type", f"weights {tensor.name!r} are {kind}, a type that is not there", "Cast them")
            continue
        if len(tensor.dims) > table.limits.rank:
            what = f"weights {tensor.name!r} have {len(tensor.dims)} axes, and a tensor has at most {table.limits.rank}"
            yield _error("rank", what, "Join axes")
        elif (problem := _size_problem(tensor, kind, folder, tensor.name)) is not None:
            yield problem


def constant_findings(site: Site, table: Table, folder: Path) -> Iterator[Finding]:
    """Check the tensors that a node holds in its attributes; the node's own rules say what is wrong with their types.

    Args:
        site: The node.
        table: What the target takes.
        folder: The folder of the model's external data.

    Yields:
        The findings.
    """
    for attribute in site.node.attribute:
        if attribute.HasField("t") and (kind := type_name(attribute.t.data_type)) in table.types:
            name = attribute.t.name or next(iter(site.node.output), "")
            if (problem := _size_problem(attribute.t, kind, folder, name)) is not None:
                yield dataclasses.replace(problem, node=site.name, operator=site.node.op_type)


def _error(rule: str, what: str, fix: str) -> Finding:
    return Finding("error", rule, "", "", what, fix)


def _size_problem(tensor: onnx.TensorProto, kind: str, folder: Path, name: str) -> Finding | None:
    import onnx

    if any(size < 0 for size in tensor.dims):
        return _error("weights", f"weights {name!r} have a negative size", "Save them again")
    elements = math.prod(tensor.dims)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external_problem(tensor, _bytes(elements, tensor.data_type, kind), folder, name)
    if tensor.HasField("raw_data"):
        present, needed = len(tensor.raw_data), _bytes(elements, tensor.data_type, kind)
    else:
        present = len(getattr(tensor, _FIELD.get(kind, "int32_data")))
        needed = -(-elements // 2) if kind in ("INT4", "FLOAT4E2M1") else elements
    if present == needed:
        return None
    return _error("weights", f"weights {name!r} do not fill their shape {list(tensor.dims)}", "Save them again")


def _bytes(elements: int, number: int, kind: str) -> int:
    from onnx.helper import tensor_dtype_to_np_dtype

    return -(-elements // 2) if kind in ("INT4", "FLOAT4E2M1") else elements * tensor_dtype_to_np_dtype(number).itemsize


def _external_problem(tensor: onnx.TensorProto, needed: int, folder: Path, name: str) -> Finding | None:
    """What is wrong with the place of external data; None if nothing. No file outside `folder` is looked at."""
    where = {entry.key: entry.value for entry in tensor.external_data}
    location, fix = where.get("location", ""), "Put the file beside the model"
    name = f"weights {name!r}: {location!r}"
    if not location or "\0" in location or _is_elsewhere(location):
        return _error("external-data", f"{name} is no file in the folder of the model", fix)
    try:
        offset = int(where.get("offset") or 0)
        length = int(where.get("length") or needed)
        path = (folder / location).resolve()
        if not path.is_relative_to(folder.resolve()):
            return Finding("warning", "external-data", "", "", f"{name} is a link out of the folder of the model", fix)
        size = path.stat().st_size if path.is_file() else None
    except ValueError:
        return _error("external-data", f"{name} has an offset or length that is no number", "Save the weights again")
    except OSError as error:
        return _error("external-data", f"{name} cannot be read: {error.strerror or error}", fix)
    if size is None:
        return _error("external-data", f"{name} does not exist", fix)
    if offset < 0 or length != needed or offset + length > size:
        place = f"{length:,} bytes from {offset:,} are asked for, {needed:,} are needed and {size:,} are there"
        return _error("external-data", f"{name}: {place}", "Save the weights again")
    return None


def _is_elsewhere(location: str) -> bool:
    """Whether a location leaves the folder that it is relative to, on any system."""
    return any(
        path.is_absolute() or path.drive or posixpath.normpath(path.as_posix()).startswith("..")
        for path in (PurePosixPath(location), PureWindowsPath(location))
    )

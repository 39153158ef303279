"""The lint rules of ONNX's own contract: how many inputs an operator has, of which types and sizes, which attributes.

`onnx.defs` says most of it. Sizes that it states in prose only are in `tables.toml`, under `[[sizes]]`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from drnn_export.lint.graph_view import Site
from drnn_export.lint.scope import shape_of, type_name
from drnn_export.lint.sizes import size_findings
from drnn_export.lint.tables import Finding, Table

if TYPE_CHECKING:
    import onnx

_WITH_BODY = ("Loop", "Scan")  # of which an input may be left out
_SMALL = 1024  # elements
_OF_ANOTHER_OPSET = "unsupported type"  # which a later opset may take; the parsers do not look at the opset for it


def contract_findings(site: Site, table: Table) -> Iterator[Finding]:
    """What of a node contradicts ONNX's definition of its operator.

    Args:
        site: The node, and what is known of its tensors.
        table: What the target takes.
    """
    if site.node.domain:
        return
    schema, newest = (_schema(site.node.op_type, opset) for opset in (site.scope.opset, onnx_opset()))
    if newest is None or (schema or newest).deprecated:
        return
    if newest.deprecated:
        newest = schema or newest
    if schema is None:
        what = f"opset {site.scope.opset} has no {site.node.op_type}, which the parsers do not mind"
        yield site.finding("warning", "opset", what, f"Export it with opset {newest.since_version}")
    problem, outputs = _inferred(site, schema or newest, newest)
    if problem:
        what = f"is no {site.node.op_type} that ONNX defines: {problem} (its inputs: {_shown(site)})"
        yield site.error("contract", what, "Make inputs and attributes fit, or export the graph again")
        return
    yield from _declared(site, outputs)
    yield from size_findings(site, table)


def _declared(site: Site, outputs: Mapping[str, onnx.TypeProto]) -> Iterator[Finding]:
    """Outputs that the graph declares otherwise: the parsers go by what the node makes."""
    for name, made in outputs.items():
        kind, declared = type_name(made.tensor_type.elem_type), site.scope.type_of(name)
        if declared is not None and kind not in ("UNDEFINED", declared):
            what = f"makes {kind}, and {name!r} is declared as {declared}"
            yield site.error("declared", what, "Declare what it makes, or put a Cast after it")
            continue
        shape = site.scope.shape_of(name)
        if shape is None or not made.tensor_type.HasField("shape"):
            continue
        sizes = shape_of(made)
        if len(sizes) != len(shape) or any(
            -1 not in pair and pair[0] != pair[1] for pair in zip(sizes, shape, strict=True)
        ):
            what = f"makes {list(sizes)}, and {name!r} is declared as {list(shape)}"
            yield site.finding("error" if site.scope.is_inner else "warning", "declared", what, "Declare what it makes")


def _inferred(
    site: Site, schema: onnx.defs.OpSchema, newest: onnx.defs.OpSchema
) -> tuple[str, Mapping[str, onnx.TypeProto]]:
    """What ONNX's checker and its inference of shapes object to, "" if nothing, and the outputs' types.

    Later versions of an operator take more types, and their inference finds more.
    """
    problem, outputs = _inference(site, schema)
    if schema.since_version == newest.since_version:
        return problem, outputs
    later, of_later = _inference(site, newest)
    if _OF_ANOTHER_OPSET in problem:
        return later and problem, of_later
    if not problem and schema.attributes.keys() == newest.attributes.keys():
        problem = later
    return problem, outputs


@functools.cache
def onnx_opset() -> int:
    """The newest opset that the installed onnx knows."""
    import onnx

    return onnx.defs.onnx_opset_version()


@functools.cache
def _schema(operator: str, opset: int) -> onnx.defs.OpSchema | None:
    import onnx

    try:
        return onnx.defs.get_schema(operator, min(opset, onnx_opset()))
    except onnx.defs.SchemaError:
        return None


def _inference(site: Site, schema: onnx.defs.OpSchema) -> tuple[str, Mapping[str, onnx.TypeProto]]:
    import onnx

    names = [name for name in site.node.input if name]
    variadic = schema.inputs and schema.inputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    if variadic and not all(site.node.input[len(schema.inputs) - 1 :]) and site.node.op_type not in _WITH_BODY:
        return "one of its inputs has no name", {}
    kinds = {name: site.scope.proto_of(name) or onnx.TypeProto() for name in names}
    values = {name: tensor for name in names if _is_small(site, name) and (tensor := site.scope.tensor_of(name))}
    opsets = [onnx.helper.make_opsetid("", site.scope.opset)]
    try:
        return "", onnx.shape_inference.infer_node_outputs(schema, site.node, kinds, values, opset_imports=opsets)
    except Exception as error:  # of ONNX's own in several modules, and whatever a hostile graph provokes
        said = " ".join(str(error).split())
        return said.removeprefix("[ShapeInferenceError] ").removeprefix("[TypeInferenceError] ") or "it is damaged", {}


def _is_small(site: Site, name: str) -> bool:
    """Whether the value is known and may be axes, sizes or a shape."""
    shape = site.scope.shape_of(name)
    return shape is not None and math.prod(shape) <= _SMALL and site.scope.value_of(name) is not None


def _shown(site: Site) -> str:
    return ", ".join(f"{name!r} {_kind(site, name)}" for name in site.node.input if name) or "none"


def _kind(site: Site, name: str) -> str:
    shape = site.scope.shape_of(name)
    sizes = "of unknown shape" if shape is None else str(["?" if size < 0 else size for size in shape])
    return f"{site.scope.type_of(name) or 'of unknown type'} {sizes}".replace("'", "")

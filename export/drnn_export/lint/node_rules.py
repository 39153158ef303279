"""The lint rules for one node: each looks at a node and yields what the target makes of it.

Sources: `tables.toml`, onnx-tensorrt's importers (onnxOpImporters.cpp, onnxOpCheckers.cpp), and what TensorRT-RTX
1.7.1 was seen to do (tests/export/lint/test_linter.py repeats it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from drnn_export.lint.contract_rules import contract_findings
from drnn_export.lint.graph_view import Site
from drnn_export.lint.operator_rules import OPERATOR_RULES
from drnn_export.lint.recurrent_rules import layout
from drnn_export.lint.shape_rules import SHAPE_RULES, broadcasts
from drnn_export.lint.tables import Finding, Severity, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

STANDARD_DOMAINS = ("", "ai.onnx")
_TYPED_BY_OUTPUT = (
    *("BlackmanWindow", "Constant", "ConstantOfShape", "EyeLike", "HammingWindow", "HannWindow", "If", "Loop"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Scan"),
)
_DATA_INPUT = {"OneHot": 2, "Where": 1}  # of the others the first


def node_findings(site: Site, table: Table) -> Iterator[Finding]:
    """Apply every rule to one node. A node whose operator the target does not know gets that finding only.

    Args:
        site: The node in its graph.
        table: What the target supports.

    Yields:
        What is wrong with the node, rule after rule.
    """
    known = list(_unknown(site, table))
    yield from known
    if any(finding.rule == "operator" for finding in known):
        return
    contract, operator = list(contract_findings(site, table)), site.node.op_type
    yield from contract
    is_sound = not any(finding.rule == "contract" for finding in contract)  # else its attributes may be of any kind
    for rule in (*_RULES, *((*OPERATOR_RULES.get(operator, ()), *SHAPE_RULES.get(operator, ())) if is_sound else ())):
        yield from rule(site, table)


def _unknown(site: Site, table: Table) -> Iterator[Finding]:
    """The parsers look an operator up by its name alone, whatever its domain."""
    name, domain = site.node.op_type, site.node.domain
    if name not in table.operators:
        of = f" of domain {domain}" if domain not in STANDARD_DOMAINS else ""
        fix = "Write it with other operators, or give the parser a plugin of that name"
        yield site.error("operator", f"there is no operator {name}{of}", fix)
    elif domain not in STANDARD_DOMAINS and table.operators[name] is not None:
        what = f"of domain {domain} is read as ONNX's own {name}, since the parser does not look at the domain"
        yield site.error("domain", what, "Write it with ONNX's operators, or under a name that no ONNX operator has")


def _types(site: Site, table: Table) -> Iterator[Finding]:
    operator = site.node.op_type
    taken = table.operators[operator]
    if taken is None:
        return
    for kind in dict.fromkeys(_data_types(site)):
        if kind in taken or kind == "DOUBLE" or kind not in table.types or _is_uint8_quantised(site, kind):
            continue
        severity: Severity = table.unlisted_quantised if kind in table.quantised else "error"
        fix = (
            "Quantise with QuantizeLinear and DequantizeLinear around it"
            if kind in table.quantised
            else "Cast before it"
        )
        yield site.finding(severity, "type", f"{operator} does not take {kind}", fix)
    if "UINT8" in site.output_types() and operator not in ("QuantizeLinear", "Constant") and not _leaves_network(site):
        what = "UINT8 is for inputs and outputs of the network only"
        yield site.error("type", what, "Cast it to INT32 or a floating-point type")


def _leaves_network(site: Site) -> bool:
    return any(name in site.scope.outputs for name in site.node.output)


def _data_types(site: Site) -> list[str]:
    """The types of a node's data, where they are known."""
    operator = site.node.op_type
    kinds = [] if operator in _TYPED_BY_OUTPUT else [site.scope.type_of(site.input(_DATA_INPUT.get(operator, 0)))]
    if operator in _TYPED_BY_OUTPUT or operator in ("Cast", "CastLike"):
        kinds += site.output_types()
    return [kind for kind in kinds if kind is not None]


def _is_uint8_quantised(site: Site, kind: str) -> bool:
    """What QuantizeLinear makes of UINT8 is INT8 to the parser, which `_uint8` reports."""
    maker = site.scope.producer_of(site.input(0))
    return kind == "UINT8" and maker is not None and maker.op_type == "QuantizeLinear"


def _unknown_type(site: Site, table: Table) -> Iterator[Finding]:
    for kind in dict.fromkeys(site.output_types()):
        if kind not in table.types:
            what = f"{site.node.op_type} makes {kind}, a type that is not there"
            yield site.error("type", what, "Use another type, for example INT32 or FLOAT")


def _float64(site: Site, table: Table) -> Iterator[Finding]:
    if site.node.op_type in ("Cast", "Constant", "ConstantOfShape", "EyeLike") and "DOUBLE" in site.output_types():
        what = "makes float64, which TensorRT computes in float32"
        yield site.error("float64", what, "Use float32")


def _uint8(site: Site, table: Table) -> Iterator[Finding]:
    if site.node.op_type == "QuantizeLinear" and "UINT8" in site.output_types():
        what = "quantises to UINT8, which TensorRT reads as INT8: values above 127 steps are cut off"
        yield site.error("uint8-quantisation", what, "Quantise to INT8, with a zero point of type INT8 and value 0")


def _quantised_weights(site: Site, table: Table) -> Iterator[Finding]:
    """The compiler takes a constant of a quantised type next to QuantizeLinear and DequantizeLinear only."""
    if site.node.op_type.endswith(("QuantizeLinear", "DequantizeLinear")):
        return
    for name in site.node.input:
        if site.scope.is_weight(name) and site.scope.type_of(name) in table.quantised:
            what = f"weights {name!r} of type {site.scope.type_of(name)} may only go to a DequantizeLinear"
            yield site.error("type", what, "Put a DequantizeLinear between them")


def _attributes(site: Site, table: Table) -> Iterator[Finding]:
    for rule in table.attributes.get(site.node.op_type, ()):
        name, values = rule.attribute, _values(site, rule.attribute)
        if rule.required:
            if not site.has(name):
                what = f"the attribute {name} is missing, which the parser reads otherwise than ONNX, or not at all"
                yield site.error(rule.name, what, f"Give it {name}")
        elif rule.bounds:
            if any(not rule.least <= number <= rule.most for number in _numbers(site, name)):
                what = f"{name}={values[0]} is not from {rule.least:g} to {rule.most:g}"
                yield site.error(rule.name, what, "Use another value")
        elif not rule.allowed and site.has(name):
            yield site.error(rule.name, f"the attribute {name} is not taken", "Leave it out")
        elif rule.allowed and (odd := [value for value in values if value not in rule.allowed]):
            allowed = ", ".join(str(value) for value in rule.allowed)
            what = f"{name}={odd[0]} is not among what is taken: {allowed}"
            yield site.error(rule.name, what, f"Use {name}={rule.allowed[0]}")


def _values(site: Site, attribute: str) -> list[int | float | str]:
    value = site.attribute(attribute)
    return value if isinstance(value, list) else [] if value is None else [value]


def _numbers(site: Site, attribute: str) -> list[int | float]:
    return [value for value in _values(site, attribute) if isinstance(value, int | float)]


def _axes(site: Site, table: Table) -> Iterator[Finding]:
    """Attributes that name axes of the first input."""
    shape = site.scope.shape_of(site.input(0))
    if shape is None or site.node.op_type in table.unchecked_axis:
        return
    most = len(shape) - (site.node.op_type not in table.one_more_axis)
    for name in ("axis", "batch_axis", "time_axis"):
        for axis in _numbers(site, name):
            if not -most - 1 <= axis <= most:
                what = f"{name}={axis}, and the first input has {len(shape)} axes"
                yield site.error("attribute", what, "Name an axis that is there")
    axes = [int(axis) for axis in _numbers(site, "axes")]
    rank = len(shape) + (len(axes) if site.node.op_type == "Unsqueeze" else 0)
    named_twice = len({axis % max(rank, 1) for axis in axes}) < len(axes)
    if any(not -rank <= axis < rank for axis in axes) or (named_twice and "queeze" in site.node.op_type):
        yield site.error("attribute", f"axes={axes} of {rank}: not there, or named twice", "Name each axis once")


def _inputs(site: Site, table: Table) -> Iterator[Finding]:
    for rule in table.inputs.get(site.node.op_type, ()):
        name = site.input(rule.input)
        if not name or site.scope.opset < rule.since:
            continue
        if rule.types and site.scope.type_of(site.input(0)) not in rule.types:
            continue
        if not _is_as_asked(site, name, rule.must_be):
            what = f"input {rule.input} ({name!r}) must be {_MUST_BE.get(rule.must_be, rule.must_be)}"
            yield site.error("input", what, _MEND.get(rule.must_be, "Reshape it"))


_MUST_BE = {
    "constant": "known when the engine is built",
    "weights": "an initialiser",
    "zero": "a constant of zeros",
    "absent": "left out",
    "static": "without free axes",
    "broadcast": "of a shape that broadcasts to that of the output",
    "rank 0": "a scalar",
    **{f"rank {rank}": f"of {rank} axes" for rank in (1, 2, 3, 4)},
    **{f"rank {rank} or more": f"of {rank} axes or more" for rank in (1, 2, 3, 4)},
}
_MEND = {
    "constant": "Make it an initialiser",
    "weights": "Make it an initialiser",
    "zero": "Make it an initialiser of zeros",
    "absent": "Write the operator out with others",
    "static": "Fix its shape",
    **dict.fromkeys(("an axis", "different axes", "not negative", "positive"), "Use other values"),
}


def _is_as_asked(site: Site, name: str, must_be: str) -> bool:
    scope = site.scope
    if must_be in ("constant", "weights"):
        return scope.is_constant(name, weights=must_be == "weights")
    if must_be == "zero":
        value = scope.value_of(name)
        return scope.is_constant(name) and (value is None or not value.astype(bool).any())
    if must_be == "absent":
        return False
    if must_be in _VALUES:
        value = scope.value_of(name)
        return value is None or value.dtype.kind not in "iuf" or _VALUES[must_be](value, scope.shape_of(site.input(0)))
    shape = scope.shape_of(name)
    if shape is None:
        return True
    if must_be == "static":
        return not any(scope.is_free(name, axis) for axis in range(len(shape)))
    if must_be == "not empty":
        return 0 not in shape
    if must_be == "one element":
        return -1 in shape or math.prod(shape) == 1
    if must_be == "broadcast":
        output = scope.shape_of(site.node.output[0])
        return output is None or broadcasts(shape, output)
    _, rank, *or_more = must_be.split()
    return len(shape) >= int(rank) if or_more else len(shape) == int(rank)


_VALUES: dict[str, Callable[[NDArray[Any], tuple[int, ...] | None], bool]] = {
    "positive": lambda value, data: bool((value > 0).all()),
    "not negative": lambda value, data: bool((value >= 0).all()),
    "different axes": lambda value, data: data is None or len({*(value.ravel() % max(len(data), 1))}) == value.size,
    "an axis": lambda value, data: data is None or bool(((value >= -len(data)) & (value < len(data))).all()),
}


def _outputs(site: Site, table: Table) -> Iterator[Finding]:
    most = table.outputs.get(site.node.op_type)
    if most is not None and any(site.node.output[most:]):
        what = "only the first of its outputs is there"
        yield site.error("output", what, "Remove the others, or compute them with other operators")


_RULES: tuple[Callable[[Site, Table], Iterator[Finding]], ...] = (
    *(_types, _unknown_type, _float64, _uint8, _quantised_weights, _attributes, _axes, _inputs, _outputs, layout),
)

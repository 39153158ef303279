"""The tables of `tables.toml`: what the ONNX parser of each TensorRT target takes."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

LintTarget = Literal["tensorrt-10.3", "tensorrt-11", "tensorrt-rtx"]
TARGETS: tuple[LintTarget, ...] = get_args(LintTarget)
Severity = Literal["error", "warning"]

_Rule = TypeVar("_Rule")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that a target makes of a graph.

    Attributes:
        severity: `error`, the engine cannot be built or computes something else; `warning`, it works with a caveat.
        rule: The rule's name.
        node: The node's name, or "" where the finding is about the file.
        operator: The node's operator, or "".
        what: One sentence without a full stop: what is wrong.
        fix: One sentence without a full stop: what to do.
    """

    severity: Severity
    rule: str
    node: str
    operator: str
    what: str
    fix: str


@dataclasses.dataclass(frozen=True)
class AttributeRule:
    """What an operator's attribute may be.

    Attributes:
        attribute: Its name in ONNX.
        allowed: The values that each of its elements may have; with none, the attribute must be left out.
    """

    attribute: str
    allowed: tuple[int | float | str, ...]


@dataclasses.dataclass(frozen=True)
class InputRule:
    """What an operator's input must be where it is given.

    Attributes:
        input: Its number, from 0.
        must_be: A word that the data file explains.
    """

    input: int
    must_be: str


@dataclasses.dataclass(frozen=True)
class Limits:
    """Sizes that a target takes.

    Attributes:
        rank: Axes of a tensor.
        file_bytes: Bytes of a protobuf file.
        nodes: Nodes above which compiling takes seconds and more.
        nodes_in_one_second: Nodes that compile in about one second.
        function_nodes: Nodes that local functions may stand for.
    """

    rank: int
    file_bytes: int
    nodes: int
    nodes_in_one_second: int
    function_nodes: int


@dataclasses.dataclass(frozen=True)
class Table:
    """What one target takes. Types have their ONNX names, for example "FLOAT16".

    Attributes:
        target: Its name on the command line.
        title: Its name for people.
        rules_from: Where the rules are from.
        opsets: The lowest and the highest documented opset.
        ir_version: The highest IR version.
        unlisted_quantised: Severity of a quantised type that the operator's row does not list.
        types: The types that the target has.
        quantised: The quantised types.
        operators: Operator -> types of its data, None where they are unknown.
        attributes: Operator -> rules for its attributes.
        inputs: Operator -> rules for its inputs.
        outputs: Operator -> the most outputs.
        activations: Activations of recurrent operators.
        activations_per_direction: Recurrent operator -> activations of one direction.
        largest_k: The largest k of TopK.
        limits: Sizes.
    """

    target: LintTarget
    title: str
    rules_from: str
    opsets: tuple[int, int]
    ir_version: int
    unlisted_quantised: Severity
    types: frozenset[str]
    quantised: frozenset[str]
    operators: Mapping[str, frozenset[str] | None]
    attributes: Mapping[str, tuple[AttributeRule, ...]]
    inputs: Mapping[str, tuple[InputRule, ...]]
    outputs: Mapping[str, int]
    activations: frozenset[str]
    activations_per_direction: Mapping[str, int]
    largest_k: int
    limits: Limits


@functools.cache
def load_table(target: LintTarget) -> Table:
    """The table of one target, from `tables.toml`."""
    data = _data()
    about = data["targets"][target]
    return Table(
        target=target,
        title=about["title"],
        rules_from=about["rules_from"],
        opsets=(about["opsets"][0], about["opsets"][1]),
        ir_version=about["ir_version"],
        unlisted_quantised=about["unlisted_types"],
        types=frozenset(data["types"]["known"]) - frozenset(data["types"]["absent"].get(target, ())),
        quantised=frozenset(data["types"]["quantised"]),
        operators=_operators(data, target),
        attributes=_by_operator(
            [(row, AttributeRule(row["attribute"], tuple(row["allowed"]))) for row in data["attributes"]], target
        ),
        inputs=_by_operator([(row, InputRule(row["input"], row["must_be"])) for row in data["inputs"]], target),
        outputs={name: row["most"] for row in data["outputs"] for name in row["operators"]},
        activations=frozenset(data["recurrent"]["activations"]),
        activations_per_direction=data["recurrent"]["per_direction"],
        largest_k=data["topk"]["largest_k"][target],
        limits=Limits(**data["limits"]),
    )


@functools.cache
def _data() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("tables.toml").read_text(encoding="utf-8"))


def _operators(data: Mapping[str, Any], target: LintTarget) -> dict[str, frozenset[str] | None]:
    table = {name: frozenset(row["types"]) or None for row in data["operators"] for name in row["names"]}
    changes = data["changes"][target]
    for name in changes["absent"]:
        del table[name]
    for row in changes["take"]:
        for name in row["names"]:
            table[name] = (table[name] or frozenset()) | frozenset(row["types"])
    for row in changes["refuse"]:
        for name in row["names"]:
            table[name] = (table[name] or frozenset()) - frozenset(row["types"])
    return table


def _by_operator(rows: list[tuple[Mapping[str, Any], _Rule]], target: LintTarget) -> dict[str, tuple[_Rule, ...]]:
    """Operator -> the rules that hold for it on `target`."""
    rules: dict[str, tuple[_Rule, ...]] = {}
    for row, rule in rows:
        if target in row.get("targets", TARGETS):
            for name in row["operators"]:
                rules[name] = (*rules.get(name, ()), rule)
    return rules

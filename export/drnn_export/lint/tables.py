"""The tables of `tables.toml`: what the ONNX parser of each TensorRT target takes."""

from __future__ import annotations

import dataclasses
import functools
import math
import tomllib
from collections.abc import Mapping, Sequence
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
        required: Whether it must be there; then the others say nothing.
        least: The least that each element may be; where there is a least or a most, `allowed` says nothing.
        most: The most that it may be.
        misread: Whether the target computes something else otherwise, in silence.
    """

    attribute: str
    allowed: tuple[int | float | str, ...]
    required: bool
    least: float
    most: float
    misread: bool

    @property
    def name(self) -> str:
        """The name of the rule in findings."""
        return "attribute-value" if self.misread else "attribute"

    @property
    def bounds(self) -> bool:
        """Whether it bounds a number."""
        return self.least > -math.inf or self.most < math.inf

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> AttributeRule:
        """A row of the data file."""
        least, most = row.get("least", -math.inf), row.get("most", math.inf)
        allowed, required, misread = (
            tuple(row.get("allowed", ())),
            row.get("required", False),
            row.get("misread", False),
        )
        return cls(row["attribute"], allowed, required, least, most, misread)


@dataclasses.dataclass(frozen=True)
class InputRule:
    """What an operator's input must be where it is given.

    Attributes:
        input: Its number, from 0.
        must_be: A word that the data file explains.
        types: The types of the first input for which it holds; with none, all.
        since: The opset from which on it holds.
    """

    input: int
    must_be: str
    types: frozenset[str]
    since: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> InputRule:
        """A row of the data file."""
        return cls(row["input"], row["must_be"], frozenset(row.get("types", ())), row.get("since", 0))


@dataclasses.dataclass(frozen=True)
class SizeRule:
    """The sizes of an operator's inputs.

    Attributes:
        symbols: Symbol -> the attribute that decides it.
        batch: The symbol of the batch, or "".
        inputs: The axes of each input, see `drnn_export.lint.sizes`.
    """

    symbols: Mapping[str, str]
    batch: str
    inputs: tuple[tuple[str, ...], ...]


@dataclasses.dataclass(frozen=True)
class Recurrent:
    """What a target makes of RNN, GRU and LSTM.

    Attributes:
        activations: The activations that it knows.
        misread: Those that it computes as something else.
        once: Those that the compiler takes once in a step.
        endless_steps: Steps from which the compiler does not end for one row.
        endless_hidden: The fewest and the most hidden units of which that is so.
        per_direction: Operator -> how often a step applies each activation of one direction.
        parameters: Attribute -> the activations that take a value of it.
        no_default: Activation -> attributes that it needs.
    """

    activations: frozenset[str]
    misread: frozenset[str]
    once: frozenset[str]
    endless_steps: int
    endless_hidden: tuple[int, int]
    per_direction: Mapping[str, Sequence[int]]
    parameters: Mapping[str, frozenset[str]]
    no_default: Mapping[str, Sequence[str]]


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
class Generations:
    """The GPUs that a target builds for, by compute capability.

    Attributes:
        only: All of them; with none, those between the others.
        oldest: The lowest.
        newest: The highest, or "" for no limit.
    """

    only: Sequence[str] = ()
    oldest: str = ""
    newest: str = ""


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
        generations: The GPUs that it builds for.
        types: The types that the target has.
        quantised: The quantised types.
        operators: Operator -> types of its data, None where they are unknown.
        attributes: Operator -> rules for its attributes.
        one_more_axis: Operators whose `axis` may be the number of axes, too.
        unchecked_axis: Operators whose `axis` may say nothing.
        inputs: Operator -> rules for its inputs.
        outputs: Operator -> the most outputs.
        sizes: Operator -> the sizes of its inputs.
        recurrent: Recurrent operators.
        largest_k: The largest k of TopK.
        limits: Sizes.
    """

    target: LintTarget
    title: str
    rules_from: str
    opsets: tuple[int, int]
    ir_version: int
    unlisted_quantised: Severity
    generations: Generations
    types: frozenset[str]
    quantised: frozenset[str]
    operators: Mapping[str, frozenset[str] | None]
    attributes: Mapping[str, tuple[AttributeRule, ...]]
    one_more_axis: frozenset[str]
    unchecked_axis: frozenset[str]
    inputs: Mapping[str, tuple[InputRule, ...]]
    outputs: Mapping[str, int]
    sizes: Mapping[str, SizeRule]
    recurrent: Recurrent
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
        generations=Generations(**about["generations"]),
        types=frozenset(data["types"]["known"]) - frozenset(data["types"]["absent"].get(target, ())),
        quantised=frozenset(data["types"]["quantised"]),
        operators=_operators(data, target),
        attributes=_by_operator([(row, AttributeRule.of(row)) for row in data["attributes"]], target),
        one_more_axis=frozenset(data["axes"]["one_more"]),
        unchecked_axis=frozenset(data["axes"]["not_checked"]),
        inputs=_by_operator([(row, InputRule.of(row)) for row in data["inputs"]], target),
        outputs={name: row["most"] for row in data["outputs"] for name in row["operators"]},
        sizes={name: _sizes(row) for row in data["sizes"] for name in row["operators"]},
        recurrent=_recurrent(data["recurrent"]),
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


def _recurrent(data: Mapping[str, Any]) -> Recurrent:
    least, most = data["endless_hidden"]
    return Recurrent(
        activations=frozenset(data["activations"]),
        misread=frozenset(data["misread"]),
        once=frozenset(data["once"]),
        endless_steps=data["endless_steps"],
        endless_hidden=(least, most),
        per_direction=data["per_direction"],
        parameters={name: frozenset(taking) for name, taking in data["parameters"].items()},
        no_default=data["no_default"],
    )


def _sizes(row: Mapping[str, Any]) -> SizeRule:
    return SizeRule(
        row.get("symbols", {}), row.get("batch", ""), tuple(tuple(map(str, axes)) for axes in row["inputs"])
    )


def _by_operator(rows: list[tuple[Mapping[str, Any], _Rule]], target: LintTarget) -> dict[str, tuple[_Rule, ...]]:
    """Operator -> the rules that hold for it on `target`."""
    rules: dict[str, tuple[_Rule, ...]] = {}
    for row, rule in rows:
        if target in row.get("targets", TARGETS):
            for name in row["operators"]:
                rules[name] = (*rules.get(name, ()), rule)
    return rules

"""Whether the sizes of a node's inputs fit together: `[[sizes]]` of `tables.toml`, for what ONNX says in prose only.

A row gives each input's axes: a number, a symbol, or a number times a symbol. A symbol stands for one size, which the
first input that has it decides, or an attribute. "..." stands for any number of axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from drnn_export.lint.graph_view import Site
from drnn_export.lint.tables import Finding, SizeRule, Table

FIX = "Give it the size that the operator asks for"


@dataclasses.dataclass(frozen=True)
class _Axis:
    """A size and where it is from; -1 for a free axis."""

    size: int
    where: str
    of_data: bool = False  # of the first input


def size_findings(site: Site, table: Table) -> Iterator[Finding]:
    """Inputs of other sizes than the operator asks for, and a size that is fixed here and free there.

    Args:
        site: The node, and what is known of its tensors.
        table: What the target takes.
    """
    rule = table.sizes.get(site.node.op_type)
    if rule is None:
        return
    known = _from_attributes(site, rule)
    for axis in known.values():
        if axis.size < 1:
            yield site.error("attribute", f"{axis.where} is {axis.size}, which is no size", FIX)
            return
    for index, axes in enumerate(rule.inputs):
        name = site.input(index)
        shape = site.scope.shape_of(name) if name else None
        if shape is None:
            continue
        wanted = _aligned(axes, len(shape))
        if wanted is None:
            what = f"input {index} ({name!r}) has {len(shape)} axes, and these are asked for: [{', '.join(axes)}]"
            yield site.error("size", what, "Reshape it")
            continue
        for number, (size, want) in enumerate(zip(shape, wanted, strict=True)):
            if want and (size >= 0 or site.scope.is_free(name, number)):
                axis = _Axis(size, f"axis {number} of input {index} ({name!r})", of_data=index == 0)
                yield from _compared(site, axis, want, known, rule)


def _compared(site: Site, axis: _Axis, want: str, known: dict[str, _Axis], rule: SizeRule) -> Iterator[Finding]:
    """Compare one axis with what is asked for, or learn from it."""
    number, _, symbol = want.rpartition("*")
    factor = int(number or 1)
    other = _Axis(int(symbol), "the operator") if symbol.isdigit() else known.get(symbol)
    if other is None and axis.size >= 0 and axis.size % factor:
        yield site.error("size", f"{axis.where} is {axis.size}, which is no multiple of {factor}", FIX)
    elif other is None:
        known[symbol] = _Axis(axis.size if axis.size < 0 else axis.size // factor, axis.where, axis.of_data)
    elif (axis.size < 0) != (other.size < 0):
        fixed, free = (axis, other) if other.size < 0 else (other, axis)
        what = f"{fixed.where} is {fixed.size}, which fixes what {free.where} leaves free"
        fix = "Fix the size of the network's input too, or leave the other one free"
        yield site.finding("error" if symbol == rule.batch and free.of_data else "warning", "frozen", what, fix)
    elif axis.size >= 0 and axis.size != factor * other.size:
        times = f"{factor} x {other.size}" if factor > 1 else str(other.size)
        yield site.error("size", f"{axis.where} is {axis.size}, and {times} is asked for, by {other.where}", FIX)


def _from_attributes(site: Site, rule: SizeRule) -> dict[str, _Axis]:
    known = {}
    for symbol, attribute in rule.symbols.items():
        value = site.attribute(attribute)
        if attribute == "direction":
            value = 2 if value == "bidirectional" else 1
        if isinstance(value, int):
            known[symbol] = _Axis(value, f"the attribute {attribute}")
    return known


def _aligned(axes: Sequence[str], rank: int) -> Sequence[str] | None:
    """What is asked for of each of `rank` axes, "" for nothing; None where the number of axes is wrong."""
    if "..." not in axes:
        return axes if rank == len(axes) else None
    place = axes.index("...")
    more = rank - len(axes) + 1
    return None if more < 0 else [*axes[:place], *[""] * more, *axes[place + 1 :]]


def differ(*sizes: int) -> bool:
    """Whether sizes that are known contradict each other."""
    return len({size for size in sizes if size >= 0}) > 1


def shapes(site: Site, *inputs: int) -> list[tuple[int, ...] | None]:
    """The shapes of some inputs; None for one that is left out or unknown."""
    return [site.scope.shape_of(site.input(index)) if site.input(index) else None for index in inputs]

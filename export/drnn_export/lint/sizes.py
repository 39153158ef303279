"""Whether the sizes of a node's inputs fit together: `[[sizes]]` of `tables.toml`, for what ONNX says in prose only.

A row gives each input's axes: a number, a symbol, or a number times a symbol. A symbol stands for one size, which the
first input that has it decides, or an attribute. "..." stands for any number of axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from drnn_export.lint.graph_view import Site
from drnn_export.lint.tables import Finding, Table


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where a symbol's size is from: a free axis has the size -1."""

    size: int
    where: str


def size_findings(site: Site, table: Table) -> Iterator[Finding]:
    """Inputs of other sizes than the operator asks for, and a size that is fixed here and free there."""
    rows = table.sizes.get(site.node.op_type)
    if rows is None:
        return
    known = _from_attributes(site, rows.symbols)
    for index, axes in enumerate(rows.inputs):
        name = site.input(index)
        shape = site.scope.shape_of(name) if name else None
        if shape is None:
            continue
        wanted = _aligned(axes, len(shape))
        if wanted is None:
            what = f"input {index} ({name!r}) has {len(shape)} axes, and {len(axes)} are asked for: {_shown(axes)}"
            yield site.error("size", what, "Reshape it")
            continue
        for axis, (size, factor_and_symbol) in enumerate(zip(shape, wanted, strict=True)):
            yield from _axis(site, f"input {index} ({name!r})", axis, size, factor_and_symbol, known)


def _axis(site: Site, what: str, axis: int, size: int, wanted: str, known: dict[str, _Source]) -> Iterator[Finding]:
    """Compare one axis with what is asked for, or learn from it."""
    if not wanted:
        return
    number, _, symbol = wanted.rpartition("*")
    factor = int(number or 1)
    if symbol.isdigit():
        known = {symbol: _Source(int(symbol), "the operator")}
    source = known.get(symbol)
    if source is None or (source.size == -1 and size == -1):
        if size == -1 or size % factor == 0:
            known[symbol] = _Source(-1 if size == -1 else size // factor, f"axis {axis} of {what}")
            return
        text = f"axis {axis} of {what} is {size}, which is no multiple of {factor}"
        yield site.error("size", text, "Give it the size that the operator asks for")
    elif -1 in (size, source.size):
        yield from _frozen(site, f"axis {axis} of {what}", size, factor, source)
    elif size != factor * source.size:
        times = f"{factor} x {source.size}" if factor > 1 else f"{source.size}"
        text = f"axis {axis} of {what} is {size}, and {times} is asked for ({symbol} by {source.where})"
        yield site.error("size", text, "Give it the size that the operator asks for")


def _frozen(site: Site, what: str, size: int, factor: int, source: _Source) -> Iterator[Finding]:
    fixed, free = (what, source.where) if size != -1 else (source.where, what)
    text = f"{fixed} fixes to {size // factor if size != -1 else source.size} what {free} leaves free"
    yield site.error("frozen", text, "Fix the size of the network's input too, or make the other one free")


def _from_attributes(site: Site, symbols: Mapping[str, str]) -> dict[str, _Source]:
    known = {}
    for symbol, attribute in symbols.items():
        value = site.attribute(attribute)
        if attribute == "direction":
            value = 2 if value == "bidirectional" else 1
        if isinstance(value, int):
            known[symbol] = _Source(value, f"the attribute {attribute}")
    return known


def _aligned(axes: Sequence[str], rank: int) -> Sequence[str] | None:
    """What is asked for of each of `rank` axes, "" for nothing; None where the number of axes is wrong."""
    if "..." not in axes:
        return axes if rank == len(axes) else None
    place = axes.index("...")
    more = rank - len(axes) + 1
    return None if more < 0 else [*axes[:place], *[""] * more, *axes[place + 1 :]]


def _shown(axes: Sequence[str]) -> str:
    return f"[{', '.join(axes)}]"

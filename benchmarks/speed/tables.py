"""The tables of docs/speed.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drnn_deploy.bench.text import figure

CELLS = ("gru", "lstm", "rnn")
OURS = "native"
AHEAD = 2.0  # times that it should be faster than any other
_LONGEST = 160  # characters of a reason
_CACHED = 1 << 20  # bytes that a core's own caches hold
_LANES = 8  # units that the kernel computes at once
Group = Mapping[str, Any]
Line = dict[str, Any]


def of_network(groups: Mapping[str, Group], name: str) -> dict[str, Group]:
    """Cell -> group, of a standard network.

    Args:
        groups: Name -> file of results.
        name: Of the network.
    """
    return {cell: groups[f"{name}-{cell}"] for cell in CELLS if f"{name}-{cell}" in groups}


def _rows(networks: Mapping[str, Group], form: str) -> Iterator[tuple[int, dict[str, Line]]]:
    """Batch, and cell -> row."""
    every = [(cell, row) for cell, group in networks.items() for row in group["rows"] if row["setting"]["form"] == form]
    for batch in sorted({row["setting"]["batch"] for _, row in every}):
        yield batch, {cell: row for cell, row in every if row["setting"]["batch"] == batch}


def run_table(networks: Mapping[str, Group], form: str, steps: int | None = None) -> str:
    """A line for each batch and contender.

    Args:
        networks: Cell -> group.
        form: Of the rows.
        steps: That a figure is divided by; None for those of a run.
    """
    lines: list[list[str]] = []
    title = ""
    for batch, rows in _rows(networks, form):
        setting = next(iter(rows.values()))["setting"]
        length, title = setting["steps"], f"**{next(iter(networks.values()))['title']}"
        shown = "a step at a time" if form == "step" else f"{length:,} steps" + " at a time" * (form == "chunk")
        title += f", {shown}**"
        parts = length if steps is None else steps
        for name in dict.fromkeys(_name(entry) for row in rows.values() for entry in row["contenders"]):
            lines.append([f"{batch}", name, *(_cell(rows.get(cell), name, parts) for cell in CELLS)])
        limits = [
            figure(row["limit_microseconds"], parts) if (row := rows.get(cell)) and row["limit_microseconds"] else ""
            for cell in CELLS
        ]
        lines.append([f"{batch}", "*arithmetic alone*", *limits])
    return f"{title}\n\n{table(('batch', 'contender', *map(str.upper, CELLS)), lines)}" if lines else ""


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown.

    Args:
        header: The columns.
        lines: The cells.
    """
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(row: Line | None, name: str, parts: int) -> str:
    entry = next((entry for entry in row["contenders"] if _name(entry) == name), None) if row else None
    if entry is None:
        return ""
    if (time := entry["time"]) is None:
        return str(entry["status"])
    return f"{figure(time['median'], parts)} ({figure(time['quartile1'], parts)} to {figure(time['quartile3'], parts)})"


def _name(entry: Line) -> str:
    return f"{entry['contender']} {entry['graph']}".rstrip()


def limit_section(standard: Mapping[str, Mapping[str, Group]]) -> str:
    """Operations, bytes and chain of each network's run, and how near the fastest contender is."""
    lines = []
    for networks in standard.values():
        for form in ("sequence", "step"):
            for cell, row in next((rows for batch, rows in _rows(networks, form) if batch == 1), {}).items():
                timed = [entry for entry in row["contenders"] if entry["time"]]
                if not timed or row["peak_operations_per_second"] is None:
                    continue
                best = min(timed, key=lambda entry: entry["time"]["median"])
                work, figures = row["work"], best["figures"]
                lines.append(
                    [
                        f"{networks[cell]['title']}, {cell.upper()}",
                        "a step" if form == "step" else f"{row['setting']['steps']:,} steps",
                        f"{work['operations']:,}",
                        f"{work['bytes']:,}",
                        f"{work['chain']:,}",
                        _name(best),
                        f"{figure(figures['operations_per_second'], 1e9)} of "
                        f"{figure(row['peak_operations_per_second'], 1e9)}",
                        figure(figures["nanoseconds_per_chained_cell"]),
                    ]
                )
    told = (
        "Of one run at batch 1, after pruning: operations of its matrix products, bytes that are read or written at "
        "least once, and the cells that have to wait for each other. The fastest contender's GFLOP/s beside those of a "
        "product of matrices in the same minute, and its time for each cell of that chain."
    )
    header = ("network", "run", "operations", "bytes", "chain", "fastest", "GFLOP/s", "ns/cell")
    return f"{told}\n\n{table(header, lines)}" if lines else ""


def cost_section(standard: Mapping[str, Mapping[str, Group]]) -> str:
    """What a contender takes before it runs, and of memory and disk."""
    lines = []
    for networks in standard.values():
        cell = next((cell for cell in ("lstm", *CELLS) if cell in networks), "")
        for batch, rows in _rows(networks, "sequence"):
            for entry in rows[cell]["contenders"] if batch == 1 and cell in rows else ():
                if entry["time"]:
                    name = f"{networks[cell]['title']}, {cell.upper()}"
                    seconds = [figure(entry[key]) for key in ("ready_seconds", "load_seconds")]
                    memory = [figure(entry[key], 1e6) for key in ("memory_bytes", "own_bytes")]
                    lines.append([name, _name(entry), *seconds, *memory, figure(entry["file_bytes"], 1e3)])
    told = (
        "Whole sequences, batch 1. *Ready*: seconds from a Python with NumPy to the first output, imports and all. "
        "*Load*: once more in the same process. Memory: the most of the process, and without Python and NumPy, MB. "
        "File: the graph or the weights, and what was compiled for them, kB."
    )
    header = ("network", "contender", "ready", "load", "memory", "its own", "file")
    return f"{told}\n\n{table(header, lines)}" if lines else ""


def behind(groups: Mapping[str, Group]) -> Iterator[str]:
    """The rows in which the native kernel is not ahead by enough, and what keeps it from that."""
    for group in groups.values():
        for row in group["rows"]:
            timed = {_name(entry): entry for entry in row["contenders"] if entry["time"]}
            others = [entry for name, entry in timed.items() if name != OURS]
            if OURS in timed and others:
                best = min(others, key=lambda entry: entry["time"]["median"])
                if (ratio := best["time"]["median"] / timed[OURS]["time"]["median"]) < AHEAD:
                    why = _why(row, timed[OURS], best)
                    yield f"- {row['key']}: {figure(ratio)} times as fast as {_name(best)}{why}"


def _why(row: Line, ours: Line, best: Line) -> str:
    """What of a row explains that ours is not ahead by enough; nothing where nothing does."""
    share, seconds = best["figures"]["share_of_peak"], ours["time"]["median"] / 1e6
    units, moved = int(row["network"].rpartition(" x ")[2].split(",")[0]), row["work"]["bytes"]
    rate_of_products = "of the rate of a product of matrices"
    if share and AHEAD * share > 1:
        return f". That has {share:.0%} {rate_of_products} already: {AHEAD:g} times is out of reach"
    if row["setting"]["form"] == "step" and row["setting"]["batch"] == 1 and moved > _CACHED:
        rate = figure(moved / seconds, 1e9)
        return f". A step reads {moved / 1e6:.1f} MB of weights, {rate} GB/s: it waits for memory"
    if padded := -units % _LANES:
        return f". Its layers of {units} units take the time of {units + padded}: vectors have {_LANES} numbers"
    return f". It has {ours['figures']['share_of_peak']:.0%} {rate_of_products}, the other {share:.0%}" if share else ""


def not_timed(groups: Mapping[str, Group]) -> Iterator[str]:
    """Who was not timed, where and why."""
    where: dict[tuple[str, str], list[str]] = {}
    for name, group in groups.items():
        for row in group["rows"]:
            entries = [(_name(entry), f"{entry['status']}: {entry['reason']}") for entry in row["contenders"]]
            missing = [(gone["contender"], gone["reason"]) for gone in row["absent"]]
            timed = {_name(entry) for entry in row["contenders"] if entry["time"]}
            for who, reason in (*entries, *missing):
                if who not in timed:
                    where.setdefault((who, reason.splitlines()[0][:_LONGEST]), []).append(name)
    for (who, reason), names in sorted(where.items()):
        distinct = list(dict.fromkeys(names))
        told = ", ".join(distinct[:3]) + (f" and {len(distinct) - 3} more groups" if len(distinct) > 3 else "")
        yield f"- {who} ({told}): {reason}"

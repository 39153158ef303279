"""How cost grows: the fitted exponents of the growth series."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drnn_deploy.bench.statistics import fit_growth
from drnn_deploy.bench.text import figure

LEAST = 3  # sizes that a fit takes
_TOLD = (
    "A whole sequence. *Exponent*: of the power of the size that the time is proportional to, fitted over all sizes, "
    "with its standard error; *at the end*: between the two largest sizes alone, where what a run costs in any case "
    "counts least. Layers: each further one has twice the dilation, and pruning leaves half as many steps to it. "
    "Hidden: the arithmetic grows with the square."
)


def series(group: Mapping[str, Any]) -> dict[str, list[tuple[int, float]]]:
    """The times of each contender of a series.

    Args:
        group: A file of results with a variable.

    Returns:
        Contender -> (size, microseconds) in ascending order.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for row in sorted(group["rows"], key=lambda row: row["size"]):
        for entry in row["contenders"]:
            if entry["time"]:
                name = f"{entry['contender']} {entry['graph']}".rstrip()
                found.setdefault(name, []).append((row["size"], entry["time"]["median"]))
    return found


def growth_section(groups: Mapping[str, Mapping[str, Any]], pictures: Sequence[str]) -> str:
    """The section of the page.

    Args:
        groups: Name -> file of results.
        pictures: The names of its figures.
    """
    lines = [line for group in groups.values() if group["variable"] for line in _lines(group)]
    if not lines:
        return ""
    header = "| what grows | cell | contender | sizes | us | exponent | at the end |"
    text = "\n".join([header, "|---|---|---|---|---|---|---|", *lines])
    shown = "".join(f"\n\n![{name}](figures/{name}.svg)" for name in pictures)
    return f"## Growth\n\n{_TOLD}{shown}\n\n{text}"


def _lines(group: Mapping[str, Any]) -> Iterator[str]:
    cell = group["group"].rpartition("-")[2].upper()
    for name, points in series(group).items():
        if len(points) < LEAST:
            continue
        sizes, times = zip(*points, strict=True)
        growth = fit_growth(sizes, times)
        cells = [
            group["title"],
            cell,
            name,
            f"{sizes[0]:,} to {sizes[-1]:,}",
            f"{figure(times[0])} to {figure(times[-1])}",
            f"{growth.exponent:.2f} ± {growth.error:.2f}",
            f"{growth.last:.2f}",
        ]
        yield f"| {' | '.join(cells)} |"

"""The figures of docs/speed.md: throughput against batch, and growth. The same results give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.networks import STANDARD
from benchmarks.speed.growth import series
from drnn_core.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Group = Mapping[str, Any]
_PANEL = 4.6, 3.4  # inches
_COLUMNS = 2


def write_pictures(groups: Mapping[str, Group], folder: Path) -> list[str]:
    """Draw what there are results for, in the figures' first cell.

    Args:
        groups: Name -> file of results.
        folder: Where the figures go.

    Returns:
        The names of the figures.
    """
    batches = {name: group for name, group in groups.items() if name.endswith("-gru") and not group["variable"]}
    growing = {name: group for name, group in groups.items() if name.endswith("-gru") and group["variable"]}
    order = list(STANDARD)
    standard = sorted(batches.values(), key=lambda group: order.index(group["group"].removesuffix("-gru")))
    drawn = []
    for name, panels, draw in (("speed-batch", standard, _batches), ("speed-growth", list(growing.values()), _growth)):
        if panels:
            _save(folder / f"{name}.svg", panels, draw)
            drawn.append(name)
    return drawn


def _save(path: Path, panels: list[Group], draw: Callable[[Axes, Group], None]) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "drnn-deploy", "svg.fonttype": "none"}):
        rows = -(-len(panels) // _COLUMNS)
        figure = Figure(figsize=(_PANEL[0] * _COLUMNS, _PANEL[1] * rows), layout="constrained")
        every = figure.subplots(rows, _COLUMNS, squeeze=False).flat
        for axes, panel in zip(every, panels, strict=False):
            draw(axes, panel)
            axes.set(xscale="log", yscale="log")
            axes.legend(fontsize="x-small")
        for axes in [*every][len(panels) :]:
            axes.axis("off")
        with replacing(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def _batches(axes: Axes, group: Group) -> None:
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in group["rows"]:
        if row["setting"]["form"] == "sequence":
            for entry in row["contenders"]:
                if entry["time"]:
                    point = row["setting"]["batch"], entry["figures"]["steps_per_second"]
                    lines.setdefault(f"{entry['contender']} {entry['graph']}".rstrip(), []).append(point)
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    axes.set(title=f"{group['title']}, GRU", xlabel="batch", ylabel="time steps a second")


def _growth(axes: Axes, group: Group) -> None:
    for name, points in series(group).items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(title=group["title"], xlabel=group["variable"], ylabel="microseconds")
    axes.title.set_fontsize("small")

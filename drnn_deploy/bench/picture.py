"""A picture of a report: a panel for each kind of run; bars of times, or throughput against batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drnn_core.errors import InputError
from drnn_core.files import replacing
from drnn_deploy.bench.results import BenchReport, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("svg", "png")
_WIDTH, _HEIGHT = 8.0, 3.2  # inches of a panel


def kind_of(path: Path) -> str:
    """The format of a picture by its name.

    Args:
        path: Its file.

    Raises:
        InputError: It is none of `FORMATS`.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in FORMATS:
        raise InputError(f"a picture cannot be written as {path.name}", f"End its name in {', '.join(FORMATS)}.")
    return kind


def draw(report: BenchReport, path: Path) -> None:
    """Draw a report. The same report gives the same bytes.

    Args:
        report: What was measured.
        path: The file, whose ending says the format.

    Raises:
        InputError: The ending is unknown, nothing was timed, or the file cannot be written.
    """
    kind = kind_of(path)
    panels: dict[tuple[str, int], list[Row]] = {}
    for row in report.rows:
        if any(entry.time for entry in row.measured):
            panels.setdefault((row.setting.form, row.setting.steps), []).append(row)
    if not panels:
        raise InputError("no contender was timed, so there is nothing to draw", "See the table for the reasons.")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "drnn-deploy", "svg.fonttype": "none"}):
        figure = Figure(figsize=(_WIDTH, _HEIGHT * len(panels)), layout="constrained")
        for axes, rows in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels.values(), strict=True):
            (draw_bars if len(rows) == 1 else draw_throughput)(axes, rows)
        figure.suptitle(f"{report.network}, {report.threads} thread{'s' if report.threads > 1 else ''}")
        with replacing(path) as temporary:
            metadata = {"Date": None, "Creator": None} if kind == "svg" else None
            figure.savefig(temporary, format=kind, metadata=metadata)


def draw_bars(axes: Axes, rows: Sequence[Row]) -> None:
    """Medians of one row on a logarithmic axis, with quartiles, and the limit of its arithmetic.

    Args:
        axes: Where to draw.
        rows: The row alone.
    """
    (row,) = rows
    timed = sorted(((entry.name, entry.time) for entry in row.measured if entry.time), key=lambda pair: -pair[1].median)
    medians = [time.median for _, time in timed]
    spread = [[time.median - time.quartile1 for _, time in timed], [time.quartile3 - time.median for _, time in timed]]
    axes.barh([name for name, _ in timed], medians, xerr=spread, color="tab:blue")
    if row.limit:
        axes.axvline(row.limit, color="black", linestyle=":", label="arithmetic at the machine's peak")
        axes.legend(fontsize="small")
    axes.set(title=row.setting.name, xscale="log", xlabel="microseconds")


def draw_throughput(axes: Axes, rows: Sequence[Row]) -> None:
    """Time steps a second against batch, both logarithmic, a line for each contender.

    Args:
        axes: Where to draw.
        rows: Of one form and length, with different batches.
    """
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in sorted(rows, key=lambda row: row.setting.batch):
        for entry in row.measured:
            if entry.time:
                point = row.setting.batch, row.figures(entry)["steps_per_second"]
                lines.setdefault(entry.name, []).append(point)
    for name, points in lines.items():
        axes.plot([batch for batch, _ in points], [speed for _, speed in points], marker="o", label=name)
    axes.set(title=rows[0].setting.name.rpartition(",")[0], xscale="log", yscale="log", xlabel="batch")
    batches = sorted({row.setting.batch for row in rows})
    axes.set_xticks(batches, labels=map(str, batches))
    axes.set_xticks([], minor=True)
    axes.set_ylabel("time steps a second")
    axes.legend(fontsize="small")

"""Measurements in words."""

from __future__ import annotations

from drnn_deploy.bench.results import Row

UNCOMPARED = "not compared with float64: rounding alone moves its outputs as far as a mistake would"


def figure(value: float | None, unit: float = 1.0) -> str:
    """Three significant digits, in full; "-" for None.

    Args:
        value: A number from 0 up.
        unit: What it is divided by.
    """
    if value is None:
        return "-"
    scaled = float(f"{value / unit:.3g}")
    return f"{scaled:,.0f}" if scaled >= 100 else f"{scaled:.3g}"


def describe(row: Row) -> list[str]:
    """Lines on what a run has to do, and on how quiet the machine was."""
    work = row.work
    lines = [
        f"limit   {work.operations:,} operations, {work.bytes:,} bytes; {work.cells:,} cells a sequence, of which "
        f"{work.chain:,} wait for each other ({work.layer_chain:,} layer by layer)"
    ]
    if row.limit is None or row.gauges is None:
        return lines
    near = [(entry.time.median / row.limit, entry.name) for entry in row.measured if entry.time]
    if not near:
        return lines
    ratio, nearest = min(near)
    lines.append(
        f"limit   as fast as a product of matrices that takes {figure(row.limit)} us; {nearest} takes {figure(ratio)} x"
    )
    idle = row.gauges.idle
    again = "" if row.noise is None else f"{row.gauges.again_of} twice: {row.noise:.1%} apart; "
    tail = "" if idle.p99 is None else f", p99 {idle.p99 / idle.median:.2f}"
    lines.append(
        f"noise   {again}an idle loop's quartiles {idle.quartile1 / idle.median:.3f} to "
        f"{idle.quartile3 / idle.median:.3f} of its median{tail}"
    )
    return lines

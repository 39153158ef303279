"""Rows that nobody measured."""

from __future__ import annotations

from drnn_deploy.bench.results import Gauges, Measured, Row
from drnn_deploy.bench.settings import Setting
from drnn_deploy.bench.statistics import Timing, summarise
from drnn_deploy.bench.work import Work


def timing(microseconds: float) -> Timing:
    return summarise([[microseconds], [1.1 * microseconds], [1.2 * microseconds]])


def row(batch: int, times: dict[str, float | None], form: str = "sequence") -> Row:
    measured = [
        Measured(name, "", "ok", time=timing(time)) if time else Measured(name, "", "refused", "no")
        for name, time in times.items()
    ]
    setting = Setting(form, 100, batch)  # type: ignore[arg-type]
    gauges = Gauges(timing(50.0), timing(1000.0), timing(10.0), "fast")
    return Row(setting, Work(1_000_000 * batch, 100, 20, 10, 12), tuple(measured), gauges)

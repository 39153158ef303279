"""Side-by-side timing: every contender once per round, so that a drifting machine drifts for all of them alike."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from drnn_deploy.bench.machine import machine

RESULTS = Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True)
class Timing:
    """Milliseconds of one call: median, and the 10th and 90th percentile as the machine's noise."""

    median: float
    low: float
    high: float
    runs: int

    def per(self, count: int) -> Timing:
        """Microseconds of one of `count` parts of the call."""
        median, low, high = (round(1e3 * value / count, 3) for value in (self.median, self.low, self.high))
        return Timing(median, low, high, self.runs)


def interleaved(contenders: Mapping[str, Callable[[], Any]], *, seconds: float, warmup: int = 3) -> dict[str, Timing]:
    """Time all contenders in turn, round after round, for about `seconds` in all and at least seven rounds."""
    times = interleaved_times(contenders, seconds=seconds, warmup=warmup)
    return {name: _timing(values) for name, values in times.items()}


def interleaved_times(
    contenders: Mapping[str, Callable[[], Any]], *, seconds: float, warmup: int = 3, least: int = 7
) -> dict[str, list[float]]:
    """Milliseconds of every call of `interleaved`, in order. least: rounds at least, however long they take."""
    for run in contenders.values():
        for _ in range(warmup):
            run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(next(iter(times.values()))) < least:
        for name, run in contenders.items():
            before = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - before) * 1e3)
    return times


def write_result(name: str, result: dict[str, Any]) -> Path:
    """Write benchmarks/results/NAME.json with the machine and the versions."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **result}, indent=1) + "\n", encoding="utf-8")
    return path


def _timing(values: list[float]) -> Timing:
    low, median, high = (round(float(value), 4) for value in np.percentile(values, [10, 50, 90]))
    return Timing(median, low, high, len(values))

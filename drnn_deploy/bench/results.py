"""What was measured, as values."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from drnn_core.errors import ParityError, RuntimeUnavailableError
from drnn_deploy.bench.gauges import PRODUCT_OPERATIONS
from drnn_deploy.bench.settings import Setting
from drnn_deploy.bench.statistics import Timing
from drnn_deploy.bench.work import Work
from drnn_deploy.parity.results import Verdict

Status = Literal["ok", "wrong", "refused", "too slow", "failed"]


@dataclasses.dataclass(frozen=True)
class Measured:
    """One contender on one setting.

    Attributes:
        contender: Its name.
        graph: How the graph was written, of a contender that runs its file; else "".
        status: `ok`: timed. `wrong`: its outputs are not float64's. `refused`: it does not take the network. `too
            slow`: it takes longer than the limit. `failed`: its process ended.
        reason: Why it is not ok.
        time: The times of a run.
        in_noise: The largest error in units of float32's noise; up to 8 pass.
        verdict: Whether its outputs are float64's. "not compared", where rounding alone may do to them what a mistake
            does, leaves it timed and proves nothing. None where it gave none.
        threads: Of a run; None where it has no setting for that.
        delay: Steps that its outputs come late.
        ready_seconds: From a Python with NumPy to the first output: imports, compilation, loading.
        load_seconds: Loading once more in the same process; None where getting ready took over ten seconds.
        file_bytes: What is deployed: graph or weights, and what was compiled of them.
        memory_bytes: The most memory that its process has used.
        own_bytes: The same without what the process had before the contender.
    """

    contender: str
    graph: str
    status: Status
    reason: str = ""
    time: Timing | None = None
    in_noise: float | None = None
    verdict: Verdict | None = None
    threads: int | None = None
    delay: int = 0
    ready_seconds: float | None = None
    load_seconds: float | None = None
    file_bytes: int | None = None
    memory_bytes: int | None = None
    own_bytes: int | None = None

    @property
    def name(self) -> str:
        """As in tables: the contender and how the graph was written."""
        return f"{self.contender} {self.graph}".rstrip()


@dataclasses.dataclass(frozen=True)
class Gauges:
    """What was measured of the machine, in turn with the contenders.

    Attributes:
        idle: Of a loop that does nothing.
        product: Of a product of matrices.
        again: Of the fastest contender in another process: how far it is from itself is the noise of the comparison.
        again_of: Its name.
    """

    idle: Timing
    product: Timing
    again: Timing | None
    again_of: str

    @property
    def peak(self) -> float:
        """Operations a second of the product of matrices."""
        return PRODUCT_OPERATIONS / self.product.quartile1 * 1e6


@dataclasses.dataclass(frozen=True)
class Row:
    """All contenders on one setting.

    Attributes:
        setting: What was run.
        work: What one run has to do.
        measured: Each contender.
        gauges: The machine; None where no contender was timed.
    """

    setting: Setting
    work: Work
    measured: tuple[Measured, ...]
    gauges: Gauges | None

    @property
    def limit(self) -> float | None:
        """Microseconds of a run if its arithmetic alone went as fast as a product of matrices."""
        return None if self.gauges is None else self.work.operations / self.gauges.peak * 1e6

    @property
    def noise(self) -> float | None:
        """By which share two measurements of one contender differ."""
        if self.gauges is None or self.gauges.again is None:
            return None
        first = next((entry.time for entry in self.measured if entry.name == self.gauges.again_of), None)
        return None if first is None else abs(self.gauges.again.median / first.median - 1)

    @property
    def uncompared(self) -> tuple[Measured, ...]:
        """The contenders of which nobody knows whether they compute the network."""
        return tuple(entry for entry in self.measured if entry.verdict == "not compared")

    def figures(self, entry: Measured) -> dict[str, float]:
        """What follows from a contender's time.

        Args:
            entry: Of this row, with a time.

        Returns:
            Microseconds of a time step of the whole batch, time steps a second of all sequences, operations a second,
            their share of the machine's peak, and nanoseconds of each cell in the chain.
        """
        assert entry.time is not None
        median = entry.time.median
        rate = self.work.operations / median * 1e6
        return {
            "microseconds_per_step": median / self.setting.steps,
            "steps_per_second": self.setting.batch * self.setting.steps / median * 1e6,
            "operations_per_second": rate,
            "share_of_peak": rate / self.gauges.peak if self.gauges else 0.0,
            "nanoseconds_per_chained_cell": median / self.work.chain * 1e3,
        }

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        entries = []
        for entry in self.measured:
            shown = dataclasses.asdict(entry)
            entries.append(shown | {"figures": self.figures(entry) if entry.time else None})
        return {
            "setting": dataclasses.asdict(self.setting),
            "work": dataclasses.asdict(self.work),
            "limit_microseconds": self.limit,
            "peak_operations_per_second": self.gauges.peak if self.gauges else None,
            "noise": self.noise,
            "gauges": dataclasses.asdict(self.gauges) if self.gauges else None,
            "contenders": entries,
        }


@dataclasses.dataclass(frozen=True)
class Absent:
    """A contender that cannot run here."""

    contender: str
    reason: str
    fix: str


@dataclasses.dataclass(frozen=True)
class BenchReport:
    """All rows of a network.

    Attributes:
        network: Its cell and sizes.
        threads: Threads of each contender that has a setting for that.
        rows: The rows.
        absent: Who cannot run here.
        named: Who was asked for by name.
    """

    network: str
    threads: int
    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]
    named: tuple[str, ...] = ()

    @property
    def unset(self) -> tuple[str, ...]:
        """Who ran without a setting for threads."""
        entries = [entry for row in self.rows for entry in row.measured if entry.time and entry.threads is None]
        return tuple(dict.fromkeys(entry.contender for entry in entries))

    @property
    def untimed(self) -> tuple[str, ...]:
        """Who was asked for by name and was timed in no row."""
        timed = {entry.contender for row in self.rows for entry in row.measured if entry.time}
        return tuple(name for name in dict.fromkeys(self.named) if name not in timed)

    @property
    def exit_code(self) -> int:
        """0 fine, 1 a contender is wrong or could not be compared, 3 none was timed, or one of `named` never was."""
        every = [entry for row in self.rows for entry in row.measured]
        if any(entry.verdict not in (None, "passed") for entry in every):
            return ParityError.exit_code
        fine = any(entry.time for entry in every) and not self.untimed
        return 0 if fine else RuntimeUnavailableError.exit_code

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; see bench.schema.json."""
        from drnn_deploy.bench.machine import machine

        return {
            "passed": self.exit_code == 0,
            "exit_code": self.exit_code,
            "machine": machine(),
            "network": self.network,
            "threads": self.threads,
            "rows": [row.to_json() for row in self.rows],
            "absent": [dataclasses.asdict(entry) for entry in self.absent],
        }

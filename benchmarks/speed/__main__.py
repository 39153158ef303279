"""Measure the standard set and write docs/speed.md.

make bench                                 what is not measured yet, for at most 45 minutes
make bench BENCH="--only 'mnist-*'"        a part of it
make bench BENCH="--render"                nothing: the page of what is there
make bench BENCH="--smoke"                 tiny networks, into a temporary folder: does it run?

Run it on a machine that does nothing else. A run that was stopped goes on where it was; after a change of what is
measured, --again, or delete the files in benchmarks/results/speed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import networks
from benchmarks.speed.page import write_page
from benchmarks.speed.plan import EFFORT, SMOKE, Entry, Group, chosen_groups, smoke_groups
from benchmarks.speed.results import FOLDER, THREADS, described_row, load_rows, save_rows
from drnn_core.errors import DeployError
from drnn_deploy.bench.measure import Effort
from drnn_deploy.bench.registry import CONTENDERS
from drnn_deploy.bench.results import Absent, Row
from drnn_deploy.bench.run import BenchOptions, bench_setting
from drnn_deploy.bench.text import figure

PAGE = Path(__file__).parents[2] / "docs" / "speed.md"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 1 where a contender computes something else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="GROUP", help="these groups, with wildcards")
    parser.add_argument("--again", action="store_true", help="also what is there already")
    parser.add_argument("--minutes", type=float, default=45.0, help="no row begins later [default: 45]")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--smoke", action="store_true", help="tiny networks, into a temporary folder")
    arguments = parser.parse_args(words)
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as name:
            wrong = run_groups(smoke_groups(), Path(name), SMOKE)
            write_page(Path(name), Path(name) / "speed.md")
        return int(wrong)
    wrong = False
    if not arguments.render:
        end = time.monotonic() + 60 * arguments.minutes
        wrong = run_groups(chosen_groups(arguments.only), FOLDER, EFFORT, again=arguments.again, end=end)
    print(f"wrote {write_page(FOLDER, PAGE)}")
    return int(wrong)


def run_groups(
    groups: Sequence[Group], folder: Path, effort: Effort, *, again: bool = False, end: float = float("inf")
) -> bool:
    """Measure what is not there yet.

    Args:
        groups: What to measure.
        folder: Of the files of results.
        effort: How long.
        again: Whether rows that are there are measured again.
        end: When no further row begins, by time.monotonic().

    Returns:
        Whether a contender computed something else.
    """
    started, wrong, left = time.monotonic(), False, 0
    for group in groups:
        rows = {} if again else load_rows(folder, group)
        for entry in group.entries:
            if entry.key in rows:
                continue
            if time.monotonic() > end:
                left += 1
                continue
            try:
                row, absent = measure_entry(entry, effort)
            except DeployError as error:
                print(f"{group.name}: {entry.key}: {error}", flush=True)
                continue
            rows[entry.key] = described_row(entry, row, absent)
            save_rows(folder, group, rows)
            wrong |= any(measured.status == "wrong" for measured in row.measured)
            print(f"{time.monotonic() - started:5.0f} s  {group.name}: {shown(row)}", flush=True)
    if left:
        print(f"time is over; {left} rows are left: run it again")
    return wrong


def measure_entry(entry: Entry, effort: Effort) -> tuple[Row, tuple[Absent, ...]]:
    """Measure one row with those of its contenders that run here."""
    available = {name: CONTENDERS[name].availability() for name in entry.contenders if name in CONTENDERS}
    absent = tuple(Absent(name, found.detail, found.fix) for name, found in available.items() if not found.usable)
    taking = [CONTENDERS[name] for name, found in available.items() if found.usable]
    options = BenchOptions(emissions=entry.emissions, threads=THREADS, effort=effort)
    return bench_setting(networks.checkpoint(entry.spec), entry.setting, taking, options), absent


def shown(row: Row) -> str:
    """A row in a line."""
    times = [f"{m.name} {figure(m.time.median) + ' us' if m.time else m.status}" for m in row.measured]
    return f"{row.setting.name}: {', '.join(times)}"


if __name__ == "__main__":
    raise SystemExit(main())

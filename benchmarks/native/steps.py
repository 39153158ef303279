"""How long each of a million steps of a stream in C takes: the paper's network for pixel-MNIST, batch 1.

Compiled for this processor alone and for every x86-64, pinned to one core, with real-time priority where the system
grants it. Writes benchmarks/results/native-steps.json, which docs/native.md shows.

python -m benchmarks.native.steps [--core 1] [--steps 1000000]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import write_result
from benchmarks.networks import STANDARD, checkpoint
from drnn_models.cells import CELLS, Cell
from drnn_runtimes.native.compiler import compiler
from drnn_runtimes.native.package import native_package

FORMS = {"this processor": ("-march=native", "-DDRNN_NATIVE"), "any x86-64": ()}
LOOPS = ("step", "counting", "empty")  # lines of steps.c
POINTS = ("median", "p99", "p99.99", "maximum")  # of a line
_SOURCE = Path(__file__).with_name("steps.c")
_PRIORITY = 50  # of real time, as an audio thread's
Row = dict[str, Any]


def build(folder: Path, cell: Cell, form: str, *flags: str) -> Path:
    """Write the network as C into an empty folder and compile `steps.c` with it."""
    network = checkpoint(STANDARD["mnist"].spec(cell))
    for file, text in native_package("timed", network.dilated, network.weights, [], 1.0).sources.items():
        (folder / file).write_text(text, encoding="utf-8")
    program = folder / "steps"
    command = [*compiler(), "-O3", *FORMS[form], *flags, "-I", str(folder), str(_SOURCE), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


@contextlib.contextmanager
def alone(core: int) -> Iterator[bool]:
    """Give this process and its children one core; says whether they also got real-time priority."""
    cores = os.sched_getaffinity(0)
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setaffinity(0, {core})
    try:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        yield os.sched_getscheduler(0) == os.SCHED_FIFO
    finally:
        os.sched_setscheduler(0, policy, priority)
        os.sched_setaffinity(0, cores)


def measure(program: Path, steps: int) -> dict[str, dict[str, int]]:
    """Nanoseconds of each loop: its median, p99, p99.99 and maximum."""
    done = subprocess.run([program, str(steps)], capture_output=True, text=True, check=True)
    lines = [map(int, line.split()) for line in done.stdout.splitlines()]
    return {loop: dict(zip(POINTS, line, strict=True)) for loop, line in zip(LOOPS, lines, strict=True)}


def compiler_version() -> str:
    """What the compiler says it is."""
    done = subprocess.run([*compiler(), "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]


def table(result: dict[str, Any]) -> list[str]:
    """The rows as Markdown, in microseconds."""
    lines = [
        "| cell | compiled for | median | p99 | p99.99 | counting | empty | maximum | counting | empty |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        points = [("step", "median"), ("step", "p99"), *((loop, point) for point in POINTS[2:] for loop in LOOPS)]
        shown = (f"{row[loop][point] / 1e3:.2f}" for loop, point in points)
        lines.append(f"| {row['cell'].upper()} | {row['form']} | {' | '.join(shown)} |")
    return lines


def main(steps: int, core: int) -> None:
    """Compile everything, then measure one after the other."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as root:
        programs: dict[tuple[Cell, str], Path] = {}
        for cell in CELLS:
            for form in FORMS:
                folder = Path(root, f"{cell} {form}")
                folder.mkdir()
                programs[cell, form] = build(folder, cell, form)
        with alone(core) as real_time:
            for (cell, form), program in programs.items():
                rows.append({"cell": cell, "form": form, **measure(program, steps)})
                print(rows[-1], flush=True)
    result = {"compiler": compiler_version(), "real_time": real_time, "steps": steps, "rows": rows}
    write_result("native-steps", result)
    print("\n".join(table(result)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=1_000_000)
    chosen = parser.parse_args()
    main(chosen.steps, chosen.core)

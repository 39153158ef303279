"""The steps of C streams are measured as docs/native.md says, and it shows what was measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from drnn_runtimes.native.compiler import compiler
from tests.runtimes.native.packages import ONE_KERNEL, WARNINGS

REPOSITORY = Path(__file__).parents[2]
RESULT = json.loads((REPOSITORY / "benchmarks" / "results" / "native-steps.json").read_text(encoding="utf-8"))


def test_page_shows_what_was_measured() -> None:
    from benchmarks.native.steps import table

    assert "\n".join(table(RESULT)) in (REPOSITORY / "docs" / "native.md").read_text(encoding="utf-8")


def test_a_step_takes_what_a_stream_in_c_may() -> None:
    most = {"rnn": 1200, "gru": 2000, "lstm": 2000}  # ns
    assert RESULT["steps"] == 1_000_000
    assert {(row["cell"], row["form"]) for row in RESULT["rows"]} == {
        (cell, form) for cell in most for form in ("this processor", "any x86-64")
    }
    assert all(row["step"]["median"] <= most[row["cell"]] for row in RESULT["rows"])


@pytest.mark.skipif(not compiler(), reason="there is no C compiler")
def test_program_compiles_without_warnings_and_measures_each_loop(tmp_path: Path) -> None:
    from benchmarks.native.steps import LOOPS, POINTS, alone, build, measure

    program = build(tmp_path, "rnn", "any x86-64", "-O1", *ONE_KERNEL, *WARNINGS)
    cores = os.sched_getaffinity(0)
    with alone(max(cores)):
        loops = measure(program, 20_000)
    assert os.sched_getaffinity(0) == cores
    assert list(loops) == list(LOOPS)
    for loop in loops.values():
        assert list(loop) == list(POINTS)
        assert sorted(loop.values()) == list(loop.values())
    step, counting, empty = (loops[loop]["median"] for loop in LOOPS)
    assert 0 < empty < min(step, counting)

"""No generated node that TensorRT-RTX refuses passes the lint, and few that it builds fail.

The tables are printed at the end of the run; docs/lint.md has those of 3,000 nodes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.export.lint.confusion import Outcome, by_operator, by_rule, described, drafts, outcomes, table
from tests.export.lint.examples import examples

pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
FALSE_ALARMS = 0.02  # of the nodes that are built


def check(found: Sequence[Outcome], *, alarms: float = FALSE_ALARMS) -> None:
    """Nothing that is refused passes; hardly anything that is right fails."""
    passed = [described(outcome) for outcome in found if outcome.cell == "refused, passed"]
    assert not passed, "\n".join(passed)
    false = [described(outcome) for outcome in found if outcome.cell == "built, error: false alarm"]
    assert len(false) <= alarms * sum(outcome.verdict.accepted for outcome in found), "\n".join(false)
    assert {outcome.cell for outcome in found} >= {"refused, error", "built, passed", "built, error: no valid ONNX"}


def test_parser_and_lint_agree(tmp_path: Path) -> None:
    """Without the compiler, which takes longer; what it alone refuses looks like a false alarm."""
    check(outcomes(drafts(random.Random(1), 200), tmp_path, build=False), alarms=0.1)


def test_compiler_and_lint_agree(tmp_path: Path) -> None:
    check(outcomes(drafts(random.Random(2), 20), tmp_path))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3))
def test_compiler_and_lint_agree_on_every_operator(
    seed: int, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    found = outcomes(drafts(random.Random(seed), 1000, examples(tmp_path)), tmp_path)
    for kind, group in (("operator", by_operator), ("rule", by_rule)):
        for name, cells in table(found, group).items():
            counts = ", ".join(f"{count} {cell}" for cell, count in sorted(cells.items()))
            record_property(f"lint beside TensorRT-RTX, seed {seed}, {kind} {name}", counts)
    check(found)

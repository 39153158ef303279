"""Which exit code a report has."""

from __future__ import annotations

import pytest

from drnn_deploy.parity.results import ParityReport, ParityRow


def row(passed: bool, exit_code: int = 0, runtime: str = "fake") -> ParityRow:
    return ParityRow(runtime, "sequence/fused", "fp32", passed, (), None, "", exit_code)


@pytest.mark.parametrize("rows, code", [
    ([], 3),
    ([row(True, runtime="reference")], 3),
    ([row(False, runtime="reference")], 1),
    ([row(True)], 0),
    ([row(True, runtime="reference"), row(True)], 0),
    ([row(True), row(False)], 1),
    ([row(False), row(False, 3)], 1),
    ([row(True), row(False, 3)], 3),
    ([row(True), row(False, 2), row(False, 4)], 4),
    ([row(False, 1), row(False, 4)], 1),
])  # fmt: skip
def test_exit_codes(rows: list[ParityRow], code: int) -> None:
    report = ParityReport(tuple(rows), ())
    assert report.exit_code == code
    assert report.passed is (code == 0)

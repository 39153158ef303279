"""Pictures of made-up reports."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from drnn_core.errors import InputError
from drnn_deploy.bench.picture import draw
from drnn_deploy.bench.results import BenchReport
from tests.drnn_deploy.bench.made_up import row

REPORT = BenchReport("rnn 2 x 4", 1, (row(1, {"fast": 10.0, "slow": 90.0}), row(32, {"fast": 99.0, "slow": None})), ())


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_the_same_report_gives_the_same_picture(ending: str, tmp_path: Path) -> None:
    first, second = (tmp_path / f"{name}.{ending}" for name in "ab")
    draw(REPORT, first)
    draw(REPORT, second)
    assert first.read_bytes() == second.read_bytes() != b""


def test_batches_are_lines_and_one_batch_is_bars(tmp_path: Path) -> None:
    draw(
        dataclasses.replace(REPORT, rows=(*REPORT.rows, row(1, {"fast": 3.0, "late": 4.0}, "chunk"))),
        tmp_path / "x.svg",
    )
    text = (tmp_path / "x.svg").read_text(encoding="utf-8")
    for words in ("whole sequences of 100 steps", "a stream, 100 steps at a time, batch 1", "late", "rnn 2 x 4"):
        assert words in text


def test_there_must_be_something_to_draw(tmp_path: Path) -> None:
    empty = dataclasses.replace(REPORT, rows=(row(1, {"slow": None}),))
    for report, path, said in ((empty, "x.svg", "no contender"), (REPORT, "x.bmp", "cannot be written as x.bmp")):
        with pytest.raises(InputError, match=said):
            draw(report, tmp_path / path)
    assert not [*tmp_path.iterdir()]

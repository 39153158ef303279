"""Tables and sentences of reports."""

from __future__ import annotations

import dataclasses

import pytest

from drnn_deploy.debug.explanation import Deviation, Explanation, StageResult
from drnn_deploy.parity.results import Measured, TaskResult
from drnn_deploy.reports.markdown import explanations_markdown, markdown
from drnn_deploy.reports.text import (
    derivation,
    explanation_details,
    row_cells,
    smallest_passing,
    sparkline,
    stage_table,
    task_table,
)
from tests.drnn_deploy.reports.made_up import case, report, row

GOOD, BAD = Deviation(1e-8, 0.1, 1e-6, None, (1e-8,) * 3), Deviation(1e-3, 1e4, 1e-6, 7, (1e-7, 2e-5, None))


@pytest.mark.parametrize("noises, cells", [(2.0, ("2.0e-06", "2.00")), (None, ("not finite", "-"))])
def test_every_form_shows_the_same_cells(noises: float | None, cells: tuple[str, str]) -> None:
    shown = row("torch", case(noises=noises, agreement=0.5))
    said = row_cells(shown)
    assert (said["largest error"], said["in noise"]) == cells
    assert (said["agreement"], said["ms/sequence"], said["seconds"]) == ("0.5000", "2", "0.50")
    assert f"| torch | sequence/fused | fp32 | {cells[0]} | {cells[1]} | 0.50 |" in markdown({"b": report(shown)})


def test_a_row_without_numbers_has_none() -> None:
    said = row_cells(dataclasses.replace(row("torch"), milliseconds=None, seconds=None))
    assert [text for text in said.values() if text == "-"] == ["-"] * 6


def test_table_has_each_number_once() -> None:
    results = [
        TaskResult("torch", "sequence", "t", "s", 1234, {"accuracy": Measured(0.5, 0.25)}, 7),
        TaskResult("ort", "sequence/fused", "t", "s", 1234, {"accuracy": Measured(0.5, None)}, 1000),
    ]
    header, rows = task_table(results)
    assert header == ["task", "runtime", "graph", "accuracy", "sequences", "changed"]
    assert rows == [
        ["t", "float64", "", "0.500000", "1,234", ""],
        ["t", "torch", "sequence", "0.250000", "1,234", "7"],
        ["t", "ort", "sequence/fused", "not finite", "1,234", "1,000"],
    ]


def test_smallest_passing_is_the_worst_of_all_but_the_reference() -> None:
    found = report(row("torch", case("a", 0.5), case("b", 2.5)), row("onnxruntime-cpu", case("a", 1.5)))
    worst = smallest_passing(found)
    assert worst is not None
    assert (worst[0].runtime, worst[1].case) == ("torch", "b")
    text = "\n".join(derivation(found))
    assert "--max-noise 2.5 (torch sequence/fused on b inputs), or --atol 2.5e-06" in text
    assert "fp32 gru 3 x 4, 32 steps: noise 1.0e-06 (a), limit 8.0e-06" in text
    assert "2,100 networks" in text


def test_noises_of_several_inputs_are_a_range() -> None:
    noisy = dataclasses.replace(case("b"), noise=3e-6, limit=24e-6)
    text = "\n".join(derivation(report(row("torch", case("a"), noisy))))
    assert "noise 1.0e-06 (a) to 3.0e-06 (b), limits 8.0e-06 to 2.4e-05" in text


def test_smallest_passing_of_what_is_not_finite_is_none() -> None:
    assert "none, torch sequence/fused on normal inputs" in derivation(report(row("torch", case(noises=None))))[-1]
    assert smallest_passing(report()) is None


@pytest.mark.parametrize("growth, bars, digits", [
    ((0.0, 1e-6, 1.1e-6, 1.1e-5, 1.0), "▁▁▂▃█", "00127"),
    ((1e3, None, float(2**60)), "█!█", "7!7"),
    ((), "", ""),
])  # fmt: skip
def test_sparkline_rises_by_decades_past_the_limit(growth: tuple[float | None, ...], bars: str, digits: str) -> None:
    deviation = Deviation(1.0, 1.0, 1e-6, None, growth)
    assert sparkline(deviation) == bars
    assert sparkline(deviation, ascii_only=True) == digits


def test_sparkline_of_a_limit_of_zero_and_of_nothing() -> None:
    assert sparkline(Deviation(1.0, None, 0.0, 0, (0.0, 1e-30))) == "▁█"
    assert sparkline(None) == ""


def test_words_say_what_was_not_seen() -> None:
    stages = (StageResult("layer 0", "l0/rnn", GOOD, BAD), StageResult("head", "output", None, None))
    found = Explanation(
        "engine",
        "sequence/fused",
        "normal",
        "layer 0",
        "v",
        tuple("abcdefg"),
        stages,
        seen_on="onnxruntime-cpu",
        note="n",
    )
    assert stage_table(found) == [
        ("layer 0", "1.0e-08", "1.0e-03 OFF", "1.0e-06", "7", "▁▃!"),
        ("head", "not seen", "not seen", "", "", ""),
    ]
    said = explanation_details(found)
    assert said[0] == "as it ran, layer 0 is the first past its limit, from step 7"
    assert said[1] == "differences from the graph that the weights make: 7"
    assert [line.strip() for line in said[2:7]] == list("abcde")
    assert said[7].strip().startswith("and 2 more")
    assert said[8:] == ["these are values of onnxruntime-cpu: engine shows none of its own", "n"]
    assert "| layer 0 | 1.0e-08 | 1.0e-03 OFF | 1.0e-06 | 7 | ▁▃! |" in explanations_markdown({"bundle": [found]})

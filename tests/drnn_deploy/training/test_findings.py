from __future__ import annotations

import pytest

from drnn_core.errors import InputError
from drnn_deploy.training.claims import Claim
from drnn_deploy.training.findings import judge
from drnn_deploy.training.recipe import load_recipe

RECIPES = {
    name: load_recipe("copy-memory", None, [f"seed={seed}"]) for seed, name in enumerate(("one", "two", "three"))
}


def verdict(claim: Claim, metric: str = "accuracy", **values: float) -> str:
    results = {name: [value] for name, value in values.items()}
    return judge(claim, metric, results, {}, "{:.2f}").verdict


@pytest.mark.parametrize("metric, claim, values, wanted", [
    ("accuracy", {"at_least": 0.5}, {"one": 0.5}, "confirmed"),
    ("accuracy", {"at_least": 0.5}, {"one": 0.49}, "not confirmed"),
    ("accuracy", {"at_most": 0.5}, {"one": 0.49}, "confirmed"),
    ("accuracy", {"at_most": 0.5}, {"one": 0.51}, "not confirmed"),
    ("cross_entropy", {"at_least": 2.0}, {"one": 2.08}, "confirmed"),
    ("cross_entropy", {"at_least": 2.0}, {"one": 0.01}, "not confirmed"),
    ("cross_entropy", {"at_most": 0.1}, {"one": 0.01}, "confirmed"),
    ("cross_entropy", {"at_most": 0.1}, {"one": 0.2}, "not confirmed"),
    ("accuracy", {"than": "two", "by": 0.2}, {"one": 0.8, "two": 0.5}, "confirmed"),
    ("accuracy", {"than": "two", "by": 0.2}, {"one": 0.6, "two": 0.5}, "not confirmed"),
    ("accuracy", {"than": "two", "by": -0.2}, {"one": 0.4, "two": 0.5}, "confirmed"),
    ("bits_per_character", {"than": "two"}, {"one": 1.5, "two": 1.6}, "confirmed"),
    ("bits_per_character", {"than": "two"}, {"one": 1.6, "two": 1.5}, "not confirmed"),
    ("bits_per_character", {"than": "two", "by": 0.2}, {"one": 1.5, "two": 1.6}, "not confirmed"),
    ("bits_per_character", {"than": "two", "by": -0.2}, {"one": 1.6, "two": 1.5}, "confirmed"),
    ("accuracy", {"than": "two"}, {"one": 0.1135, "two": 0.1135}, "not confirmed"),
    ("bits_per_character", {"than": "two"}, {"one": 1.5, "two": 1.5}, "not confirmed"),
    ("accuracy", {"than": "two", "by": 0.2}, {"one": 0.3, "two": 0.1}, "confirmed"),  # 0.1 + 0.2 > 0.3
    ("cross_entropy", {"than": "two", "by": 0.2}, {"one": 0.7, "two": 0.9}, "confirmed"),
    ("accuracy", {"than": "two"}, {"one": 0.8}, "not tested"),
    ("accuracy", {"than": "trivial"}, {"one": 0.8, "trivial": 0.1}, "confirmed"),
])  # fmt: skip
def test_verdicts(metric: str, claim: dict[str, float | str], values: dict[str, float], wanted: str) -> None:
    assert verdict(Claim("So it is.", ("one",), **claim), metric, **values) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.4, "one 0.40; the bar is 0.50. It is too small"), (0.6, "one 0.60; the bar is 0.50")]
)
def test_why_it_does_not_hold_is_said_where_it_does_not(value: float, wanted: str) -> None:
    table = {"text": "Good.", "runs": ["one"], "at_least": 0.5, "why_not": "It is\ntoo small."}
    finding = judge(Claim.from_table(table, RECIPES), "accuracy", {"one": [value]}, {}, "{:.2f}")
    assert finding.reason == wanted


def test_a_margin_above_what_is_nearly_perfect_is_no_fault_of_the_network() -> None:
    results = {"one": [0.98], "two": [0.93]}
    reason = judge(Claim("Better.", ("one",), than="two", by=0.15), "accuracy", results, {}, "{:.2f}").reason
    assert reason == "one 0.98, two 0.93; the bar is 1.08, which no network can reach"
    spoken = judge(Claim("Better.", ("one",), than="two", by=0.15), "recording_accuracy", results, {}, "{:.2f}").reason
    assert spoken == reason
    less = judge(Claim("Better.", ("one",), than="two", by=0.07), "accuracy", results, {}, "{:.2f}").reason
    assert less.endswith("the bar is 1.00")
    bits = {"one": [1.5], "two": [1.6]}
    assert judge(
        Claim("Better.", ("one",), than="two", by=0.2), "bits_per_character", bits, {}, "{:.2f}"
    ).reason.endswith("the bar is 1.40")


def test_of_several_seeds_the_median_counts() -> None:
    results = {"one": [0.93, 0.1, 0.6], "two": [0.5]}
    for claim, wanted in (
        (Claim("Good.", ("one",), at_least=0.6), "confirmed"),
        (Claim("Good.", ("one",), at_least=0.61), "not confirmed"),
        (Claim("Better.", ("two",), than="one", by=-0.15), "confirmed"),
        (Claim("Better.", ("two",), than="one"), "not confirmed"),
    ):
        finding = judge(claim, "accuracy", results, {}, "{:.2f}")
        assert finding.verdict == wanted
        assert "one 0.60 (median of 3 seeds)" in finding.reason
        assert "two 0.50 (" not in finding.reason


def test_every_run_that_is_named_counts() -> None:
    claim = Claim("All are good.", ("one", "two", "three"), at_least=0.5)
    assert verdict(claim, one=0.6, two=0.7, three=0.8) == "confirmed"
    assert verdict(claim, one=0.6, two=0.4, three=0.8) == "not confirmed"
    assert verdict(claim, one=0.6, two=0.4) == "not tested"


@pytest.mark.parametrize("short", ["one", "two"])
def test_a_run_that_was_cut_short_decides_nothing(short: str) -> None:
    results = {"one": [0.9], "two": [0.1]}
    claim, why = Claim("Better.", ("one",), than="two"), {short: "9,999 of 10,000 iterations"}
    finding = judge(claim, "accuracy", results, why, "{:.2f}")
    assert (finding.verdict, finding.reason) == ("not tested", f"{short} has 9,999 of 10,000 iterations")
    assert judge(claim, "accuracy", results, {"three": "9 of 10 iterations"}, "{}").verdict == "confirmed"


@pytest.mark.parametrize("table, says", [
    ({}, "a claim has text, runs"),
    ([], "a claim has text, runs"),
    ({"text": "x", "runs": ["one"]}, "says one of"),
    ({"text": "x", "runs": [], "at_least": 1}, "says one of"),
    ({"text": "x", "runs": ["one"], "at_least": 1, "at_most": 2}, "says one of"),
    ({"text": "x", "runs": ["one"], "at_least": 1, "why_not": 1}, "entry 'why_not' of a claim"),
    ({"text": "x", "runs": ["one"], "at_least": "1"}, "entry 'at_least' of a claim"),
    ({"text": "x", "runs": ["one"], "at_least": True}, "entry 'at_least' of a claim"),
    ({"text": "x", "runs": ["one"], "at_least": float("nan")}, "entry 'at_least' of a claim"),
    ({"text": "x", "runs": ["one"], "than": "two", "by": False}, "entry 'by' of a claim"),
    ({"text": "x", "runs": ["one"], "at_least": 1, "by": 0.2}, "entry 'by' of a claim would be ignored"),
    ({"text": "x", "runs": ["one"], "than": "one"}, "'one' against itself"),
    ({"text": "x", "runs": ["four"], "at_least": 1}, "names 'four', which is not a run"),
    ({"text": "x", "runs": [[]], "at_least": 1}, r"names \[\], which is not a run"),
    ({"text": "x", "runs": ["one"], "than": "four"}, "names 'four'"),
    ({"text": "x", "runs": ["one"], "colour": "red", "at_least": 1}, "a claim has text"),
])  # fmt: skip
def test_what_is_no_claim_is_refused(table: object, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Claim.from_table(table, RECIPES)

"""A report against an earlier one: nothing against itself, and every single thing that got worse."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core import environment
from drnn_core.errors import InputError
from drnn_core.plain_data import schema_error
from drnn_deploy.cli.parity import as_json
from drnn_deploy.parity.results import ParityReport
from drnn_deploy.reports.regressions import read_baseline, regressions
from tests.drnn_deploy.reports.made_up import case, report, row, task

SCHEMA = "drnn_deploy.parity", "parity.schema.json"
noises = st.floats(0.0, 8.0)


@pytest.fixture(autouse=True, scope="module")
def machine_that_is_looked_at_once() -> Iterator[None]:
    here = environment.environment()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "environment", lambda: here)
        yield


def written(*reports: ParityReport) -> dict[str, Any]:
    """As in a file: through JSON and past the schema."""
    found: dict[str, Any] = json.loads(json.dumps(as_json({f"bundle{n}": each for n, each in enumerate(reports)})))
    assert schema_error(found, *SCHEMA) is None
    return found


def one(noise: float = 1.0, **changes: Any) -> ParityReport:
    return report(row("onnxruntime-cpu", case("normal", noise), case("ramp", 0.5), **changes), row("torch", case()))


@given(noise=noises)
def test_a_report_is_no_worse_than_itself(noise: float) -> None:
    assert regressions(written(one(noise)), written(one(noise)), slowdown=1.0) == []


@given(before=noises, now=noises)
def test_an_error_is_worse_beyond_twice_and_a_noise(before: float, now: float) -> None:
    found = regressions(written(one(before)), written(one(now)))
    assert bool(found) == (now > max(2 * before, before + 1))
    assert all("onnxruntime-cpu sequence/fused on normal inputs" in each.where for each in found)


@pytest.mark.parametrize(
    ("worse", "words"),
    [
        (report(row("torch", case())), "was checked, and is not any more"),
        (report(row("onnxruntime-cpu", case("normal")), row("torch", case())), "was checked, and is not any more"),
        (one(9.0), "passed, and fails now"),
        (report(row("onnxruntime-cpu", case(noises=None), case("ramp", 0.5)), row("torch", case())), "to inf noises"),
        (
            report(row("onnxruntime-cpu", case(agreement=0.98), case("ramp", 0.5)), row("torch", case())),
            "predictions fell from 1.0000 to 0.9800",
        ),
        (dataclasses.replace(one(), tasks=(task(changed=1),)), "1 predictions changed, 0 before"),
        (dataclasses.replace(one(), tasks=(task(value=0.85),)), "accuracy is 0.05 from float64's, 0 before"),
        (dataclasses.replace(one(), tasks=()), "the task was measured, and is not any more"),
        (dataclasses.replace(one(), files=()), "weights.safetensors: the file was checked, and is not any more"),
        (
            report(
                row("onnxruntime-cpu", dataclasses.replace(case(), compared=0.4), case("ramp", 0.5)),
                row("torch", case()),
            ),
            "40.0% of the outputs are compared, 100.0% were before",
        ),
    ],
)
def test_any_single_thing_that_is_worse_is_found(worse: ParityReport, words: str) -> None:
    found = regressions(written(one()), written(worse))
    assert any(words in f"{each.where}: {each.what}" for each in found), found
    assert regressions(written(worse), written(worse)) == []


def test_a_bundle_that_is_missing_is_found() -> None:
    (found,) = regressions(written(one(), one()), written(one()))
    assert found.what == "2 bundles or checkpoints were checked, now 1"


def test_times_count_only_when_asked() -> None:
    slow = written(one(milliseconds=3.1))
    assert regressions(written(one()), slow) == []
    assert regressions(written(one(milliseconds=0.0)), slow, slowdown=1.5) == []
    (found,) = regressions(written(one()), slow, slowdown=1.5)
    assert found.what == "takes 3.1 ms, 1.6 times the 2 ms before"
    assert regressions(written(one()), slow, slowdown=1.6) == []


def test_a_few_more_changed_predictions_of_many_are_noise() -> None:
    many, more, too_many = (dataclasses.replace(one(), tasks=(task(changed=n),)) for n in (100, 119, 121))
    assert regressions(written(many), written(more)) == []
    assert regressions(written(many), written(too_many))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"passed": true}', b"\xff", b'{"passed": true, "exit_code": 0, "reports": [1]}']
)
def test_what_is_no_report_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"old\.json") as caught:
        read_baseline(path)
    assert "--json" in caught.value.fix


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "old.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="cannot read the baseline"):
        read_baseline(tmp_path / "old.json")


def test_the_report_in_a_bundle_is_a_baseline(tmp_path: Path) -> None:
    path = tmp_path / "parity.json"
    path.write_text(json.dumps(one().to_json()), encoding="utf-8")
    assert regressions(read_baseline(path), written(one()), slowdown=1.0) == []
    assert regressions(read_baseline(path), written(one(9.0)))


@given(data=st.data())
def test_what_is_no_report_of_a_bundle_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Anything in the place of any of its values, which has another type."""
    path, found = tmp_path_factory.getbasetemp() / "parity.json", json.loads(json.dumps(one().to_json()))
    holder: Any = found
    while isinstance(holder, dict | list):
        places = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        place = data.draw(st.sampled_from(places))
        if not holder[place] or not isinstance(holder[place], dict | list) or data.draw(st.booleans()):
            break
        holder = holder[place]
    holder[place] = data.draw(st.sampled_from([b"", {"surprise": 1}, [[]]])) or [None]
    path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(InputError, match=r"parity\.json"):
        read_baseline(path)


def test_a_check_that_never_ran_is_no_baseline(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(
        json.dumps({"passed": False, "exit_code": 2, "error": {"message": "no such file", "fix": ""}}), encoding="utf-8"
    )
    with pytest.raises(InputError, match="no such file"):
        read_baseline(path)


@given(st.data())
def test_schema_allows_nothing_more(data: st.DataObject) -> None:
    found = written(one())
    holders = [found["reports"][0], found["reports"][0]["rows"][0], found["reports"][0]["rows"][1]["cases"][0]]
    holders += [found["reports"][0]["missing"][0], found["reports"][0]["tasks"][0], found]
    data.draw(st.sampled_from(holders))["surprise"] = 1
    assert schema_error(found, *SCHEMA)

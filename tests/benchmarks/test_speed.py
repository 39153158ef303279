"""The standard set: what it covers, that it goes on where it was stopped, and that its page says what was measured."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest

from benchmarks.networks import STANDARD
from benchmarks.speed import __main__ as speed
from benchmarks.speed import results
from benchmarks.speed.page import page
from benchmarks.speed.plan import BATCHES, GROWTH, SMOKE, Entry, Group, all_groups, chosen_groups, smoke_groups
from benchmarks.speed.results import FOLDER, load_groups
from drnn_core.errors import InputError
from drnn_deploy.bench.measure import Effort
from drnn_deploy.bench.registry import CONTENDERS
from drnn_deploy.bench.results import Absent, Row
from tests.drnn_deploy.bench.made_up import row

REPOSITORY = Path(__file__).parents[2]
CELLS = ("gru", "lstm", "rnn")


def test_the_plan_covers_every_network_cell_batch_and_form() -> None:
    groups = {group.name: group for group in all_groups()}
    for name, cell in itertools.product(STANDARD, CELLS):
        settings = {(entry.setting.form, entry.setting.batch) for entry in groups[f"{name}-{cell}"].entries}
        assert {(form, batch) for form in ("sequence", "step") for batch in BATCHES} <= settings
    assert {f"growth-length-{cell}" for cell in CELLS} | {f"growth-{name}-gru" for name in GROWTH} <= set(groups)
    assert {name: network.length for name, network in STANDARD.items()} == {
        "mnist": 784, "copy": 1020, "ptb": 100, "waveform": 6000,
    }  # fmt: skip
    assert GROWTH["length"][-1] == 64_000


def test_every_row_has_a_key_of_its_own_and_known_contenders() -> None:
    groups = all_groups()
    assert len({group.name for group in groups}) == len(groups)
    for group in groups:
        assert len({entry.key for entry in group.entries}) == len(group.entries)
        assert {name for entry in group.entries for name in entry.contenders} <= set(CONTENDERS)


def test_groups_are_chosen_by_wildcards() -> None:
    assert [group.name for group in chosen_groups(["mnist-*"])] == [f"mnist-{cell}" for cell in CELLS]
    assert len(chosen_groups([])) == len(all_groups())
    with pytest.raises(InputError, match="no group is called nothing"):
        chosen_groups(["nothing"])


class MadeUp:
    """In place of measuring: times in proportion to the steps, and a crash after so many rows."""

    def __init__(self, crash: int = 99) -> None:
        self.done: list[str] = []
        self._crash = crash

    def __call__(self, entry: Entry, effort: Effort) -> tuple[Row, tuple[Absent, ...]]:
        if len(self.done) == self._crash:
            raise KeyboardInterrupt
        self.done.append(entry.key)
        steps = entry.setting.steps
        made = row(entry.setting.batch, {"native": 1.0 * steps, "onnxruntime-cpu": 3.0 * steps, "tract": None})
        return dataclasses.replace(made, setting=entry.setting), (Absent("openvino", "not installed", ""),)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, measure: MadeUp, *, again: bool = False) -> list[str]:
    monkeypatch.setattr(speed, "measure_entry", measure)
    speed.run_groups(smoke_groups(), folder, SMOKE, again=again)
    return measure.done


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [entry.key for group in smoke_groups() for entry in group.entries]
    stopped = MadeUp(crash=3)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, tmp_path, stopped)
    assert run(monkeypatch, tmp_path, MadeUp()) == keys[3:]
    assert run(monkeypatch, tmp_path, MadeUp()) == []
    assert run(monkeypatch, tmp_path, MadeUp(), again=True) == keys
    monkeypatch.setattr(results, "machine", lambda: {"processor": "another"})
    assert run(monkeypatch, tmp_path, MadeUp()) == keys, "what another machine measured does not count"


def test_no_row_begins_when_time_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    speed.run_groups(smoke_groups(), tmp_path, SMOKE, end=0.0)
    assert "5 rows are left" in capsys.readouterr().out
    assert not [*tmp_path.iterdir()]


def test_the_page_says_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, tmp_path / "results", MadeUp())
    speed.write_page(tmp_path / "results", tmp_path / "docs" / "speed.md")
    text = (tmp_path / "docs" / "speed.md").read_text(encoding="utf-8")
    assert "| 1 | native | 13.2 (12.6 to 13.8) |" in text, "medians and quartiles of 12 us, 13.2 us and 14.4 us"
    assert "| 1 | tract | refused |" in text
    assert "1.00 ± 0.00 | 1.00 |" in text, "in proportion to the length"
    assert "- tract (growth-length-gru, mnist-gru): refused: no" in text
    assert "- openvino (growth-length-gru, mnist-gru): not installed" in text
    assert "Nowhere." in text, "native is three times as fast"
    assert {path.name for path in (tmp_path / "docs" / "figures").iterdir()} == {"speed-batch.svg", "speed-growth.svg"}


def test_rows_in_which_native_is_not_ahead_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, tmp_path, MadeUp())
    path = tmp_path / "mnist-gru.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    for entry in kept["rows"][0]["contenders"]:
        if entry["contender"] == "native":
            entry["time"]["median"] *= 2
            entry["verdict"] = "not compared"
    path.write_text(json.dumps(kept), encoding="utf-8")
    text = page(load_groups(tmp_path), [])
    assert f"- {kept['rows'][0]['key']}: 1.5 times as fast as onnxruntime-cpu" in text
    assert "compared with float64 first; rounding drowns the outputs of 1 of them, which prove nothing." in text


def test_the_committed_page_is_what_the_results_say() -> None:
    groups = load_groups(FOLDER)
    names = [name for name in ("speed-batch", "speed-growth") if (REPOSITORY / f"docs/figures/{name}.svg").is_file()]
    committed = (REPOSITORY / "docs" / "speed.md").read_text(encoding="utf-8")
    assert committed == page(groups, names) if groups else "make bench" in committed


@pytest.mark.nightly
def test_smoke() -> None:
    assert speed.main(["--smoke"]) == 0


def test_smoke_has_both_kinds_of_groups() -> None:
    assert [bool(group.variable) for group in smoke_groups()] == [False, True]
    assert all(isinstance(group, Group) for group in smoke_groups())

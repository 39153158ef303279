"""Parts in child processes, with stand-ins for them: whatever one of them does, the others run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gpu.plan import OVERRIDES, SURVEY, Part
from benchmarks.gpu.run import Entry, run_parts, without_folders

STAND_INS = "tests.benchmarks.gpu.stand_ins"
REQUEST = {"device": "cpu", "quick": True, "work": "/somewhere/work"}


def ran(*parts: Part, jobs: int = 1, seconds: float = float("inf")) -> dict[str, Entry]:
    entries = run_parts([Part(SURVEY, 60), *parts], REQUEST, module=STAND_INS, jobs=jobs, seconds=seconds)
    assert [entry["part"] for entry in entries] == [SURVEY, *(part.name for part in parts)]
    return {entry["part"]: entry for entry in entries}


def test_each_end_of_a_part_is_an_entry_and_the_next_part_runs() -> None:
    kept: list[dict[str, str]] = []
    ends = ("abort", "leave", "refused", "elsewhere", "bad", "broken", "odd", "fine")
    parts = [Part(SURVEY, 60), *(Part(f"kind/{end}", 60) for end in ends)]
    entries = run_parts(
        parts,
        REQUEST,
        module=STAND_INS,
        keep=lambda found: kept.append({entry["part"]: entry["status"] for entry in found}),
    )
    begun, ended = kept[::2], kept[1::2]
    for count, part in enumerate(parts):
        assert list(begun[count]) == list(ended[count]) == [part.name for part in parts[: count + 1]]
        assert begun[count][part.name] == "unfinished"
        assert "unfinished" not in ended[count].values()
    found = {entry["part"].rpartition("/")[2]: entry for entry in entries}
    statuses = {end: found[end]["status"] for end in ends}
    assert statuses == {
        **dict.fromkeys(("abort", "leave", "bad", "broken", "odd"), "failed"),
        **dict.fromkeys(("refused", "elsewhere"), "refused"),
        "fine": "ok",
    }
    assert found["abort"]["reason"] == "its process ended: killed by SIGABRT"
    assert "without a reply" in found["leave"]["reason"]
    assert found["refused"]["reason"] == "no compute capability 9.0\nUse another GPU."
    assert found["bad"]["reason"] == "cannot read model.onnx"
    assert found["broken"]["reason"] == "ValueError: in some.py: see https://example.org/a/page"
    assert "splendid" in found["odd"]["reason"]
    assert found["fine"]["seen"] == ["cpu", True, "work"]
    assert found["fine"]["file"] == "c.bin"
    assert "blocked" not in found[SURVEY]


def test_a_part_that_hangs_is_stopped_and_costs_its_own_time_only() -> None:
    started = time.monotonic()
    found = ran(Part("kind/hang", 1.5), Part("kind/fine", 60))
    assert time.monotonic() - started < 30
    assert found["kind/hang"]["status"] == "failed"
    assert found["kind/hang"]["reason"] == "no answer after 1.5 s and was stopped"
    assert 1.5 <= found["kind/hang"]["seconds"] < 10
    assert found["kind/fine"]["status"] == "ok"


def test_rows_are_kept_at_once_and_those_of_a_part_that_breaks_stay() -> None:
    kept: list[int] = []
    parts = [Part(SURVEY, 60), Part("kind/rows-then-abort", 60), Part("kind/rows-then-hang", 3)]
    entries = run_parts(
        parts, REQUEST, module=STAND_INS, keep=lambda found: kept.append(sum(len(e.get("rows", [])) for e in found))
    )
    assert [entry["status"] for entry in entries] == ["ok", "failed", "failed"]
    assert [entry.get("rows") for entry in entries[1:]] == [
        [{"row": 0, "file": "a.bin"}, {"row": 1, "file": "a.bin"}]
    ] * 2
    assert sorted(set(kept)) == [0, 1, 2, 3, 4]


def test_one_process_serves_many_parts_and_a_broken_one_is_replaced() -> None:
    names = ("process-1", "process-2", "abort", "process-3", "process-4")
    found = ran(*(Part(f"kind/{name}", 60) for name in names))
    first, second, third, fourth = (found[f"kind/{name}"]["process"] for name in names if name != "abort")
    assert first == second != third == fourth


def test_parts_run_beside_each_other_and_those_that_are_timed_alone_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEETING", str(tmp_path))
    names = ("kind/during-1", "kind/during-2", "latency/during-3", "graph/during-4")
    found = ran(*(Part(name, 60) for name in reversed(names)), jobs=2)
    times = [found[name]["during"] for name in names]
    assert max(times[0][0], times[1][0]) < min(times[0][1], times[1][1])  # both at a time
    assert max(end for _, end in times[:2]) < min(start for start, _ in times[2:])
    (_, end), (start, _) = sorted(times[2:])
    assert end < start
    assert {found[name]["threads"] for name in names[:2]} == {str(max(1, (os.cpu_count() or 1) // 2))}


def test_the_variable_for_tf32_is_set_before_a_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    found = ran(*(Part(f"kind/variable-{override}", 60, override=override) for override in OVERRIDES))
    assert [found[f"kind/variable-{override}"]["override"] for override in OVERRIDES] == ["0", None]


def test_what_cannot_run_is_not_begun() -> None:
    found = ran(
        Part("kind/hang", 60, runtimes=("present", "absent")),
        Part("files/refused", 60),
        Part("reader/hang", 60, after=("files/refused",)),
        Part("files/fine", 60, runtimes=("present",)),
        Part("reader/fine", 60, after=("files/fine",)),
    )
    assert found["kind/hang"] == {
        "part": "kind/hang",
        "status": "missing",
        "reason": "it is not installed",
        "seconds": 0.0,
    }
    assert found["reader/hang"]["status"] == "missing"
    assert "files/refused, on which it builds" in found["reader/hang"]["reason"]
    assert [found[f"{kind}/fine"]["status"] for kind in ("files", "reader")] == ["ok", "ok"]


def test_the_time_of_all_parts_is_limited() -> None:
    started = time.monotonic()
    found = ran(Part("kind/hang", 60), Part("kind/late", 60), seconds=5)
    assert time.monotonic() - started < 20
    assert found["kind/hang"]["status"] == "unfinished"
    assert "the 5 s of the whole check were over before it ended" in found["kind/hang"]["reason"]
    assert found["kind/late"]["status"] == "missing"
    assert "the 5 s of the whole check were over" in found["kind/late"]["reason"]


def test_what_is_not_timed_leaves_time_for_what_is() -> None:
    found = ran(Part("kind/hang", 60), Part("latency/fine", 60), seconds=5)
    assert "the 3 s of what is not timed were over before it ended" in found["kind/hang"]["reason"]
    assert found["latency/fine"]["status"] == "ok"


@pytest.mark.parametrize("end", ["broken", "refused"])
def test_a_part_that_failed_leaves_its_process_to_no_other(end: str) -> None:
    """An error of a GPU stays in a process."""
    found = ran(
        Part("kind/process-1", 60), Part(f"kind/{end}", 60), Part("kind/process-2", 60), Part("kind/process-3", 60)
    )
    processes = [found[f"kind/process-{number}"]["process"] for number in (1, 2, 3)]
    assert processes[0] != processes[1] == processes[2]


@given(st.lists(st.from_regex(r"[\w.-]{1,9}", fullmatch=True), min_size=1, max_size=5))
def test_paths_are_cut_to_names_and_addresses_are_left(names: list[str]) -> None:
    path = "/".join(("", *names, "end.txt"))
    assert without_folders({"a": [f"at {path}: no", f'"{path}"', 3]}) == {"a": ["at end.txt: no", '"end.txt"', 3]}
    address = f"see https://example.org{path}"
    assert without_folders(address) == address
    relative = path.removeprefix("/")
    assert without_folders(f"in {relative}") == f"in {relative}"
    assert without_folders("model.onnx or a/b at 1/2") == "model.onnx or a/b at 1/2"

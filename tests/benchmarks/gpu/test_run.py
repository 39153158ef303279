"""The check of a GPU, with stand-ins for its parts: whatever one of them does, the others run and the file is whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gpu import check
from benchmarks.gpu.check import load_results, main, slug
from benchmarks.gpu.plan import OVERRIDES, SURVEY, Part, all_parts, chosen_parts
from benchmarks.gpu.run import Entry, run_parts, without_folders
from drnn_core import gpu
from drnn_core.errors import InputError

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
        Part("reader/hang", 60, after="files/refused"),
        Part("files/fine", 60, runtimes=("present",)),
        Part("reader/fine", 60, after="files/fine"),
    )
    assert found["kind/hang"] == {
        "part": "kind/hang",
        "status": "missing",
        "reason": "it is not installed",
        "seconds": 0.0,
    }
    assert found["reader/hang"]["status"] == "missing"
    assert "files/refused, whose files" in found["reader/hang"]["reason"]
    assert [found[f"{kind}/fine"]["status"] for kind in ("files", "reader")] == ["ok", "ok"]


def test_the_time_of_all_parts_is_limited() -> None:
    started = time.monotonic()
    found = ran(Part("kind/hang", 60), Part("kind/late", 60), seconds=3)
    assert time.monotonic() - started < 20
    assert found["kind/hang"]["status"] == "unfinished"
    assert "the 3 s of the whole check were over before it ended" in found["kind/hang"]["reason"]
    assert found["kind/late"]["status"] == "missing"
    assert "the 3 s of the whole check were over" in found["kind/late"]["reason"]


@given(st.lists(st.from_regex(r"[\w.-]{1,9}", fullmatch=True), min_size=1, max_size=5))
def test_paths_are_cut_to_names_and_addresses_are_left(names: list[str]) -> None:
    path = "/".join(("", *names, "end.txt"))
    assert without_folders({"a": [f"at {path}: no", f'"{path}"', 3]}) == {"a": ["at end.txt: no", '"end.txt"', 3]}
    address = f"see https://example.org{path}"
    assert without_folders(address) == address
    relative = path.removeprefix("/")
    assert without_folders(f"in {relative}") == f"in {relative}"
    assert without_folders("model.onnx or a/b at 1/2") == "model.onnx or a/b at 1/2"


def test_file_is_written_after_each_part_with_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "deep" / "result.json"
    words = ["--device", "cpu", "--quick", "--output", str(output), "--parts", "export/gru"]
    assert main(words, module=STAND_INS) == 0
    result = json.loads(output.read_text(encoding="utf-8"))
    assert [part["part"] for part in result["parts"]] == [SURVEY, "export/gru"]
    assert result["device"] == {"name": "cpu", "compute_capability": "", "cuda": "", "driver": "", "kind": "cpu"}
    assert result["quick"] is True
    assert {"numpy", "drnn-deploy", "torch"} <= set(result["machine"]["versions"])
    assert "ok" in capsys.readouterr().out
    assert load_results(output.parent) == []


@pytest.mark.parametrize(
    ("kind", "name", "rows", "left_out"),
    [
        ("smoke", "smoke", 3, set()),
        pytest.param("parity", "copy-memory", 9, {"bf16"}, marks=pytest.mark.nightly),
    ],
)
def test_real_parts_run_in_real_children(kind: str, name: str, rows: int, left_out: set[str], tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    part = "/".join(dict.fromkeys((kind, name, "onnxruntime-cpu")))
    assert main(["--device", "cpu", "--quick", "--output", str(output), "--parts", part]) == 0
    survey, exported, parity = json.loads(output.read_text(encoding="utf-8"))["parts"]
    assert survey["runtimes"]["onnxruntime-cpu"]["usable"]
    assert (exported["part"], parity["part"]) == (f"export/{name}", part)
    assert len(parity["rows"]) == rows
    assert all(row["passed"] for row in parity["rows"])
    assert {entry["graph"].rpartition("/")[2] for entry in parity["left_out"]} == left_out


def test_a_part_that_failed_is_in_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "all_parts", lambda *_, **__: [Part(SURVEY, 60), Part("kind/bad", 60)])
    assert main(["--device", "cpu", "--output", str(tmp_path / "result.json")], module=STAND_INS) == 1


@pytest.mark.skipif(gpu.gpu() is not None, reason="this machine has a GPU")
def test_without_a_gpu_nothing_is_run_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "result.json"
    assert main(["--output", str(output)], module="no.such.module") == 3
    said = capsys.readouterr()
    assert "there is no GPU to check" in said.err
    assert said.out == ""
    assert not output.exists()


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    words = ["--device", "cpu", "--output", str(tmp_path / "file" / "result.json"), "--parts", "export/gru"]
    assert main(words, module=STAND_INS) == 2
    assert "cannot write" in capsys.readouterr().err


def test_parts_are_chosen_by_the_beginning_of_their_path_with_what_they_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = all_parts("cuda", quick=True)
    chosen = [part.name for part in chosen_parts(parts, ["graph/gru", "parity/ptb-char/onnxruntime-cuda"])]
    assert chosen == [
        *(SURVEY, "export/ptb-char", "parity/ptb-char/onnxruntime-cuda"),
        *("engines/gru/tensorrt", "engines/gru/tensorrt-rtx"),
        *("graph/gru/torch", "graph/gru/training", "graph/gru/tensorrt", "graph/gru/tensorrt-rtx"),
    ]
    assert chosen_parts(parts, [part.name for part in parts]) == parts
    with pytest.raises(InputError, match="there is no part 'par'"):
        chosen_parts(parts, ["par"])
    assert main(["--parts", "nothing"]) == 2
    assert main(["--list", "--parts", "stream/rnn/tensorrt"]) == 0
    assert capsys.readouterr().out.split() == [SURVEY, "engines/rnn/tensorrt", "stream/rnn/tensorrt"]


def test_what_is_worth_most_comes_first() -> None:
    names = [part.name for part in sorted(all_parts("cuda", quick=True), key=lambda part: part.alone)]
    kinds = [
        *("smoke/torch-cuda", "smoke/onnxruntime-cuda", "parity/ptb-char/torch-cuda"),
        "parity/ptb-char/onnxruntime-cuda",
        *("parity/ptb-char/cuda-kernel", "kernel-parity/lstm"),
        *("tf32/ptb-char/onnxruntime-cuda/unset", "parity/ptb-char/tensorrt"),
        *(
            "kernel-times/lstm",
            "graph/copy-memory/torch",
            "latency/lstm/onnxruntime-cuda",
            "stream/lstm/onnxruntime-cuda",
        ),
        *("latency/lstm/torch-pruned", "latency/lstm/torch-compile"),
    ]
    assert sorted(kinds, key=names.index) == kinds
    assert {"parity", "tf32"} <= {name.partition("/")[0] for name in names}
    for task in ("copy-memory", "pixel-mnist", "ptb-char", "speaker-id"):
        assert all(f"parity/{task}/{runtime}" in names for runtime in ("torch-cuda", "onnxruntime-cuda"))


def test_bundles_are_prepared_without_a_gpu_and_then_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work, output = tmp_path / "work", tmp_path / "result.json"
    assert main(["--prepare", str(work)], module=STAND_INS) == 0
    said = capsys.readouterr().out
    assert f"--work {work}" in said
    assert [line.split()[3] for line in said.splitlines()[:-1]] == [
        part.name for part in all_parts("cpu", quick=True) if part.name.startswith("export/")
    ]
    words = ["--device", "cpu", "--work", str(work), "--output", str(output), "--parts", "kind"]
    assert main([*words[:-1], "export/gru"], module=STAND_INS) == 0
    assert json.loads(output.read_text(encoding="utf-8"))["parts"][1]["seen"] == ["cpu", True, "work"]


def test_a_killed_check_leaves_a_whole_file_and_no_process(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    program = (
        "import sys; from benchmarks.gpu import check; from benchmarks.gpu.plan import Part, SURVEY\n"
        "parts = [Part(name, 60) for name in (SURVEY, 'kind/fine', 'kind/rows-then-tell')]\n"
        "check.all_parts = lambda *_, **__: parts\n"
        f"check.main(['--device', 'cpu', '--output', {str(output)!r}], module={STAND_INS!r})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not (output.exists() and '"row": 1' in output.read_text(encoding="utf-8")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
    *ended, broken = json.loads(output.read_text(encoding="utf-8"))["parts"]
    assert [entry["status"] for entry in ended] == ["ok", "ok"]
    assert (broken["status"], len(broken["rows"])) == ("unfinished", 2)
    child = broken["rows"][0]["process"]
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_every_part_comes_after_what_it_reads_and_names_are_unique() -> None:
    for quick in (True, False):
        names = [part.name for part in all_parts("cuda", quick=quick)]
        assert len(set(names)) == len(names)
        for part in all_parts("cuda", quick=quick):
            assert not part.after or names.index(part.after) < names.index(part.name)
    needed = {part.name: part.runtimes for part in all_parts("cuda", quick=True)}
    assert needed["latency/gru/tensorrt"] == ("torch-cuda", "tensorrt")  # beside which it is timed
    assert needed["parity/ptb-char/tensorrt"] == ("tensorrt",)
    assert needed["kernel-parity/gru"] == needed["kernel-times/gru"] == ("cuda-kernel",)
    assert needed["graph/gru/torch"] == needed["stream/gru/torch-cuda"] == ("torch-cuda",)
    limits = {quick: sum(part.seconds for part in all_parts("cuda", quick=quick)) for quick in (True, False)}
    assert limits[True] < limits[False]


def test_names_of_files_are_plain() -> None:
    assert slug("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"
    assert slug("../Orin (nvgpu)/") == "orin-nvgpu"

"""What a matrix runs and what that costs; and the command."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_deploy.matrix import task_metrics
from drnn_deploy.matrix.options import MatrixOptions
from drnn_deploy.matrix.run import check_bundle, check_checkpoint
from drnn_deploy.matrix.variants import other_lengths
from drnn_deploy.parity import golden
from drnn_deploy.tasks import make_task
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.reference import runtime as reference_runtime
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.matrix.conftest import DELAY

HERE = ("reference", "torch", "onnxruntime-cpu")


def test_whole_matrix_of_a_checkpoint_passes_and_each_row_has_its_name_and_time(copier: Checkpoint) -> None:
    report = check_checkpoint(copier, MatrixOptions(runtimes=(*HERE, "tensorrt-network")))
    assert (report.passed, report.exit_code) == (True, 0)
    names = [(row.runtime, row.graph) for row in report.rows]
    assert len(set(names)) == len(names) >= 25
    assert {row.runtime for row in report.rows} == {*HERE, "tensorrt-network"}
    assert all(row.seconds is not None and row.seconds > 0 for row in report.rows)
    assert {row.batch for row in report.rows} == {None, 1, 5}
    assert {(row.steps, row.pruned) for row in report.rows} >= {(DELAY + 20, True), (DELAY + 20, False), (7, False)}
    plain = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert [row["seconds"] for row in plain["rows"]] == [row.seconds for row in report.rows]


def count_float64(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Counter[tuple[str, bytes]]:
    """(module, inputs) -> how often it had the float64 loop compute them; nothing is known of earlier checks."""
    monkeypatch.setenv("DRNN_CACHE", str(folder))
    found: Counter[tuple[str, bytes]] = Counter()

    def count(name: str, right: Callable[..., Any], *words: Any, **options: Any) -> Any:
        for inputs in words[2] if isinstance(words[2], list) else [words[2]]:
            found[name, inputs.tobytes()] += 1
        return right(*words, **options)

    for module, function in ((golden, "answers"), (task_metrics, "answer"), (reference_runtime, "run_reference")):
        counted = functools.partial(count, module.__name__, getattr(module, function))
        monkeypatch.setattr(module, function, counted)
    return found


def test_float64_is_computed_once_for_all_runtimes_graphs_batches_and_chunkings(
    copier: Checkpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = count_float64(monkeypatch, tmp_path)
    options = MatrixOptions(runtimes=("torch", "onnxruntime-cpu", "tensorrt-network"), precisions=("fp32", "fp16"))
    report = check_checkpoint(copier, options)
    assert len({(row.runtime, row.graph) for row in report.rows}) >= 30
    lengths = 1 + len(other_lengths(copier.dilated, DELAY + 20))
    computed = Counter(name for name, _ in found)
    assert computed == {"drnn_deploy.parity.golden": 4 * lengths + 1, "drnn_deploy.matrix.task_metrics": 1}
    assert set(found.values()) == {1}


def test_bundle_needs_float64_once_and_the_second_time_for_further_task_data_only(
    several: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = count_float64(monkeypatch, tmp_path)
    options = MatrixOptions(runtimes=("torch", "onnxruntime-cpu"), task_data=30)
    first = check_bundle(several, options)
    assert Counter(name for name, _ in found)["drnn_deploy.parity.golden"] == len(several.golden)
    assert set(found.values()) == {1}
    found.clear()
    report = check_bundle(several, options)
    assert len({(task.runtime, task.graph) for task in report.tasks}) == 5
    assert [(name, count) for (name, _), count in found.items()] == [("drnn_deploy.matrix.task_metrics", 1)]
    assert [row.cases for row in report.rows] == [row.cases for row in first.rows]


def test_required_runtime_may_miss_some_graphs_but_not_all(
    copier: Checkpoint, several: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = MatrixOptions(runtimes=("onnxruntime-cpu",), required=("torch",), forms=("step",))
    report = check_checkpoint(copier, quick)  # torch has no skewed step
    assert (report.exit_code, {row.runtime for row in report.rows}) == (0, {"torch", "onnxruntime-cpu"})
    monkeypatch.setattr(OnnxRuntime, "unsupported", lambda self, bundle, graph: "it is Monday")
    options = MatrixOptions(required=("onnxruntime-cpu",))
    steps = dataclasses.replace(options, forms=("step",))
    for found in (check_bundle(several, options), check_checkpoint(copier, steps)):
        assert found.exit_code == 3
        failed = [row for row in found.rows if not row.passed]
        assert {row.runtime for row in failed} == {"onnxruntime-cpu"}
        assert all(row.error == "it is Monday" for row in failed)
        assert {row.runtime for row in found.rows} > {"onnxruntime-cpu"}


def test_runtimes_are_checked_before_anything_is_exported(copier: Checkpoint) -> None:
    with pytest.raises(RuntimeUnavailableError, match="torch-cuda cannot run here"):
        check_checkpoint(copier, MatrixOptions(runtimes=("torch-cuda",)))
    with pytest.raises(InputError, match="there is no runtime 'vulkan'"):
        check_checkpoint(copier, MatrixOptions(required=("vulkan",)))


# the command


def test_command_checks_the_zoo_by_task(command: Command, tmp_path: Path) -> None:
    files = tmp_path / "p.json", tmp_path / "p.md"
    words = ("--runtime", "onnxruntime-cpu", "--form", "chunk", "--json", files[0], "--markdown", files[1])
    ran = command("drnn-deploy", "parity", "--task", "copy-memory", "--task", "ptb-char", *words)
    assert ran.code == 0
    written = json.loads(files[0].read_text(encoding="utf-8"))
    assert [entry["path"] for entry in written["reports"]] == ["zoo/copy-memory/model.pt", "zoo/ptb-char/model.pt"]
    assert {row["graph"].split()[0] for row in written["reports"][0]["rows"]} == {
        "chunk32/fused", "chunk32/unrolled", "chunk32/mixed", "chunk7/fused",
    }  # fmt: skip
    assert "| runtime | graph | precision | largest error | in noise | seconds | verdict |" in files[1].read_text(
        encoding="utf-8"
    )
    assert "8 rows in " in ran.out


def test_command_shows_and_writes_the_metrics(command: Command, several: Bundle, tmp_path: Path) -> None:
    files = tmp_path / "p.json", tmp_path / "p.md"
    words = ("--runtime", "torch", "--task-data", 9, "--json", files[0], "--markdown", files[1])
    ran = command("drnn-deploy", "parity", several.folder, "--precision", "fp32", *words)
    assert ran.code == 0
    (task,) = json.loads(files[0].read_text(encoding="utf-8"))["reports"][0]["tasks"]
    assert (task["runtime"], task["graph"], task["sequences"]) == ("torch", "sequence", 9)
    value = f"{task['metrics']['cross_entropy']['reference']:.6f}"
    assert value in ran.out
    assert value in files[1].read_text(encoding="utf-8")
    assert "data    copy-memory, the first 9 sequences of the test split" in ran.out


def test_command_measures_the_task_that_was_named(command: Command, copier: Checkpoint, tmp_path: Path) -> None:
    task = make_task("copy-memory", {})
    model, report = tmp_path / "model.pt", tmp_path / "p.json"
    save_checkpoint(model, dataclasses.replace(copier, task={"length": task.length}))
    words = ("--form", "sequence", "--runtime", "torch", "--task", "copy-memory", "--json", report)
    assert command("drnn-deploy", "parity", model, *words).code == 0
    found = json.loads(report.read_text(encoding="utf-8"))["reports"][0]["tasks"]
    assert {(result["task"], result["sequences"]) for result in found} == {("copy-memory", task_metrics.EXAMPLES)}


def test_command_says_what_a_selection_could_have_been(command: Command, several: Bundle) -> None:
    ran = command("drnn-deploy", "parity", several.folder, "--form", "step")
    assert (ran.code, "It has, as form/style/precision: sequence/operator/fp32" in ran.err) == (2, True)


@pytest.mark.parametrize("words, code, message", [
    ((), 2, "nothing to check"),
    (("--task", "juggling"), 2, "there is no task 'juggling'"),
    (("{model}", "--task", "all"), 2, "--task names the one task to measure"),
    (("{model}", "--task", "ptb-char", "--task", "copy-memory"), 2, "--task names the one task to measure"),
    (("{model}", "--require", "vulkan"), 2, "there is no runtime 'vulkan'"),
    (("{model}", "--runtime", "torch-cuda"), 3, "torch-cuda cannot run here"),
])  # fmt: skip
def test_wrong_words_are_one_message(
    command: Command, copier: Checkpoint, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    path = tmp_path / "model.pt"
    save_checkpoint(path, copier)
    ran = command("drnn-deploy", "parity", *(word.format(model=path) for word in words))
    assert (ran.code, message in ran.err) == (code, True), ran.err


def test_required_runtime_that_is_missing_is_exit_code_3_with_the_report_of_the_others(
    command: Command, several: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "p.json"
    ran = command("drnn-deploy", "parity", several.folder, "--require", "torch-cuda", "--json", path)
    rows = json.loads(path.read_text(encoding="utf-8"))["reports"][0]["rows"]
    assert (ran.code, json.loads(path.read_text(encoding="utf-8"))["exit_code"]) == (3, 3)
    assert [row["runtime"] for row in rows if not row["passed"]] == ["torch-cuda"]
    assert any(row["passed"] and row["runtime"] == "onnxruntime-cpu" for row in rows)
    assert "FAILED torch-cuda" in ran.out

"""Which cells a matrix has, what it costs, and the task's metrics in it."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_deploy import ExportOptions, export
from drnn_deploy.matrix import task_metrics
from drnn_deploy.matrix.options import MatrixOptions, select
from drnn_deploy.matrix.run import check_bundle, check_checkpoint
from drnn_deploy.matrix.task_metrics import task_cases
from drnn_deploy.matrix.variants import FORMS, Selection, other_lengths, plan_graphs
from drnn_deploy.parity import golden
from drnn_deploy.reports.markdown import markdown
from drnn_deploy.tasks import IGNORED, make_task
from drnn_export.emitter.emit import NODE_BUDGET, estimate
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint, Examples, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.reference import loop
from drnn_runtimes.reference import runtime as reference_runtime
from tests.networks import random_weights, specs

Command = Any  # see conftest
DELAY = 7
HERE = ("reference", "torch", "onnxruntime-cpu")


@pytest.fixture(scope="module")
def copier() -> Checkpoint:
    """An untrained network for copy memory of seven blanks, without examples."""
    task = make_task("copy-memory", {"delay": DELAY})
    spec = ModelSpec("rnn", (6, 6), (1, 4), task.input, task.head)
    described = {"name": task.name, "length": task.length, "options": {"delay": DELAY}}
    return Checkpoint(spec, random_weights(spec, 3), described)


@pytest.fixture(scope="module")
def several(copier: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of it with whole sequences in two emissions and two precisions."""
    options = ExportOptions(emissions=("fused", "unrolled"), precisions=("fp32", "fp16"), engines=(), runtimes=())
    return export(copier, tmp_path_factory.mktemp("matrix") / "bundle", options).bundle


# which graphs


@settings(max_examples=15)
@given(specs(), st.integers(1, 30))
def test_any_network_gets_every_form_and_several_lengths_batches_and_chunks(spec: ModelSpec, length: int) -> None:
    sets, notes = plan_graphs(Checkpoint(spec, random_weights(spec, 0), {"length": length}), Selection())
    requests = [request for graphs in sets for request in graphs.requests]
    assert {(r.form, r.emission) for r in sets[0].requests} == {(f, e) for f, all_ in FORMS.items() for e in all_}
    assert {r.batch for r in requests} >= {1, 5}
    assert {r.steps for r in requests if r.form == "chunk"} == {32, 7}
    assert {r.steps for r in requests if r.form == "sequence"} == {length, *other_lengths(spec, length)}
    assert {r.prune for r in requests if r.form == "sequence"} == {True, False}
    names = [(g.label, r.form, r.steps, r.emission, r.precision) for g in sets for r in g.requests]
    assert (len(set(names)), notes) == (len(names), [])
    for graphs in sets:
        assert len({(r.form, r.steps, r.emission, r.precision) for r in graphs.requests}) == len(graphs.requests)
        assert len({r.steps for r in graphs.requests if r.form == "sequence"}) <= 1


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 200))
def test_lengths_are_divided_by_the_largest_dilation_and_not_and_shorter(dilations: list[int], length: int) -> None:
    spec = ModelSpec("gru", (2,) * len(dilations), tuple(dilations), Continuous(1), Head("last", 2))
    largest, found = max(dilations), {length, *other_lengths(spec, length)}
    assert max(found) <= 2 * length
    if largest <= length and largest > 2:
        assert any(each % largest == 0 for each in found)
        assert any(each < largest for each in found)
        assert any(each > largest and each % largest for each in found) or length * 2 < largest + largest // 2 + 1


@pytest.mark.parametrize("selection, expected", [
    (Selection(forms=("step",)), {("step", e, "fp32") for e in ("fused", "unrolled", "skewed")}),
    (Selection(emissions=("skewed",)), {("step", "skewed", "fp32")}),
    (Selection(forms=("sequence",), emissions=("unrolled",)), {("sequence", "unrolled", "fp32")}),
    (Selection(precisions=("bf16",)),
     {("chunk", "unrolled", "bf16"), ("step", "unrolled", "bf16"), ("step", "skewed", "bf16")}),
    (Selection(forms=("sequence",), precisions=("fp16", "int8")),
     {("sequence", "fused", "fp16"), ("sequence", "fused", "int8")}),
])  # fmt: skip
def test_selections_of_a_checkpoint(copier: Checkpoint, selection: Selection, expected: set[Any]) -> None:
    sets, _ = plan_graphs(copier, selection)
    assert {(r.form, r.emission, r.precision) for graphs in sets for r in graphs.requests} == expected


def test_what_was_asked_for_and_cannot_be_is_said(copier: Checkpoint) -> None:
    _, notes = plan_graphs(copier, Selection(precisions=("bf16", "fp32")))
    assert any("no recurrent operators of bfloat16" in note for note in notes)
    with pytest.raises(InputError, match="one product of all layers"):
        plan_graphs(copier, Selection(forms=("step",), emissions=("skewed",), precisions=("int8",)))


def test_large_graphs_that_nobody_asked_for_are_left_out() -> None:
    spec = ModelSpec("gru", (2,) * 64, (1,) * 64, Continuous(1), Head("last", 2))
    sets, _ = plan_graphs(Checkpoint(spec, random_weights(spec, 0), {"length": 40}), Selection())
    requests = [request for graphs in sets for request in graphs.requests]
    assert all(estimate(spec, request).nodes <= NODE_BUDGET for request in requests)
    assert {r.emission for r in requests if r.form == "chunk"} == {"fused", "mixed"}


def test_other_lengths_are_left_out_where_their_graphs_are_large() -> None:
    spec = ModelSpec("gru", (2,) * 40, (1,) * 39 + (64,), Continuous(1), Head("last", 2))
    network = Checkpoint(spec, random_weights(spec, 0), {"length": 40})
    assert estimate(spec, GraphRequest(40, emission="unrolled")).nodes < NODE_BUDGET
    assert estimate(spec, GraphRequest(64, emission="unrolled")).nodes > NODE_BUDGET
    sets, _ = plan_graphs(network, Selection(forms=("sequence",), emissions=("unrolled",)))
    assert {request.steps for graphs in sets for request in graphs.requests} == {40, 33}


def test_network_that_does_not_say_its_length_is_checked_on_one_that_reaches_all_layers() -> None:
    spec = ModelSpec("rnn", (3, 3), (1, 8), Continuous(1), Head("last", 2))
    sets, _ = plan_graphs(Checkpoint(spec, random_weights(spec, 0)), Selection(forms=("sequence",)))
    assert {r.steps for graphs in sets for r in graphs.requests} == {17, 8, 5}


def test_selection_of_a_bundle(several: Bundle) -> None:
    found = select(several, MatrixOptions(emissions=("fused",), precisions=("fp16", "fp32")))
    assert [graph.name for graph in found.graphs] == ["sequence/fused", "sequence/fused/fp16"]
    assert select(several, MatrixOptions()).graphs == several.graphs
    with pytest.raises(InputError, match="has no graph of --form chunk, --precision fp16") as error:
        select(several, MatrixOptions(forms=("chunk",), precisions=("fp16",)))
    assert "sequence/fused/fp32, sequence/fused/fp16, sequence/unrolled/fp32" in error.value.fix


# what is run


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


# the task


def test_metrics_are_those_of_the_task_counted_by_hand(several: Bundle) -> None:
    report = check_bundle(several, MatrixOptions(runtimes=("torch",), task_data=50))
    (result,) = report.tasks
    batch = next(make_task("copy-memory", {"delay": DELAY}).batches("test", 50))
    outputs = loop.run_reference(several.spec, several.weights, batch.inputs).outputs
    right = total = nats = 0.0
    for row, target in zip(outputs.reshape(-1, 8), batch.targets.reshape(-1), strict=True):
        right, total = right + (np.argmax(row) == target), total + 1
        nats += math.log(sum(math.exp(value) for value in row)) - row[target]
    assert (result.runtime, result.graph, result.task, result.sequences) == ("torch", "sequence", "copy-memory", 50)
    assert result.source == "copy-memory, the first 50 sequences of the test split"
    assert result.metrics["accuracy"].reference == pytest.approx(right / total)
    assert result.metrics["cross_entropy"].reference == pytest.approx(nats / total)
    assert result.metrics["accuracy"].value == pytest.approx(right / total, abs=1e-3)
    assert result.metrics["cross_entropy"].value == pytest.approx(nats / total, rel=1e-5)
    assert result.changed_predictions == 0
    assert set(result.to_json()) == {
        "runtime", "graph", "task", "source", "sequences", "metrics", "changed_predictions",
    }  # fmt: skip
    assert result.to_json()["metrics"]["accuracy"] == dataclasses.asdict(result.metrics["accuracy"])


@given(st.integers(0, 49), st.integers(0, 9))
def test_every_changed_prediction_is_counted(several: Bundle, sequence: int, step: int) -> None:
    ((case,), notes) = task_cases(several, several.golden, None, 50)
    assert notes == []
    outputs = case.case.outputs.copy()
    outputs[sequence, step] *= -1
    outputs[49, 9] *= -1
    found = case.measure("fake", "sequence", outputs)
    assert found is not None
    back = (sequence, step) == (49, 9)  # turned twice
    assert found.changed_predictions == (0 if back else 2)
    assert (found.metrics["cross_entropy"].value == found.metrics["cross_entropy"].reference) is back


def test_outputs_that_are_not_finite_or_misshapen_give_no_number(several: Bundle) -> None:
    ((case,), _) = task_cases(several, several.golden, None, 5)
    found = case.measure("fake", "sequence", np.full(case.case.outputs.shape, np.nan))
    assert found is not None
    assert found.metrics["cross_entropy"].value is None
    json.dumps(found.to_json(), allow_nan=False)
    assert case.measure("fake", "sequence", case.case.outputs[:, :-1]) is None


def test_test_split_is_judged_like_golden_data_too(several: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    options = MatrixOptions(runtimes=("reference", "onnxruntime-cpu"), task_data=10)
    report = check_bundle(several, options)
    assert report.passed
    cases = {row.runtime: [case.case for case in row.cases] for row in report.rows}
    assert cases["onnxruntime-cpu"][-1] == "test split"
    assert "test split" not in cases["reference"]  # whose outputs those are
    right = task_metrics.answer
    monkeypatch.setattr(
        task_metrics, "answer", lambda *_: dataclasses.replace(right(*_), outputs=right(*_).outputs + 0.5)
    )
    broken = check_bundle(several, options)
    assert broken.exit_code == 1


def test_examples_that_a_bundle_carries_are_measured_without_its_data(copier: Checkpoint, tmp_path: Path) -> None:
    batch = next(make_task("copy-memory", {"delay": DELAY}).batches("test", 3))
    targets = batch.targets.copy()
    targets[0, :4] = IGNORED
    carrying = dataclasses.replace(copier, examples=Examples(batch.inputs, targets, "made up"))
    bundle = export(carrying, tmp_path / "bundle", ExportOptions(engines=(), runtimes=("torch",))).bundle
    ((case,), notes) = task_cases(bundle, bundle.golden)
    assert (case.carried, case.case.source, notes) == (True, "made up", [])
    (result,) = check_bundle(bundle, MatrixOptions(runtimes=("torch",))).tasks
    kept = targets != IGNORED
    right = np.mean((case.case.outputs.argmax(axis=-1) == targets)[kept])
    assert (result.source, result.sequences) == ("made up", 3)
    assert result.metrics["accuracy"].reference == pytest.approx(right)
    both, _ = task_cases(bundle, bundle.golden, None, 4)
    assert [each.case.source for each in both] == ["made up", "copy-memory, the first 4 sequences of the test split"]


@pytest.mark.parametrize("targets", [[[8, 0], [0, 0]], [[0, -2], [0, 0]], [[IGNORED] * 2] * 2])
def test_carried_answers_that_are_no_classes_are_not_measured(several: Bundle, targets: list[list[int]]) -> None:
    case = dataclasses.replace(
        several.golden[0], targets=np.array(targets), outputs=np.zeros((2, 2, 8)), inputs=several.golden[0].inputs[:2]
    )
    odd = dataclasses.replace(several)
    cases, _ = task_cases(odd, [case])
    assert not any(each.carried for each in cases)


def test_task_data_that_is_not_there_is_said_and_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRNN_DATA", str(tmp_path / "nothing"))
    spec = ModelSpec("gru", (4,), (2,), Tokens(50), Head("sequence", 50))
    described = {"name": "ptb-char", "length": 10, "options": {"length": 10, "context": 5}}
    network = Checkpoint(spec, random_weights(spec, 0), described)
    report = check_checkpoint(network, MatrixOptions(runtimes=("torch",), forms=("sequence",)))
    assert (report.exit_code, report.tasks) == (0, ())
    (note,) = report.notes
    assert note.startswith("no metrics of task ptb-char on its test split: the data set ptb-char is not complete")
    assert "drnn-deploy data fetch ptb-char" in note
    assert note in markdown({"model": report})


@pytest.mark.parametrize("described, named, forms, message", [
    ({}, None, (), "does not say which task"),
    ({"name": "juggling"}, None, (), "there is no task 'juggling'"),
    ({"name": "pixel-mnist"}, None, (), "is for task pixel-mnist, which takes"),
    ({"name": "copy-memory", "options": {"delay": 9}}, None, (), "its sequences have 29 steps, those of the graphs 27"),
    ({"name": "copy-memory", "options": {"delay": DELAY}}, None, ("step",), "no graph of form sequence is here"),
])  # fmt: skip
def test_tasks_that_cannot_be_measured_are_notes(
    copier: Checkpoint, described: dict[str, Any], named: str | None, forms: tuple[str, ...], message: str
) -> None:
    changed = dataclasses.replace(copier, task={**described, "length": DELAY + 20})
    report = check_checkpoint(changed, MatrixOptions(runtimes=("torch",), forms=forms or ("sequence",)))
    assert (report.exit_code, report.tasks) == (0, ())
    assert any(message in note for note in report.notes), report.notes


@pytest.mark.parametrize("named, message", [
    ("juggling", "there is no task 'juggling'"),
    ("pixel-mnist", "which takes"),
])  # fmt: skip
def test_task_that_was_named_and_does_not_fit_is_an_error(several: Bundle, named: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_bundle(several, MatrixOptions(runtimes=("torch",), task=named))


def test_task_can_be_named_for_a_network_that_says_none(copier: Checkpoint) -> None:
    task = make_task("copy-memory", {})
    silent = dataclasses.replace(copier, task={"length": task.length})
    options = MatrixOptions(runtimes=("torch",), forms=("sequence",), task="copy-memory", task_data=2)
    results = check_checkpoint(silent, options).tasks
    assert {(result.task, result.sequences) for result in results} == {("copy-memory", 2)}


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
    assert (ran.code, "It has, as form/emission/precision: sequence/fused/fp32" in ran.err) == (2, True)


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

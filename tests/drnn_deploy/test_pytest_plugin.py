"""`pytest --drnn-bundle DIR`, run on projects of its own."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from drnn_deploy import ExportOptions, export
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.results import ParityReport
from drnn_deploy.reports.text import describe
from drnn_runtimes.bundle import Bundle, golden
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.registry import RUNTIMES
from tests.drnn_deploy.cli.test_parity import flip_a_weight
from tests.drnn_deploy.parity.test_conditioning import unbiased
from tests.optional_runtimes import OPTIONAL, shown
from tests.sealing import reseal

pytest_plugins = ["pytester"]
MODULE = "drnn_deploy.pytest_plugin"
INSTALLED = any(entry.value == MODULE for entry in entry_points(group="pytest11"))
PLUGIN = () if INSTALLED else ("-p", MODULE)  # pluggy refuses to take one module in twice
CASES = ("zeros", "normal", "large", "ramp", "edge fp32", "task")
FILES = ("model.onnx", "golden.npz")
OTHERS = 1 + len(FILES) + (len(RUNTIMES) - 1) * len(CASES)  # tests that are not of one runtime
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")  # in the process of these tests all is imported


@pytest.fixture(autouse=True, scope="module")
def imported() -> None:
    """pytester forgets modules that its runs import first, and compiled ones cannot be imported twice."""
    for runtime in RUNTIMES.values():
        runtime.availability()


@pytest.fixture(scope="module")
def report(pristine: Path) -> ParityReport:
    return check_parity(Bundle.open(pristine), list(RUNTIMES.values()))


def names(result: pytest.RunResult) -> list[str]:
    return re.findall(r"^drnn-parity::.*$", result.stdout.str(), re.MULTILINE)


def run(pytester: pytest.Pytester, *words: object) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*PLUGIN, *QUIET, "-p", "no:cacheprovider", *map(str, words))


def test_one_test_for_each_runtime_graph_and_case(pytester: pytest.Pytester, pristine: Path) -> None:
    found = names(run(pytester, "--drnn-bundle", pristine, "--collect-only", "-q"))
    graphs = {name: "sequence/fused" if runtime.reads_graph else "sequence" for name, runtime in RUNTIMES.items()}
    start = f"drnn-parity::{pristine}"
    cells = [f"{start}::{name}::{graph}::{case}" for name, graph in graphs.items() for case in CASES]
    assert found == [f"{start}::{name}" for name in ("compared", *FILES)] + cells
    assert found == names(run(pytester, "--drnn-bundle", pristine, "--collect-only", "-q"))


def test_verdicts_are_those_of_the_command(pytester: pytest.Pytester, pristine: Path, report: ParityReport) -> None:
    result = run(pytester, "--drnn-bundle", pristine, "-rs")
    assert {row.runtime for row in report.rows} >= {"reference", "torch", "onnxruntime-cpu"}
    result.assert_outcomes(
        passed=1 + len(FILES) + sum(len(row.cases) for row in report.rows), skipped=len(CASES) * len(report.missing)
    )
    assert result.ret == 0
    for entry in report.missing:
        assert f"{entry.runtime}: {entry.reason}" in result.stdout.str()


def test_failures_say_what_the_command_says(pytester: pytest.Pytester, bundle: Path) -> None:
    flip_a_weight(bundle)
    found = check_parity(Bundle.open(bundle), list(RUNTIMES.values()))
    sentences = [describe(case) for row in found.rows for case in row.cases if not case.passed]
    result = run(pytester, "--drnn-bundle", bundle)
    assert result.ret == 1
    assert len(sentences) + 1 == result.parseoutcomes()["failed"] > len(CASES)
    assert "model.onnx holds something else than it must: initializer head/W differs" in result.stdout.str()
    for sentence in sentences:
        assert sentence in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    assert ".py:" not in result.stdout.str()


def test_runtime_that_is_required_fails_where_it_is_missing(
    pytester: pytest.Pytester, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntime, "unsupported", lambda self, bundle, graph: "it is Monday")
    words = ("--drnn-bundle", bundle, "-k", "onnxruntime-cpu")
    run(pytester, *words).assert_outcomes(skipped=len(CASES), deselected=OTHERS)
    result = run(pytester, *words, "--drnn-require", "onnxruntime-cpu")
    result.assert_outcomes(failed=len(CASES), deselected=OTHERS)
    result.stdout.fnmatch_lines(["onnxruntime-cpu is required and cannot run here: it is Monday"])


def test_runtime_that_fails_to_load_is_a_failure_with_a_sentence(pytester: pytest.Pytester, bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"\x08\x0a")
    reseal(bundle)
    result = run(pytester, "--drnn-bundle", bundle, "-k", "onnxruntime-cpu")
    result.assert_outcomes(failed=len(CASES), deselected=OTHERS)
    result.stdout.fnmatch_lines(["onnxruntime-cpu: *model.onnx cannot be loaded*"])
    assert "Traceback" not in result.stdout.str()


def test_nothing_compared_is_a_failure(
    pytester: pytest.Pytester, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for runtime in {type(each) for name, each in RUNTIMES.items() if name != "reference"}:
        monkeypatch.setattr(runtime, "unsupported", lambda self, bundle, graph: "it is Monday")
    result = run(pytester, "--drnn-bundle", bundle)
    assert result.ret == 1
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["no runtime besides the reference can run a graph here: nothing is compared"])


@pytest.mark.parametrize("words, message", [
    (("--drnn-bundle", "nowhere"), "nowhere is not a bundle"),
    (("--drnn-bundle", "{bundle}", "--drnn-require", "vulkan"), "there is no runtime 'vulkan'"),
    (("--drnn-require", "torch"), "--drnn-require needs --drnn-bundle DIR"),
])  # fmt: skip
def test_usage_errors_are_one_message(
    pytester: pytest.Pytester, pristine: Path, words: tuple[str, ...], message: str
) -> None:
    result = run(pytester, *(word.format(bundle=pristine) for word in words))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert message in result.stderr.str()
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_damaged_golden_data_is_said_once(pytester: pytest.Pytester, bundle: Path) -> None:
    (bundle / "golden.npz").write_bytes(b"PK")
    reseal(bundle)
    result = run(pytester, "--drnn-bundle", bundle)
    assert (result.ret, result.stderr.str().count("cannot read")) == (pytest.ExitCode.USAGE_ERROR, 1)


def test_zeros_alone_are_no_comparison(pytester: pytest.Pytester, tmp_path: Path) -> None:
    """Their test passes; those that were not compared fail, and are not skipped."""
    export(unbiased(), tmp_path / "b", ExportOptions(length=300, engines=(), runtimes=("onnxruntime-cpu",)))
    result = run(pytester, "--drnn-bundle", tmp_path / "b", "-k", "onnxruntime-cpu")
    outcomes = result.parseoutcomes()
    assert (outcomes["passed"], outcomes["failed"], outcomes.get("skipped", 0)) == (1, 4, 0)


def test_own_tests_run_too_and_k_chooses_among_all(pytester: pytest.Pytester, pristine: Path) -> None:
    pytester.makepyfile("def test_mine(): pass\ndef test_ramp_of_mine(): pass")
    result = run(pytester, "--drnn-bundle", pristine, "-k", "mine or (torch and ramp and not cuda)")
    result.assert_outcomes(passed=3, deselected=len(FILES) + len(RUNTIMES) * len(CASES))


def test_without_the_option_nothing_is_added(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_mine(): pass")
    run(pytester).assert_outcomes(passed=1)


def test_golden_is_read_once_and_each_answer_and_graph_too(
    pytester: pytest.Pytester, pristine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: Counter[str] = Counter()
    load, read = OnnxRuntime.load, golden.reading_npz

    @contextlib.contextmanager
    def counted(self: OnnxRuntime, *words: Any) -> Iterator[Any]:
        events["loaded"] += 1
        with load(self, *words) as session:
            yield session
        events["closed"] += 1

    def counted_read(*words: Any, **options: Any) -> Any:
        events["read"] += 1
        return read(*words, **options)

    monkeypatch.setattr(OnnxRuntime, "load", counted)
    monkeypatch.setattr(golden, "reading_npz", counted_read)
    run(pytester, "--drnn-bundle", pristine, "-k", "onnxruntime-cpu").assert_outcomes(
        passed=len(CASES), deselected=OTHERS
    )
    assert events == {"read": 1 + len(CASES), "loaded": 1, "closed": 1}  # golden.npz, and answers of the export


@pytest.mark.nightly
def test_workers_of_xdist_share_the_tests(pytester: pytest.Pytester, pristine: Path) -> None:
    with shown(OPTIONAL):  # other processes see whatever is installed
        report = check_parity(Bundle.open(pristine), list(RUNTIMES.values()))
    other = pytester.path / "other"
    shutil.copytree(pristine, other)
    words = ("--drnn-bundle", pristine, "--drnn-bundle", "other", "-n", "2")
    result = pytester.runpytest_subprocess(*PLUGIN, *map(str, words))
    passed = 2 * (1 + len(FILES) + sum(len(row.cases) for row in report.rows))
    result.assert_outcomes(passed=passed, skipped=2 * len(CASES) * len(report.missing))
    assert result.ret == 0


def test_nothing_heavy_is_imported_in_runs_without_the_option() -> None:
    code = f"import sys, {MODULE}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "torch", "onnx", "onnxruntime", "jsonschema", "click", "rich", "drnn_runtimes", "drnn_models"}
    assert not heavy & set(ran.stdout.split())

"""`drnn-parity`: what it says, writes and exits with."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import onnx
import pytest
from onnx import numpy_helper

from drnn_deploy.debug.repro import Reproduction
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.report_format import parity_schema
from drnn_deploy.parity.tolerance import Tolerance
from drnn_deploy.reports.junit import junit
from drnn_deploy.reports.markdown import markdown
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import require
from tests.sealing import reseal

Command = Any  # see conftest
HERE = ("--runtime", "torch", "--runtime", "onnxruntime-cpu")


def flip_a_weight(folder: Path) -> None:
    """In the graph, with a manifest that says so."""
    path = folder / "model.onnx"
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.name == "head/W")
    value = numpy_helper.to_array(tensor).copy()
    value[0, 0] *= -1
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, path)
    reseal(folder)


def test_good_bundle_passes_and_all_reports_say_so(command: Command, bundle: Path, tmp_path: Path) -> None:
    files = tmp_path / "p.json", tmp_path / "p.xml", tmp_path / "p.md"
    ran = command(
        "drnn-deploy", "parity", bundle, *HERE, "--json", files[0], "--junit", files[1], "--markdown", files[2]
    )
    assert ran.code == 0
    assert ran.out.splitlines()[-2] == f"PASSED drnn-parity {bundle}"
    written = json.loads(files[0].read_text(encoding="utf-8"))
    assert written["passed"] is True
    assert {row["runtime"] for row in written["reports"][0]["rows"]} == {"torch", "onnxruntime-cpu"}
    suite = ElementTree.parse(files[1]).getroot()[0]
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert int(suite.get("tests") or 0) == len(suite) >= 10
    assert f"### PASSED: {bundle}" in files[2].read_text(encoding="utf-8")


def test_flipped_weight_fails_everywhere(command: Command, bundle: Path, tmp_path: Path) -> None:
    flip_a_weight(bundle)
    files = tmp_path / "p.json", tmp_path / "p.xml", tmp_path / "p.md"
    ran = command(
        "drnn-deploy", "parity", bundle, *HERE, "--json", files[0], "--junit", files[1], "--markdown", files[2]
    )
    assert ran.code == 1
    assert "FAILED onnxruntime-cpu" in ran.out
    assert json.loads(files[0].read_text(encoding="utf-8"))["exit_code"] == 1
    suite = ElementTree.parse(files[1]).getroot()[0]
    failed = {case.get("classname") for case in suite if case.find("failure") is not None}
    assert failed == {"onnxruntime-cpu", "files"}
    assert re.search(r"error \S+ where \S+ passes", files[2].read_text(encoding="utf-8"))
    assert f"### FAILED: {bundle}" in files[2].read_text(encoding="utf-8")


def test_checkpoint_is_checked_and_leaves_nothing(command: Command, model: Path) -> None:
    ran = command("drnn-deploy", "parity", model, *HERE)
    assert ran.code == 0
    assert [path.name for path in model.parent.iterdir()] == ["model.pt"]


def test_several_are_checked_and_one_bad_one_fails_all(command: Command, bundle: Path, model: Path) -> None:
    flip_a_weight(bundle)
    ran = command("drnn-deploy", "parity", model, bundle, *HERE)
    assert ran.code == 1
    assert ran.out.count("onnxruntime-cpu") >= 2


def test_runtime_that_was_asked_for_and_is_missing_is_exit_code_3(command: Command, bundle: Path) -> None:
    ran = command("drnn-deploy", "parity", bundle, "--runtime", "tensorrt")
    assert ran.code == 3
    assert "tensorrt" in ran.err
    assert command("drnn-deploy", "parity", bundle, "--runtime", "vulkan").code == 2


def test_changed_file_is_refused_before_anything_runs(command: Command, bundle: Path) -> None:
    (bundle / "golden.npz").write_bytes(b"")
    ran = command("drnn-deploy", "parity", bundle, *HERE)
    assert (ran.code, "golden.npz" in ran.err) == (2, True)


def test_missing_runtimes_are_skipped_in_junit_and_named_in_markdown(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drnn_deploy.parity import check
    from drnn_runtimes.onnxrt.runtime import OnnxRuntime

    monkeypatch.setattr(OnnxRuntime, "unsupported", lambda self, bundle, graph: "it is Monday")
    report = check.check_parity(Bundle.open(bundle), require(["torch", "onnxruntime-cpu"]))
    suite = ElementTree.fromstring(junit({"b": report}))[0]
    skipped = [case.find("skipped") for case in suite if case.find("skipped") is not None]
    assert [entry.get("message") for entry in skipped if entry is not None] == ["it is Monday"]
    assert "Not run: onnxruntime-cpu sequence/fused (it is Monday)" in markdown({"b": report})


def test_smallest_limit_that_would_pass_is_in_the_report(bundle: Path) -> None:
    runtimes = require(["onnxruntime-cpu"])
    worst = check_parity(Bundle.open(bundle), runtimes).rows[0].worst
    assert worst is not None
    assert worst.in_noise is not None
    assert check_parity(Bundle.open(bundle), runtimes, tolerance=Tolerance(1.001 * worst.in_noise)).passed
    assert not check_parity(Bundle.open(bundle), runtimes, tolerance=Tolerance(0.99 * worst.in_noise)).passed


def test_report_is_a_baseline_for_the_next_and_worse_is_exit_code_1(
    command: Command, bundle: Path, tmp_path: Path
) -> None:
    old, new, page = tmp_path / "old.json", tmp_path / "new.json", tmp_path / "p.html"
    assert command("drnn-deploy", "parity", bundle, *HERE, "--json", old).code == 0
    again = command("drnn-deploy", "parity", bundle, *HERE, "--baseline", old, "--json", new, "--html", page)
    assert again.code == 0
    assert json.loads(new.read_text(encoding="utf-8"))["baseline"] == {"file": "old.json", "regressions": []}
    assert "Nothing got worse by more than noise" in page.read_text(encoding="utf-8")

    told = json.loads(old.read_text(encoding="utf-8"))
    told["reports"][0]["rows"].append({**told["reports"][0]["rows"][0], "runtime": "tensorrt"})
    old.write_text(json.dumps(told), encoding="utf-8")
    worse = command("drnn-deploy", "parity", bundle, *HERE, "--baseline", old, "--json", new)
    assert worse.code == 1
    assert "WORSE tensorrt" in worse.out
    assert json.loads(new.read_text(encoding="utf-8"))["exit_code"] == 1


def test_times_count_as_worse_where_that_is_asked_for(command: Command, bundle: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    words = ("drnn-deploy", "parity", bundle, *HERE, "--baseline", old)
    assert command(*words[:-2], "--json", old).code == 0
    told = json.loads(old.read_text(encoding="utf-8"))
    for row in told["reports"][0]["rows"]:
        row["milliseconds"] /= 1e6
    old.write_text(json.dumps(told), encoding="utf-8")
    assert [command(*words, *more).code for more in ((), ("--max-slowdown", 1e9), ("--max-slowdown", 3))] == [0, 0, 1]


def test_every_report_keeps_to_the_schema(command: Command, bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    for words in ((bundle, *HERE), (bundle, "--runtime", "tensorrt"), (tmp_path / "nowhere",)):
        command("drnn-deploy", "parity", *words, "--json", path)
        jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), parity_schema())
    flip_a_weight(bundle)
    command("drnn-deploy", "parity", bundle, *HERE, "--json", path)
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), parity_schema())


def test_users_limits_take_the_place_of_noise(command: Command, bundle: Path) -> None:
    assert command("drnn-deploy", "parity", bundle, *HERE, "--atol", "1e-12").code == 1
    ran = command("drnn-deploy", "parity", bundle, *HERE, "--rtol", "1e-3")
    assert ran.code == 0
    assert "an error of up to rtol 0.001 x largest |output| passes, as asked for" in ran.out
    assert "smallest tolerance that would have passed: --max-noise" in ran.out
    both = command("drnn-deploy", "parity", bundle, *HERE, "--atol", "1e-3", "--max-noise", "4")
    assert (both.code, "Leave one of them out" in both.err) == (2, True)
    assert command("drnn-deploy", "parity", bundle, *HERE, "--atol", "-1").code == 2


def test_a_bad_baseline_is_refused_and_nothing_is_written(command: Command, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}", encoding="utf-8")
    page = tmp_path / "p.html"
    ran = command("drnn-deploy", "parity", bundle, *HERE, "--baseline", tmp_path / "old.json", "--html", page)
    assert (ran.code, "old.json" in ran.err, page.exists()) == (2, True, False)


def test_explanation_is_in_every_report_and_can_be_run_again(command: Command, bundle: Path, tmp_path: Path) -> None:
    flip_a_weight(bundle)
    files = {name: tmp_path / f"p.{name}" for name in ("json", "html", "markdown")}
    words = [word for name, path in files.items() for word in (f"--{name}", path)]
    ran = command("drnn-deploy", "parity", bundle, *HERE, "--explain", "--repro", tmp_path / "repro", *words)
    assert ran.code == 1
    assert "explained onnxruntime-cpu sequence/fused: " in ran.out
    told = json.loads(files["json"].read_text(encoding="utf-8"))
    jsonschema.validate(told, parity_schema())
    (found,) = told["reports"][0]["explanations"]
    assert (found["culprit"], found["runtime"]) == ("head", "onnxruntime-cpu")
    assert all(
        found["verdict"] in html.unescape(files[name].read_text(encoding="utf-8")).replace("\\", "")
        for name in ("html", "markdown")
    )
    (written,) = (tmp_path / "repro").iterdir()
    assert str(written) == found["reproduction"]
    again = Reproduction.load(written)
    assert not again.run(Bundle.open(bundle)).passed
    assert again.run(Bundle.open(bundle), require(["torch"])[0]).passed


def test_checkpoint_that_fails_is_explained_while_its_bundles_are_there(
    command: Command, model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "p.json"
    words = ("--max-noise", "1e-6", "--explain", "--repro", tmp_path / "repro", "--json", path)
    ran = command("drnn-deploy", "parity", model, *HERE, "--form", "chunk", *words)
    assert ran.code == 1
    report = json.loads(path.read_text(encoding="utf-8"))["reports"][0]
    failed = {f"{row['runtime']} {row['graph']}" for row in report["rows"] if not row["passed"]}
    assert {f"{each['runtime']} {each['graph']}" for each in report["explanations"]} == failed
    files = [each["reproduction"] for each in report["explanations"] if each["reproduction"]]
    assert len(files) == len(set(files)) > 3
    assert all(Path(file).is_file() for file in files)


def test_threads_are_those_of_the_runtimes_that_have_a_setting(
    command: Command, bundle: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drnn_runtimes.onnxrt.runtime import OnnxRuntime

    seen, load = [], OnnxRuntime.load

    def watched(self: OnnxRuntime, *given: Any) -> Any:
        seen.append(self._threads)
        return load(self, *given)

    monkeypatch.setattr(OnnxRuntime, "load", watched)
    words = ("drnn-deploy", "parity", bundle, "--runtime", "onnxruntime-cpu", "--runtime", "torch")
    ran = command(*words, "--threads", 2)
    assert (ran.code, set(seen)) == (0, {2})
    assert "note    threads of a run: 2 (torch, onnxruntime-cpu)" in ran.out
    for name, count, says in (
        ("reference", 2, "reference has no setting for its threads"),
        ("torch", 1025, "1<=x<=1024"),
    ):
        refused = command("drnn-deploy", "parity", bundle, "--runtime", name, "--threads", count)
        assert (refused.code, says in refused.err) == (2, True)
    seen.clear()
    words = (
        "drnn-deploy",
        "export",
        model,
        "--output",
        tmp_path / "made",
        "--engine",
        "none",
        "--quick",
        "--threads",
        2,
    )
    exported = command(*words)
    assert (exported.code, set(seen)) == (0, {2}), exported.err
    evaluated = command("drnn-deploy", "evaluate", bundle, "--runtime", "reference", "--threads", 2)
    assert (evaluated.code, "has no setting for its threads" in evaluated.err) == (2, True)

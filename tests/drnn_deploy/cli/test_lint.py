"""The command `drnn-deploy lint`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest

from drnn_export.lint.linter import TARGETS, Finding, Findings, load_table
from tests.export.lint.graphs import model, one, recurrent

Command = Any  # see conftest


def saved(graph: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(graph, folder / "model.onnx")
    return folder / "model.onnx"


def test_a_graph_that_all_take_passes(command: Command, tmp_path: Path) -> None:
    ran = command("drnn-deploy", "lint", saved(one("Tanh"), tmp_path))
    assert (ran.code, ran.err) == (0, "")
    for target in TARGETS:
        assert f"PASSED {target}: 0 errors, 0 warnings" in ran.out
        assert load_table(target).rules_from in ran.out


def test_warnings_do_not_fail(command: Command, tmp_path: Path) -> None:
    ran = command("drnn-deploy", "lint", saved(one("Tanh", opset=25), tmp_path))
    assert ran.code == 0
    assert "PASSED tensorrt-11: 0 errors, 1 warning\n" in ran.out
    assert "opset 25 is outside 9 to 24" in " ".join(ran.out.split())


def test_an_error_is_exit_code_4_with_what_and_where_and_what_to_do(command: Command, tmp_path: Path) -> None:
    ran = command("drnn-deploy", "lint", saved(recurrent("GRU", layout=1), tmp_path))
    assert ran.code == 4
    table = ran.out.partition("FAILED")[0].splitlines()[2:]
    rows = [re.split(r" {2,}", line.strip()) for line in table if line.strip()]
    told = " ".join(" ".join(row[0] for row in rows).split())
    what = "layout: n (GRU): has layout=1, which TensorRT reads as time-major."
    assert told == f"{what} Export it time-major, with a Transpose before and after."
    assert [cell.strip() for cell in rows[0][1:]] == ["error"] * 3
    assert "FAILED tensorrt-rtx: 1 error, 0 warnings" in ran.out


@pytest.mark.parametrize("target", TARGETS)
def test_target_chooses(target: str, command: Command, tmp_path: Path) -> None:
    swish = saved(one("Swish", opset=20, ir=10), tmp_path)
    ran = command("drnn-deploy", "lint", swish, "--target", target, "--target", target)
    assert ran.code == (4 if target == "tensorrt-10.3" else 0)
    assert [other for other in TARGETS if other in ran.out] == [target]


def test_targets_are_those_that_build_for_the_gpu_unless_one_is_named(command: Command, tmp_path: Path) -> None:
    tanh = saved(one("Tanh"), tmp_path)
    ran = command("drnn-deploy", "lint", tanh, "--compute-capability", "8.7")
    assert (ran.code, "note    tensorrt-rtx: not checked" in ran.out) == (0, True)
    assert "PASSED tensorrt-11" in ran.out
    named = command("drnn-deploy", "lint", tanh, "--compute-capability", "8.7", "--target", "tensorrt-rtx")
    assert (named.code, "not for compute capability 8.7" in " ".join(named.out.split())) == (4, True)


def test_json_has_every_finding(command: Command, tmp_path: Path) -> None:
    """The table shows forty; both say which rules they are by."""
    many = model([onnx.helper.make_node("Det", ["x"], [f"y{index}"], f"n{index}") for index in range(50)])
    many.graph.output[0].name = "y0"
    path, out = saved(many, tmp_path), tmp_path / "out.json"
    ran = command("drnn-deploy", "lint", path, "--json", out)
    assert ran.code == 4
    assert "and 10 more findings" in ran.out
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["passed"], found["exit_code"], found["file"]) == (False, 4, "model.onnx")
    assert found["targets"].keys() == set(TARGETS)
    for target, entry in found["targets"].items():
        assert (entry["errors"], entry["warnings"], entry["rules_from"]) == (50, 0, load_table(target).rules_from)
        assert [finding["node"] for finding in entry["findings"]] == [f"n{index}" for index in range(50)]
        assert {(finding["rule"], finding["severity"]) for finding in entry["findings"]} == {("operator", "error")}


def test_findings_that_are_left_out_are_counted_and_said_to_be(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [Finding("error", "operator", f"n{index}", "Det", "is not there", "Leave it out") for index in range(50)]
    found = {"tensorrt-11": Findings(told, errors=20_010, warnings=1)}
    monkeypatch.setattr("drnn_export.lint.linter.lint_file", lambda *_: found)
    ran = command("drnn-deploy", "lint", saved(one("Tanh"), tmp_path), "--json", tmp_path / "out.json")
    assert ran.code == 4
    assert "FAILED tensorrt-11: 20,010 errors, 1 warning" in ran.out
    assert "--json FILE has the first 50 of a target" in ran.out
    entry = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["targets"]["tensorrt-11"]
    assert (entry["errors"], entry["warnings"], entry["left_out"], len(entry["findings"])) == (20_010, 1, 19_961, 50)


def test_json_to_standard_output_is_nothing_else(command: Command, tmp_path: Path) -> None:
    ran = command("drnn-deploy", "lint", saved(one("Tanh"), tmp_path), "--json", "-")
    assert json.loads(ran.out)["passed"] is True
    assert "PASSED" in ran.err


@pytest.mark.parametrize("content", [None, b"not a model"])
def test_what_is_no_model_is_exit_code_2(content: bytes | None, command: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    ran = command("drnn-deploy", "lint", path, "--json", tmp_path / "out.json")
    what, fix = ran.err.splitlines()
    assert ran.code == 2
    assert what.startswith(f"drnn-deploy: {path}")
    assert fix == "Give the path of an .onnx file."
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["error"]["fix"] == fix


def test_names_from_the_file_are_not_taken_for_markup(command: Command, tmp_path: Path) -> None:
    node = onnx.helper.make_node("Det", ["x"], ["y"], "[red]/[/x]")
    ran = command("drnn-deploy", "lint", saved(model([node]), tmp_path))
    assert ran.code == 4
    assert "[red]/[/x] (Det)" in ran.out


def test_an_unknown_target_is_a_usage_error(command: Command, tmp_path: Path) -> None:
    ran = command("drnn-deploy", "lint", saved(one("Tanh"), tmp_path), "--target", "tensorrt-9")
    assert ran.code == 2
    assert "tensorrt-10.3" in ran.err

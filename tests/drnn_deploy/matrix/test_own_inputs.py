"""Inputs of the user's own, and what they gave elsewhere, are judged by float64 like everything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_deploy.matrix.options import MatrixOptions
from drnn_deploy.matrix.run import check_bundle
from drnn_deploy.parity.results import ParityReport
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.reference.loop import run_reference

Command = Any  # see conftest
HERE = ("onnxruntime-cpu",)


@pytest.fixture(scope="module")
def both(network: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Whole sequences of eight steps, and chunks of three."""
    options = ExportOptions(forms=("sequence", "chunk"), chunk=3, engines=(), runtimes=())
    return export(network, tmp_path_factory.mktemp("own") / "bundle", options).bundle


@pytest.fixture
def x(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((5, 8, 2)))
    return tmp_path / "x.npy"


def verdicts(report: ParityReport, runtime: str) -> dict[str, dict[str, str]]:
    """Graph -> case -> verdict of the cases that are no standard ones."""
    return {
        row.graph: {case.case: case.verdict for case in row.cases if ".np" in case.case}
        for row in report.rows
        if row.runtime == runtime
    }


def test_inputs_are_cases_of_every_graph_that_takes_them(both: Bundle, x: Path) -> None:
    report = check_bundle(both, MatrixOptions(runtimes=HERE, inputs=x))
    assert verdicts(report, "onnxruntime-cpu") == {
        "sequence/fused": {"x.npy": "passed"}, "chunk3/fused": {"x.npy as a stream": "passed"},
    }  # fmt: skip
    np.save(x, np.load(x)[:, :5])
    report = check_bundle(both, MatrixOptions(runtimes=HERE, inputs=x))
    assert verdicts(report, "onnxruntime-cpu") == {
        "sequence/fused": {},
        "chunk3/fused": {"x.npy as a stream": "passed"},
    }
    assert "x.npy was not run on sequence/fused: it has 5 steps, the graph takes 8" in report.notes


def test_a_graph_that_is_wrong_only_on_them_fails(both: Bundle, x: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drnn_runtimes.onnxrt.runtime import OnnxRuntimeSession

    own, right = np.load(x).astype(np.float32), OnnxRuntimeSession.run

    def run(self: Any, inputs: Any) -> Any:
        outputs = right(self, inputs)
        rows = (inputs["input"][:, :1] == own[3, :1]).all(axis=(1, 2)) if inputs["input"].shape[1] == 8 else []
        outputs["output"][rows] += 1e-2
        return outputs

    monkeypatch.setattr(OnnxRuntimeSession, "run", run)
    assert check_bundle(both, MatrixOptions(runtimes=HERE, forms=("sequence",))).passed
    report = check_bundle(both, MatrixOptions(runtimes=HERE, forms=("sequence",), inputs=x))
    assert not report.passed
    assert verdicts(report, "onnxruntime-cpu") == {"sequence/fused": {"x.npy": "failed"}}


@pytest.mark.parametrize("way", ["sequence", "chunk3"])
def test_outputs_from_elsewhere_are_judged_as_what_their_shape_says(way: str, both: Bundle, x: Path) -> None:
    y = x.with_name("y.npy")
    outputs = both.run(np.load(x)[:, :6], form="chunk") if way == "chunk3" else both.run(np.load(x))
    if way == "chunk3":
        np.save(x, np.load(x)[:, :6])
    np.save(y, outputs.astype(np.float64))
    report = check_bundle(both, MatrixOptions(runtimes=HERE, inputs=x, outputs=y))
    name = "x.npy" if way == "sequence" else "x.npy as a stream"
    assert report.passed
    assert verdicts(report, "y.npy") == {way: {name: "passed"}}
    outputs[-1, ..., -1] += 1e-3
    np.save(y, outputs)
    report = check_bundle(both, MatrixOptions(runtimes=HERE, inputs=x, outputs=y))
    assert (report.exit_code, verdicts(report, "y.npy")) == (1, {way: {name: "failed"}})
    assert verdicts(report, "onnxruntime-cpu")
    np.save(y, np.full_like(outputs, np.nan))
    assert check_bundle(both, MatrixOptions(runtimes=HERE, inputs=x, outputs=y)).exit_code == 1


def test_outputs_of_several_lengths_are_rows_of_their_own_and_no_runtime(both: Bundle, x: Path) -> None:
    arrays = {f"{steps} steps": np.load(x)[:, :steps] for steps in (2, 8)}
    given, y = x.with_suffix(".npz"), x.with_name("onnxruntime-cpu")
    np.savez(given, **arrays)
    with y.open("wb") as file:
        np.savez(file, **{name: run_reference(both.spec, both.weights, own).outputs for name, own in arrays.items()})
    report = check_bundle(both, MatrixOptions(runtimes=HERE, inputs=given, outputs=y))
    rows = verdicts(report, "onnxruntime-cpu (file)")
    assert list(rows) == ["sequence, 2 steps", "sequence, 8 steps"]
    y.rename(y.with_name("tensorrt"))
    options = MatrixOptions(runtimes=HERE, inputs=given, outputs=y.with_name("tensorrt"), required=("tensorrt",))
    assert check_bundle(both, options).exit_code == 3


def test_outputs_of_sequences_that_no_graph_takes_are_judged_alone(both: Bundle, x: Path) -> None:
    y = x.with_name("y.npy")
    np.save(x, np.load(x)[:, :2])
    np.save(y, run_reference(both.spec, both.weights, np.load(x)).outputs)
    report = check_bundle(both, MatrixOptions(runtimes=HERE, inputs=x, outputs=y))
    assert verdicts(report, "y.npy") == {"sequence": {"x.npy": "passed"}}
    with pytest.raises(InputError, match=r"no graph of .* takes them: sequence/fused 8; chunk3/fused at least 3"):
        check_bundle(both, MatrixOptions(runtimes=HERE, inputs=x))


def test_every_array_of_a_file_is_a_case(command: Command, bundle: Path, x: Path, tmp_path: Path) -> None:
    inputs, outputs, report = (tmp_path / name for name in ("x.npz", "y.npz", "report.json"))
    own = {"one": np.load(x), "two": np.load(x)[:2]}
    np.savez(inputs, **own)
    opened = Bundle.open(bundle)
    np.savez(outputs, **{name: opened.run(array) for name, array in own.items()})
    options = "--inputs", inputs, "--outputs", outputs, "--runtime", *HERE, "--json", report
    ran = command("drnn-deploy", "parity", bundle, *options)
    assert ran.code == 0
    assert ran.out.count("inputs  x.npz:") == 4
    rows = json.loads(report.read_text(encoding="utf-8"))["reports"][0]["rows"]
    cases = {row["runtime"]: [case["case"] for case in row["cases"]] for row in rows}
    assert cases["y.npz"] == ["x.npz:one", "x.npz:two"]
    assert set(cases["onnxruntime-cpu"]) >= {"x.npz:one", "x.npz:two", "normal", "zeros"}
    again = command("drnn-deploy", "parity", bundle, *options[:-2], "--baseline", report)
    assert again.code == 0


@pytest.mark.parametrize("name", ["edge fp16", "task", "normal"])
def test_names_of_standard_cases_are_none_of_a_file(name: str, both: Bundle, x: Path) -> None:
    """The case of another precision would not be run."""
    path = x.rename(x.with_name(name))
    report = check_bundle(both, MatrixOptions(runtimes=HERE, inputs=path))
    cases = {row.graph: [case.case for case in row.cases] for row in report.rows}
    assert f"{name} (yours)" in cases["sequence/fused"]
    assert f"{name} (yours) as a stream" in cases["chunk3/fused"]


@pytest.mark.parametrize("options, says", [
    ({"outputs": "y.npy"}, "--outputs without --inputs"),
    ({"inputs": "x.npy", "golden": True}, "believes what the bundle carries"),
    ({"renames": ("a=b",)}, "--rename is for the graph of --graph"),
    ({"inputs": "none.npy"}, "none.npy does not exist"),
    ({"inputs": "short.npy", "outputs": "y.npy"}, "y.npy holds (5, 3) for short.npy, and the network gives as"),
    ({"inputs": "x.npy", "outputs": "whole.npy"}, "whole.npy is int64: outputs are floating-point numbers"),
    ({"inputs": "x.npy", "outputs": "y.npz"}, "holds one array, and the other several"),
    ({"inputs": "x.npz", "outputs": "y.npz"}, "one of x.npz and y.npz holds 'a', and the other does not"),
    ({"inputs": "text.npy"}, "the network takes (sequences, steps, 2) of numbers, and 'text.npy' is <U1"),
    ({"inputs": "x.npy", "reference_minutes": 1e-9}, "Give fewer or shorter sequences"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused(
    options: dict[str, Any], says: str, both: Bundle, x: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(x.parent)
    np.save("y.npy", np.zeros((5, 3)))
    np.save("whole.npy", np.zeros((5, 3), np.int64))
    np.save("short.npy", np.load(x)[:2])
    np.save("text.npy", np.array(["a"]))
    np.savez("x.npz", a=np.load(x))
    np.savez("y.npz", b=np.zeros((5, 3)))
    given = {name: Path(value) if str(value).endswith(("npy", "npz")) else value for name, value in options.items()}
    with pytest.raises(InputError) as refused:
        check_bundle(both, MatrixOptions(runtimes=HERE, **given))
    assert says in str(refused.value)
    assert refused.value.fix


def test_a_reference_that_does_not_fit_into_memory_is_refused(
    both: Bundle, x: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drnn_core.memory.available_memory", lambda: 25_000)
    with pytest.raises(InputError, match=r"the reference of x\.npy would take about .* random roundings") as refused:
        check_bundle(both, MatrixOptions(inputs=x, runtimes=HERE))
    assert refused.value.fix == "Give fewer or shorter sequences."


@pytest.mark.parametrize("option, value", [("--inputs", "FILE"), ("--outputs", "FILE"), ("--rename", "a=b")])
def test_checkpoints_are_to_be_exported_first(option: str, value: str, command: Command, model: Path, x: Path) -> None:
    ran = command("drnn-deploy", "parity", model, option, x if value == "FILE" else value)
    assert ran.code == 2
    assert f"{option} is for a bundle" in ran.err


def test_the_next_command_explains_runtimes_on_the_same_inputs(
    command: Command, bundle: Path, x: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drnn_runtimes.onnxrt.runtime import OnnxRuntimeSession

    y = x.with_name("y.npy")
    np.save(y, Bundle.open(bundle).run(np.load(x)) + 1)
    words = "drnn-deploy", "parity", bundle, "--inputs", x, "--outputs", y, "--runtime", *HERE
    ran = command(*words)
    assert ran.code == 1
    there = f"where {y} was made: drnn-parity {bundle} --inputs {x} --explain"  # layers here say nothing of it
    assert ran.out.splitlines()[-1] == f"next    {there}"
    assert command(*words, "--explain").out.splitlines()[-1] == f"next    {there}"
    right = OnnxRuntimeSession.run
    monkeypatch.setattr(
        OnnxRuntimeSession, "run", lambda *given: {name: value + 1 for name, value in right(*given).items()}
    )
    then = f"which layer and operator is wrong: drnn-parity {bundle} --runtime {HERE[0]} --inputs {x} --explain"
    assert command(*words).out.splitlines()[-1] == f"next    {then}"
    again = command(*words, "--explain").out.partition("again ")[2].splitlines()[0]
    assert again.split() == f"drnn-parity {bundle} --runtime {HERE[0]} --explain --inputs {x}".split()

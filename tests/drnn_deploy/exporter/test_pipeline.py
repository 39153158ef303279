"""Exports from a checkpoint to a checked bundle, through the command and as a function."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import drnn_deploy
from drnn_core import gpu
from drnn_core.errors import DeployError, EngineError, InputError, RuntimeUnavailableError
from drnn_core.types import Availability
from drnn_deploy import ExportOptions
from drnn_deploy.cli import main
from drnn_deploy.exporter import engines, pipeline
from drnn_deploy.reports.regressions import read_baseline
from drnn_models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.registry import RUNTIMES
from tests.networks import random_weights

Command = Callable[..., Any]  # see conftest
REPOSITORY = Path(drnn_deploy.__file__).resolve().parents[1]
QUICK = ("--engine", "none", "--runtime", "reference", "--runtime", "torch", "--runtime", "onnxruntime-cpu")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine without its GPU, if it has one."""
    monkeypatch.setattr(gpu, "gpu", lambda: None)
    monkeypatch.setattr(gpu, "gpu_reason", lambda: "no NVIDIA driver is installed")


def test_every_runtime_passes_and_has_a_row(command: Command, model: Path) -> None:
    ran = command(model, "--output", model.parent / "bundle", *QUICK)
    assert (ran.code, ran.err) == (0, "")
    rows = [line.split() for line in ran.out.splitlines() if line.rstrip().endswith("PASSED")]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows] == [
        ("reference", "sequence", "fp64", "PASSED"),
        ("torch", "sequence", "fp32", "PASSED"),
        ("onnxruntime-cpu", "sequence/fused", "fp32", "PASSED"),
    ]
    *_, last, then = ran.out.splitlines()
    assert last == f"PASSED {model} -> {model.parent / 'bundle'}"
    assert then.startswith(f"next    on the device: drnn-parity {model.parent / 'bundle'}; ")


def test_bundle_holds_what_a_device_needs_and_nothing_else(model: Path) -> None:
    (model.parent.parent / "new").touch()  # with what permissions the user's umask leaves
    result = drnn_deploy.export(model, model.parent / "bundle", ExportOptions(engines=()))
    assert result.exit_code == 0
    assert names(result.bundle.folder) == [
        "golden.npz", "manifest.json", "model.onnx", "parity.json", "weights.safetensors",
    ]  # fmt: skip
    modes = {path.stat().st_mode for path in (model.parent.parent / "new", *result.bundle.folder.iterdir())}
    assert len(modes) == 1
    assert read_baseline(result.bundle.folder / "parity.json")["passed"]
    opened = Bundle.open(model.parent / "bundle")
    assert opened.spec == load_checkpoint(model).spec
    assert [(graph.name, graph.steps, graph.batch, graph.pruned) for graph in opened.graphs] == [
        ("sequence/fused", 8, 1, True)
    ]
    assert [case.name for case in opened.golden] == ["zeros", "normal", "large", "ramp", "edge fp32", "task"]
    assert names(model.parent) == ["bundle", *(f"bundle/{name}" for name in names(opened.folder)), "model.pt"]


def test_manifest_and_graph_describe_the_same_tensors(bundle: Path) -> None:
    (graph,) = Bundle.open(bundle).graphs
    model = onnx.load(bundle / graph.file)
    assert (graph.opset, graph.nodes) == (model.opset_import[0].version, len(model.graph.node))
    assert [(graph.inputs[0].shape, graph.inputs[0].dtype)] == [((1, 8, 2), "float32")]
    assert [(graph.outputs[0].shape, graph.outputs[0].dtype)] == [((1, 3), "float32")]


@pytest.mark.parametrize("spec", [
    ModelSpec("rnn", (3, 4, 3), (2, 4, 8), Continuous(1), Head("sequence", 2), activation="relu"),
    ModelSpec("lstm", (3, 4), (1, 3), Tokens(5), Head("last_k", 2, 3)),
    ModelSpec("gru", (3,), (20,), Tokens(5, 2), Head("last", 1)),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("batch", [1, 3, None])
def test_both_emissions_of_any_network_pass(tmp_path: Path, spec: ModelSpec, batch: int | None) -> None:
    emissions = ("fused",) if batch is None else ("fused", "unrolled")
    options = ExportOptions(length=11, batch=batch, emissions=emissions, engines=())
    result = drnn_deploy.export(Checkpoint(spec, random_weights(spec, 0)), tmp_path / "bundle", options)
    assert result.exit_code == 0, result.parity
    assert {row.graph for row in result.parity.rows if row.runtime == "onnxruntime-cpu"} == {
        f"sequence/{emission}" for emission in emissions
    }


def test_pruning_can_be_left_out(tmp_path: Path, network: Checkpoint) -> None:
    result = drnn_deploy.export(network, tmp_path / "bundle", ExportOptions(prune=False, engines=()))
    assert result.exit_code == 0
    assert not result.bundle.graphs[0].pruned


def test_bundle_is_named_after_the_checkpoint(command: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model.parent)
    assert command(model.name, *QUICK).code == 0
    assert sorted(path.name for path in model.parent.iterdir()) == ["model-bundle", "model.pt"]


def test_same_model_gives_the_same_files(model: Path) -> None:
    for name in ("one", "two"):
        drnn_deploy.export(model, model.parent / name, ExportOptions(engines=()))
    one, two = model.parent / "one", model.parent / "two"
    for name in ("model.onnx", "weights.safetensors", "golden.npz"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    manifests = [json.loads((folder / "manifest.json").read_text(encoding="utf-8")) for folder in (one, two)]
    for manifest in manifests:
        del manifest["files"]["parity.json"], manifest["checksum"]  # the report holds times
    assert manifests[0] == manifests[1]


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, and the unpacked parts of those that are compressed."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield path.name, path.read_bytes()
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                yield from ((f"{path.name}:{name}", array.tobytes()) for name, array in arrays.items())


def assert_no_paths(folder: Path) -> None:
    for name, content in contents(folder):
        for encoding in ("utf-8", "utf-32-le"):
            for place in (REPOSITORY, folder.parent, Path.home() / "x", Path("/tmp/x")):
                assert str(place).removesuffix("x").encode(encoding) not in content, f"{place} in {name}"


def test_no_path_of_this_machine_is_in_any_file(bundle: Path, pristine: Path) -> None:
    assert_no_paths(pristine)
    (bundle / "extra").write_text(f"made in {bundle.parent}", encoding="utf-8")
    with pytest.raises(AssertionError):
        assert_no_paths(bundle)


def test_no_path_is_in_the_report_of_a_runtime_that_failed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(OnnxRuntime):
        @contextlib.contextmanager
        def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Any]:
            raise InputError(f"{bundle.path(graph.file)} cannot be loaded")
            yield

    monkeypatch.setitem(RUNTIMES, "onnxruntime-cpu", Broken("cpu"))
    result = drnn_deploy.export(model, model.parent / "bundle", ExportOptions(engines=()))
    assert result.exit_code == 2
    assert [row.error for row in result.parity.rows if not row.passed] == ["model.onnx cannot be loaded"]
    assert not read_baseline(result.bundle.folder / "parity.json")["passed"]
    assert_no_paths(result.bundle.folder)


def test_engine_is_built_ahead_of_time_and_holds_no_path(command: Command, model: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
    out = model.parent / "bundle"
    ran = command(
        model, "--output", out, "--engine", "tensorrt-rtx", "--compute-capability", "8.6", "--runtime", "torch"
    )
    assert ran.code == 0
    assert "engine  sequence/fused: tensorrt-rtx" in ran.out
    (engine,) = Bundle.open(out).engines
    assert (out / engine.file).stat().st_size > 0
    assert_no_paths(out)


# where the bundle goes


def test_folder_that_is_not_a_bundle_is_left_alone(command: Command, model: Path) -> None:
    mine = model.parent / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work", encoding="utf-8")
    ran = command(model, "--output", mine, *QUICK)
    assert ran.code == 2
    assert "is not empty and not a bundle" in ran.err
    assert "--output" in ran.err
    assert names(model.parent) == ["mine", "mine/thesis.tex", "model.pt"]
    assert (mine / "thesis.tex").read_text(encoding="utf-8") == "years of work"


def test_empty_folder_is_taken(command: Command, model: Path) -> None:
    (model.parent / "empty").mkdir()
    assert command(model, "--output", model.parent / "empty", *QUICK).code == 0
    assert (model.parent / "empty" / "manifest.json").is_file()


def test_earlier_bundle_is_replaced_as_a_whole(command: Command, model: Path, bundle: Path) -> None:
    before = names(bundle.parent)
    assert command(model, "--output", bundle, "--emission", "fused", "--emission", "unrolled", *QUICK).code == 0
    assert len(names(bundle.parent)) == len(before) + 1
    assert command(model, "--output", bundle, "--length", 5, *QUICK).code == 0
    assert Bundle.open(bundle).graphs[0].steps == 5
    assert names(bundle.parent) == before


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"files": 3}'])
def test_own_files_in_a_bundle_are_named_and_stay(command: Command, model: Path, bundle: Path, damage: str) -> None:
    (bundle / "notes.md").write_text("mine", encoding="utf-8")
    if damage:
        (bundle / "manifest.json").write_text(damage, encoding="utf-8")
    before = {name: (bundle.parent / name).read_bytes() for name in names(bundle.parent) if "." in name}
    ran = command(model, "--output", bundle, *QUICK)
    assert ran.code == 2
    assert "files that would be deleted" in ran.err
    assert "notes.md" in ran.err
    assert ("model.onnx" in ran.err) == bool(damage)  # what a damaged manifest does not name may be anyone's
    assert {name: (bundle.parent / name).read_bytes() for name in names(bundle.parent) if "." in name} == before


def test_earlier_bundle_stays_when_the_export_fails(command: Command, model: Path, bundle: Path) -> None:
    before = {name: (bundle.parent / name).read_bytes() for name in names(bundle.parent) if "." in name}
    assert command(model, "--output", bundle, "--emission", "unrolled", "--node-budget", 3, *QUICK).code == 2
    assert {name: (bundle.parent / name).read_bytes() for name in names(bundle.parent) if "." in name} == before


@pytest.mark.parametrize("output, says", [("model.pt", "is a file"), ("model.pt/bundle", "cannot write")])
def test_output_at_or_below_a_file(command: Command, model: Path, output: str, says: str) -> None:
    before = model.read_bytes()
    ran = command(model, "--output", model.parent / output, *QUICK)
    assert ran.code == 2
    assert says in ran.err
    assert "--output" in ran.err
    assert names(model.parent) == ["model.pt"]
    assert model.read_bytes() == before


@pytest.mark.parametrize("kilobytes", [4, 8, 12, 16, 20])
def test_disk_that_fills_up_at_any_point(
    command: Command, model: Path, small_disk: Callable[[int], Path], kilobytes: int
) -> None:
    disk = small_disk(kilobytes)
    ran = command(model, "--output", disk / "new" / "bundle", *QUICK)
    assert ran.code == 2
    assert "No space left on device" in ran.err
    assert "free space" in ran.err
    assert names(disk) == []


def test_checkpoint_on_a_full_disk(small_disk: Callable[[int], Path]) -> None:
    spec, disk = ModelSpec("lstm", (40,), (1,), Continuous(1), Head("last", 1)), small_disk(8)
    with pytest.raises(InputError, match="No space left"):
        save_checkpoint(disk / "model.pt", Checkpoint(spec, random_weights(spec, 0)))
    assert names(disk) == []


def test_write_that_fails_leaves_nothing(command: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pipeline, "write_golden", no_space)
    ran = command(model, "--output", model.parent / "new" / "bundle", *QUICK)
    assert ran.code == 2
    assert "No space left on device" in ran.err
    assert names(model.parent) == ["model.pt"]


def test_interrupt_leaves_nothing(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "write_golden", interrupt)
    monkeypatch.setattr("sys.argv", ["drnn-deploy", "export", str(model), "--output", str(model.parent / "bundle")])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 130
    assert capsys.readouterr().err.strip() == "drnn-deploy: stopped"
    assert names(model.parent) == ["model.pt"]


# requests that cannot be met


def test_length_must_come_from_somewhere(command: Command, model: Path, network: Checkpoint) -> None:
    save_checkpoint(model, dataclasses.replace(network, task={}))
    ran = command(model, "--output", model.parent / "bundle", *QUICK)
    assert ran.code == 2
    assert "does not say how long its sequences are" in ran.err
    assert "--length" in ran.err
    assert command(model, "--output", model.parent / "bundle", "--length", 4, *QUICK).code == 0


@pytest.mark.parametrize("length", ["784", 7.5, [8], None])
def test_length_of_another_type_is_no_length(
    command: Command, model: Path, network: Checkpoint, length: object
) -> None:
    save_checkpoint(model, dataclasses.replace(network, task={"length": length}))
    ran = command(model, "--output", model.parent / "bundle", *QUICK)
    assert ran.code == 2
    assert "--length" in ran.err


@pytest.mark.parametrize("options, code, says", [
    (("--runtime", "caffe"), 2, ("there is no runtime 'caffe'", "onnxruntime-cpu")),
    (("--runtime", "onnxruntime-cuda"), 3, ("onnxruntime-cuda cannot run here", "GPU")),
    (("--engine", "tvm"), 2, ("there is no engine builder 'tvm'", "tensorrt-rtx")),
    (("--engine", "none", "--engine", "tensorrt-rtx"), 2, ("there is no engine builder 'none'",)),
    (("--emission", "unrolled", "--node-budget", "50"), 2, ("(12 cells), over the budget of 50", "--style operator")),
    (("--emission", "unrolled", "--batch", "dynamic"), 2, ("dynamic batch", "emission fused")),
    (("--emission", "fused", "--emission", "fused"), 2, ("name each emission once",)),
    (("--length", "99999999"), 2, ("length and spec.dilations sum to", "--length")),
    (("--max-noise", "nan"), 2, ("must be a positive number", "--max-noise")),
    (("--max-noise", "inf"), 2, ("must be a positive number", "--max-noise")),
    (("--max-noise", "-1"), 2, ("must be a positive number", "--max-noise")),
])  # fmt: skip
@pytest.mark.usefixtures("no_gpu")
def test_request_that_cannot_be_met(
    command: Command, model: Path, options: tuple[str, ...], code: int, says: tuple[str, ...]
) -> None:
    quick = () if "--engine" in options else ("--engine", "none")
    out, report = model.parent / "new" / "bundle", model.parent / "report.json"
    ran = command(model, "--output", out, "--json", report, *quick, *options)
    assert ran.code == code
    for words in says:
        assert words in ran.err
    written = json.loads(report.read_text(encoding="utf-8"))
    assert (written["passed"], written["exit_code"]) == (False, code)
    assert written["error"]["message"] in ran.err
    assert written["error"]["fix"] in ran.err
    assert names(model.parent) == ["model.pt", "report.json"]


def test_budget_that_the_refusal_names_is_enough(command: Command, model: Path) -> None:
    unrolled = (model, "--output", model.parent / "bundle", "--emission", "unrolled", *QUICK)
    advice = re.search(r"--node-budget (\d+)\.", command(*unrolled, "--node-budget", 1).err)
    assert advice is not None
    assert command(*unrolled, "--node-budget", int(advice[1]) - 1).code == 2
    assert command(*unrolled, "--node-budget", advice[1]).code == 0


def test_engine_of_a_builder_that_is_missing(command: Command, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Availability(False, "the Python module tensorrt is not installed", "Install it: pip install it")
    monkeypatch.setattr(engines, "backend_availability", lambda *_: missing)
    ran = command(model, "--output", model.parent / "bundle", "--engine", "tensorrt", "--json", "-")
    assert ran.code == 4
    assert ran.err.splitlines()[-2:] == [
        "drnn-export: no tensorrt engine can be built here: the Python module tensorrt is not installed",
        "Install it: pip install it",
    ]
    assert json.loads(ran.out)["exit_code"] == 4
    assert names(model.parent) == ["model.pt"]


def test_engine_that_fails_to_build_is_an_exit_code_of_its_own(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EngineError("the builder crashed on [node/17]", "Use another [form]")

    monkeypatch.setattr(engines, "backend_availability", lambda *_: Availability(True, "here"))
    monkeypatch.setattr(engines, "build_engine", refuse)
    out = model.parent / "bundle"
    ran = command(
        model, "--output", out, "--engine", "tensorrt", "--runtime", "torch", "--json", model.parent / "r.json"
    )
    assert ran.code == 4
    assert "engine  sequence/fused: tensorrt failed: the builder crashed on [node/17] Use another [form]" in ran.out
    *_, last, then = ran.out.splitlines()
    assert last.startswith(f"FAILED (exit code 4) {model} -> {out}: no tensorrt")
    assert then.startswith("next    ")
    written = json.loads((model.parent / "r.json").read_text(encoding="utf-8"))
    assert (written["passed"], written["exit_code"], written["engines"][0]["built"]) == (False, 4, False)
    assert Bundle.open(out).engines == ()


def test_engine_that_would_take_too_long_is_not_begun_and_says_how(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "backend_availability", lambda *_: Availability(True, "here"))
    monkeypatch.setattr(engines, "build_engine", lambda *_, **__: pytest.fail("over the limit"))
    monkeypatch.setattr(pipeline, "build_seconds", lambda *_: 1234.5)
    monkeypatch.setenv("DRNN_CACHE", str(model.parent / "cache"))
    out = model.parent / "bundle"
    ran = command(model, "--output", out, "--engine", "tensorrt", "--runtime", "torch", "--engine-seconds", 1000)
    assert ran.code == 0
    assert (
        "not built: it would take about 1,234 s, over the limit of 1000 s; to wait for it: --engine-seconds 3704"
        in ran.out
    )


# parity


def test_parity_failure_is_exit_code_1_with_the_bundle_and_the_report(command: Command, model: Path) -> None:
    out = model.parent / "bundle"
    ran = command(model, "--output", out, "--max-noise", "1e-9", "--json", model.parent / "r.json", *QUICK)
    assert ran.code == 1
    *_, last, then = ran.out.splitlines()
    wanted = re.escape(f"FAILED (exit code 1) {model} -> {out}: ") + r"\S+ sequence\S*: .*the limit is "
    assert re.match(wanted, last)
    assert then.endswith(f"drnn-parity {out} --explain")
    assert "FAILED onnxruntime-cpu sequence/fused: error " in ran.out
    report, written = (
        json.loads((out / "parity.json").read_text(encoding="utf-8")),
        json.loads((model.parent / "r.json").read_text(encoding="utf-8")),
    )
    assert report["passed"] is False
    assert (written["passed"], written["exit_code"]) == (False, 1)
    assert [(row["runtime"], row["passed"]) for row in report["rows"]] == [
        ("reference", True), ("torch", False), ("onnxruntime-cpu", False),
    ]  # fmt: skip
    assert Bundle.open(out).files.keys() >= {"parity.json", "golden.npz"}
    assert not read_baseline(out / "parity.json")["passed"]


def test_reference_alone_proves_nothing(command: Command, model: Path) -> None:
    ran = command(model, "--output", model.parent / "bundle", "--engine", "none", "--runtime", "reference")
    assert ran.code == 3
    assert "no runtime besides the reference ran, so nothing was compared" in ran.out
    assert "PASSED model" not in ran.out


def test_runtime_asked_for_by_name_that_can_run_no_graph_is_a_failure(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntime, "unsupported", lambda *_: "the bundle has no engine for model.onnx")
    ran = command(model, "--output", model.parent / "bundle", *QUICK)
    assert ran.code == 3
    assert "FAILED onnxruntime-cpu sequence/fused: the bundle has no engine for model.onnx" in ran.out
    assert command(model, "--output", model.parent / "bundle", "--engine", "none").code == 0  # not asked for by name


def test_advice_with_brackets_is_printed_as_it_is(
    command: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ran = command(model, "--output", model.parent / "bundle[bold]", "--engine", "none", "--verbose")
    assert "not run torch: PyTorch is not installed. pip install 'drnn-deploy[train]'" in ran.out
    assert ran.out.splitlines()[-2].endswith("bundle[bold]")


@pytest.mark.parametrize("target", ["file", "-"])
def test_json_on_success(command: Command, model: Path, target: str) -> None:
    place = "-" if target == "-" else model.parent / "new" / "report.json"
    ran = command(model, "--output", model.parent / "bundle", "--json", place, *QUICK)
    assert ran.code == 0
    written = json.loads(ran.out if target == "-" else Path(place).read_text(encoding="utf-8"))
    assert (written["passed"], written["exit_code"], written["engines"]) == (True, 0, [])
    assert written["bundle"] == str(model.parent / "bundle")
    assert [row["runtime"] for row in written["rows"]] == ["reference", "torch", "onnxruntime-cpu"]
    assert all(case["passed"] for row in written["rows"] for case in row["cases"])
    assert "PASSED" in (ran.err if target == "-" else ran.out)


def test_json_that_cannot_be_written_is_said_and_fails(command: Command, model: Path) -> None:
    ran = command(model, "--output", model.parent / "bundle", "--json", model / "report.json", *QUICK)
    assert ran.code == 2
    assert "cannot write" in ran.err
    assert "report.json" in ran.err


# as a function


def test_function_raises_what_the_command_reports(model: Path) -> None:
    cases: dict[type[DeployError], ExportOptions] = {
        InputError: ExportOptions(runtimes=("caffe",)),
        RuntimeUnavailableError: ExportOptions(runtimes=("torch-cuda",)),
    }
    for error, options in cases.items():
        if error is RuntimeUnavailableError and RUNTIMES["torch-cuda"].availability().usable:
            continue
        with pytest.raises(error):
            drnn_deploy.export(model, model.parent / "bundle", options)
    assert names(model.parent) == ["model.pt"]


def test_function_tells_what_it_does(model: Path) -> None:
    told: list[str] = []
    drnn_deploy.export(str(model), str(model.parent / "bundle"), ExportOptions(engines=()), notify=told.append)
    assert told[0].startswith("emitting sequence/fused")
    assert told[1] == "computing the float64 reference"
    assert "checking onnxruntime-cpu on sequence/fused" in told


def test_emissions_must_be_named() -> None:
    spec = ModelSpec("rnn", (2,), (1,), Continuous(1), Head("last", 1))
    with pytest.raises(InputError, match="name each emission once"):
        drnn_deploy.export(Checkpoint(spec, random_weights(spec, 0), {"length": 4}), None, ExportOptions(emissions=()))


def test_head_of_zeros_passes(tmp_path: Path, network: Checkpoint) -> None:
    weights = {name: value * (0 if name.startswith("head") else 1) for name, value in network.weights.items()}
    result = drnn_deploy.export(
        dataclasses.replace(network, weights=weights), tmp_path / "b", ExportOptions(engines=())
    )
    assert result.exit_code == 0

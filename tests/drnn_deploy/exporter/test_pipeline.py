"""Exports from a checkpoint to a checked bundle, through the command and as a function."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import drnn_deploy
from drnn_core.errors import DeployError, InputError, RuntimeUnavailableError
from drnn_deploy import ExportOptions
from drnn_deploy.reports.regressions import read_baseline
from drnn_models.checkpoint import Checkpoint, load_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.registry import RUNTIMES
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.exporter.exports import QUICK, names
from tests.networks import random_weights
from tests.nightly import combinations

REPOSITORY = Path(drnn_deploy.__file__).resolve().parents[1]


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


SPECS = [
    ModelSpec("rnn", (3, 4, 3), (2, 4, 8), Continuous(1), Head("sequence", 2), activation="relu"),
    ModelSpec("lstm", (3, 4), (1, 3), Tokens(5), Head("last_k", 2, 3)),
    ModelSpec("gru", (3,), (20,), Tokens(5, 2), Head("last", 1)),
]


@pytest.mark.parametrize(("spec", "batch"), combinations(SPECS, [1, 3, None], by_day=4))
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
    with pytest.raises(InputError, match="name each style once"):
        drnn_deploy.export(Checkpoint(spec, random_weights(spec, 0), {"length": 4}), None, ExportOptions(emissions=()))


def test_head_of_zeros_is_right_and_proves_nothing(tmp_path: Path, network: Checkpoint) -> None:
    weights = {name: value * (0 if name.startswith("head") else 1) for name, value in network.weights.items()}
    result = drnn_deploy.export(
        dataclasses.replace(network, weights=weights), tmp_path / "b", ExportOptions(engines=())
    )
    assert result.exit_code == 1
    assert {row.verdict for row in result.parity.rows if not row.is_reference} == {"not compared"}

"""Files that an earlier version wrote are read, and mean what they meant.

Each tests/fixtures/files-VERSION holds a checkpoint, its bundle, the state of a stream after ten steps (with what was
pushed before and after it, and what came out), and the state of a training of forty iterations that was stopped at
twenty.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from drnn_deploy import ExportOptions, export
from drnn_deploy.matrix.options import MatrixOptions
from drnn_deploy.matrix.run import check_bundle
from drnn_deploy.training.loop import train
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.checkpoint import load_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime
from tests.networks import random_inputs, random_weights

FOLDERS = sorted((Path(__file__).parent / "fixtures").glob("files-*"))
LOSSES = {"files-0.1.0": 2.1426339}  # of each version's training at its end; with new moments of Adam it is 4e-4 lower
SPEC = ModelSpec("lstm", (3, 4), (2, 4), Continuous(2), Head("last", 3))
RECIPE = (
    *("data.delay=5", "model.cell=rnn", "model.hidden=[4,4]", "model.dilations=[1,2]", "training.iterations=40"),
    *("training.batch=4", "training.evaluate_every=20", "training.learning_rate=1e-3"),
)


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def files(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_a_checkpoint(files: Path) -> None:
    checkpoint = load_checkpoint(files / "model.pt")
    assert checkpoint.spec == SPEC
    assert (checkpoint.task, checkpoint.metrics, checkpoint.provenance) == (
        {"length": 8},
        {"accuracy": 0.5},
        {"seed": 1},
    )
    weights = random_weights(SPEC, 0)
    assert all(np.array_equal(checkpoint.weights[name], value) for name, value in weights.items())
    assert checkpoint.examples is not None
    assert np.array_equal(checkpoint.examples.inputs, random_inputs(SPEC, 3, 8, 1))


def test_a_bundle_passes_parity(files: Path) -> None:
    bundle = Bundle.open(files / "bundle")
    assert [graph.name for graph in bundle.graphs] == ["sequence/fused", "chunk4/fused"]
    report = check_bundle(bundle, MatrixOptions(required=("torch", "onnxruntime-cpu")))
    assert report.passed, report
    assert len(report.rows) >= 5


def test_the_graphs_are_emitted_the_same_today(files: Path, tmp_path: Path) -> None:
    options = ExportOptions(forms=("sequence", "chunk"), chunk=4, engines=(), runtimes=())
    export(files / "model.pt", tmp_path / "bundle", options)
    graphs = sorted((files / "bundle").glob("*.onnx"))
    assert [path.name for path in graphs] == ["chunk4-fused.onnx", "model.onnx"]
    for path in graphs:
        assert (tmp_path / "bundle" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("runtime", ["onnxruntime-cpu", "torch", "reference"])
def test_a_stream_goes_on(runtime: str, files: Path) -> None:
    kept = np.load(files / "stream.npz")
    with find_runtime(runtime).stream(Bundle.open(files / "bundle")) as stream:
        np.testing.assert_allclose(stream.push(kept["before"]), kept["out_before"], atol=1e-6)
        stream.load_state(files / "state.npz")
        np.testing.assert_allclose(stream.push(kept["after"]), kept["out_after"], atol=1e-6)


def test_a_training_goes_on(files: Path, tmp_path: Path) -> None:
    state = Path(shutil.copy(files / "training.pt", tmp_path / "state.pt"))
    run = TrainingRun.resume(state, load_recipe("copy-memory", None, RECIPE))
    assert (run.iteration, len(run.log)) == (20, 1)
    assert [line.iteration for line in train(run, state)] == [40]
    assert run.log[-1].loss == pytest.approx(LOSSES[files.name], abs=1e-5)

"""Files that an earlier version wrote are read, and mean what they meant.

tests/fixtures/files-0.1.0 holds a checkpoint, its bundle, the state of a stream after ten steps (with what was pushed
before and after it, and what came out), and the state of a training of forty iterations that was stopped at twenty.
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

FILES = Path(__file__).parent / "fixtures" / "files-0.1.0"
SPEC = ModelSpec("lstm", (3, 4), (2, 4), Continuous(2), Head("last", 3))
RECIPE = (
    *("data.delay=5", "model.cell=rnn", "model.hidden=[4,4]", "model.dilations=[1,2]", "training.iterations=40"),
    *("training.batch=4", "training.evaluate_every=20", "training.learning_rate=1e-3"),
)


def test_a_checkpoint() -> None:
    checkpoint = load_checkpoint(FILES / "model.pt")
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


def test_a_bundle_passes_parity() -> None:
    bundle = Bundle.open(FILES / "bundle")
    assert [graph.name for graph in bundle.graphs] == ["sequence/fused", "chunk4/fused"]
    report = check_bundle(bundle, MatrixOptions(required=("torch", "onnxruntime-cpu")))
    assert report.passed, report
    assert len(report.rows) >= 5


def test_the_graphs_are_emitted_the_same_today(tmp_path: Path) -> None:
    options = ExportOptions(forms=("sequence", "chunk"), chunk=4, engines=(), runtimes=())
    export(FILES / "model.pt", tmp_path / "bundle", options)
    for path in sorted((FILES / "bundle").glob("*.onnx")):
        assert (tmp_path / "bundle" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("runtime", ["onnxruntime-cpu", "torch", "reference"])
def test_a_stream_goes_on(runtime: str) -> None:
    kept = np.load(FILES / "stream.npz")
    with find_runtime(runtime).stream(Bundle.open(FILES / "bundle")) as stream:
        np.testing.assert_allclose(stream.push(kept["before"]), kept["out_before"], atol=1e-6)
        stream.load_state(FILES / "state.npz")
        np.testing.assert_allclose(stream.push(kept["after"]), kept["out_after"], atol=1e-6)


def test_a_training_goes_on(tmp_path: Path) -> None:
    state = Path(shutil.copy(FILES / "training.pt", tmp_path / "state.pt"))
    run = TrainingRun.resume(state, load_recipe("copy-memory", None, RECIPE))
    assert (run.iteration, len(run.log)) == (20, 1)
    assert [line.iteration for line in train(run, state)] == [40]
    assert np.isfinite(run.log[-1].loss)

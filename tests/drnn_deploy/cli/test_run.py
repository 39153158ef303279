"""`drnn-deploy run`: arrays in, arrays out, and nothing half-written."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drnn_deploy import ExportOptions, export
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import Bundle

Command = Any  # see conftest


@pytest.fixture
def x(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((5, 8, 2)))
    return tmp_path / "x.npy"


def test_outputs_are_written_and_parity_believes_them(command: Command, bundle: Path, x: Path, tmp_path: Path) -> None:
    y = tmp_path / "my outputs" / "y.npy"
    ran = command("drnn-deploy", "run", bundle, "--input", x, "--output", y, "--threads", 1)
    assert (ran.code, ran.err) == (0, "")
    assert "5 x 3 float32" in ran.out
    np.testing.assert_array_equal(np.load(y), Bundle.open(bundle).run(np.load(x)))
    words = shlex.split(ran.out.splitlines()[-1].partition("drnn-parity ")[2])
    checked = command("drnn-deploy", "parity", *words, "--runtime", "onnxruntime-cpu")
    assert checked.code == 0
    assert "x.npy: y.npy sequence passed" in checked.out


def test_several_arrays_keep_their_names(command: Command, bundle: Path, x: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", one=np.load(x), two=np.load(x)[:2])
    ran = command(
        "drnn-deploy", "run", bundle, "--input", tmp_path / "x.npz", "--output", tmp_path / "y.npz", "--json", "-",
        "--runtime", "reference",
    )  # fmt: skip
    assert ran.code == 0
    with np.load(tmp_path / "y.npz") as outputs:
        assert {name: outputs[name].shape for name in outputs} == {"one": (5, 3), "two": (2, 3)}
    written = json.loads(ran.out)
    assert (written["passed"], written["runtime"]) == (True, "reference")
    assert [(entry["name"], entry["shape"]) for entry in written["runs"]] == [("one", [5, 3]), ("two", [2, 3])]


def test_a_check_of_the_outputs_takes_the_limit_of_the_graph_that_gave_them(
    command: Command, network: Checkpoint, x: Path, tmp_path: Path
) -> None:
    options = ExportOptions(precisions=("fp32", "fp16"), engines=(), runtimes=())
    bundle = export(network, tmp_path / "both", options).bundle
    for graph in bundle.graphs:
        y = tmp_path / f"{graph.precision}.npy"
        ran = command("drnn-deploy", "run", bundle.folder, "--input", x, "--output", y, "--form", graph.name)
        assert ran.code == 0
        words = shlex.split(ran.out.splitlines()[-1].partition("drnn-parity ")[2])
        assert words[-2:] == ["--precision", graph.precision]
        assert command("drnn-deploy", "parity", *words, "--runtime", "onnxruntime-cpu").code == 0


@pytest.mark.parametrize("output, array, says", [
    ("y.npz", np.zeros((1, 8, 2)), "Write a .npy file"),
    ("y.txt", np.zeros((1, 8, 2)), "must end in .npy or .npz"),
    ("x.npy", np.zeros((1, 8, 2)), "which is read"),
    ("folder.npy", np.zeros((1, 8, 2)), "is a folder"),
    ("y.npy", np.zeros((1, 9, 2)), "has 9 steps, which no graph of"),
    ("y.npy", np.zeros((8, 2)), "For one sequence: x[None]"),
    ("y.npy", np.full((1, 8, 2), np.nan), "'x.npy' holds NaN"),
])  # fmt: skip
def test_what_cannot_be_run_is_refused_and_writes_nothing(
    output: str, array: Any, says: str, command: Command, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.npy").mkdir()
    np.save(tmp_path / "x.npy", array)
    before = (tmp_path / "x.npy").read_bytes(), sorted(path.name for path in tmp_path.iterdir())
    ran = command("drnn-deploy", "run", bundle, "--input", tmp_path / "x.npy", "--output", tmp_path / output)
    assert ran.code == 2
    assert says in ran.err
    assert ((tmp_path / "x.npy").read_bytes(), sorted(path.name for path in tmp_path.iterdir())) == before


def test_a_checkpoint_is_to_be_exported_first(command: Command, model: Path, x: Path) -> None:
    ran = command("drnn-deploy", "run", model, "--input", x, "--output", x.with_name("y.npy"))
    assert ran.code == 2
    assert "drnn-export" in ran.err

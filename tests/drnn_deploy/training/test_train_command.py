"""`drnn-deploy train`: what it writes, and how it says that it cannot start."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from drnn_deploy import datasets
from drnn_deploy.tasks import pixel_mnist
from drnn_deploy.training.loop import evaluate
from drnn_deploy.training.training_run import TrainingRun
from drnn_models.checkpoint import load_checkpoint
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.training.tiny import SET, lines, recipe_of


def test_command_writes_checkpoint_log_and_curve(command: Command, tmp_path: Path, whole: TrainingRun) -> None:
    out = tmp_path / "out [1]"
    ran = command("drnn-deploy", "train", "copy-memory", *SET, "--output", out)
    assert (ran.code, ran.err) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == ["curve.png", "log.json", "model.pt", "state.pt"]
    assert f"wrote {out / 'model.pt'}" in ran.out
    log = json.loads((out / "log.json").read_text(encoding="utf-8"))
    assert log["recipe"] == recipe_of().to_json()
    assert [(line["iteration"], line["loss"], line["validation"]) for line in log["log"]] == lines(whole)
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    checkpoint = load_checkpoint(out / "model.pt")
    assert checkpoint.task == {"name": "copy-memory", "length": 25, "options": {"delay": 5}}
    assert checkpoint.metrics == evaluate(whole.model, recipe_of().make_task(), "test")
    assert checkpoint.provenance["recipe"] == recipe_of().to_json()
    assert checkpoint.examples is not None and checkpoint.examples.inputs.shape == (20, 25)
    for name, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(checkpoint.weights[name], value.numpy())
    exported = command(out / "model.pt", "--output", tmp_path / "bundle", "--engine", "none")
    assert exported.code == 0


@pytest.mark.usefixtures("threads")
def test_training_takes_the_threads_that_were_asked_for(command: Command, tmp_path: Path) -> None:
    more = torch.get_num_threads() + 1
    assert (
        command("drnn-deploy", "train", "copy-memory", *SET, "--output", tmp_path / "out", "--threads", more).code == 0
    )
    assert torch.get_num_threads() == more


def test_second_training_in_the_same_folder_is_refused(command: Command, tmp_path: Path) -> None:
    words = ("drnn-deploy", "train", "copy-memory", *SET, "--output", tmp_path / "out")
    refused = command(*words, "--resume")
    assert refused.code == 2
    assert "holds no training to resume" in refused.err
    assert not (tmp_path / "out").exists()
    assert command(*words).code == 0
    before = (tmp_path / "out" / "model.pt").read_bytes()
    refused = command(*words)
    assert refused.code == 2
    assert "holds an earlier training" in refused.err
    assert "--resume" in refused.err
    refused = command("drnn-deploy", "train", "ptb-char", "--output", tmp_path / "out", "--resume")
    assert refused.code == 2
    assert "holds a training of copy-memory, not of ptb-char" in refused.err
    assert (tmp_path / "out" / "model.pt").read_bytes() == before


@pytest.mark.parametrize("words, says", [
    (("mnist",), "there is no task 'mnist'"),
    (("copy-memory", "--set", "training.bacth=4"), "bacth"),
    (("copy-memory", "--config", "missing.toml"), "missing.toml"),
    (("pixel-mnist", "--set", "training.batch=4"), "drnn-deploy data fetch pixel-mnist"),
])  # fmt: skip
def test_training_that_cannot_start(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.setenv("DRNN_DATA", str(tmp_path / "no data"))
    monkeypatch.chdir(tmp_path)
    ran = command("drnn-deploy", "train", *words)
    assert ran.code == 2
    assert says in ran.err
    assert not list(tmp_path.rglob("state.pt"))  # in the way of the next try


def test_what_is_stopped_before_its_first_step_is_not_said_to_go_on(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("drnn_deploy.training.outputs.open_run", stopped)
    ran = command("drnn-deploy", "train", "copy-memory", "--output", tmp_path / "out")
    assert ran.code == 130
    assert "--resume" not in ran.out


def test_cuda_without_a_gpu_is_refused(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    ran = command("drnn-deploy", "train", "copy-memory", "--device", "cuda", "--output", tmp_path / "out")
    assert ran.code == 2
    assert "finds no CUDA device" in ran.err
    assert "--device cpu" in ran.err


def test_pixel_mnist_trains_end_to_end(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    for prefix, count in (("train", 12), ("t10k", 21)):
        for kind, array in (
            ("images-idx3", random.integers(0, 256, (count, 28, 28))),
            ("labels-idx1", np.arange(count) % 10),
        ):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (tmp_path / f"{prefix}-{kind}-ubyte").write_bytes(head + array.astype(np.uint8).tobytes())
    monkeypatch.setattr(datasets, "folder", lambda name: tmp_path)
    monkeypatch.setattr(pixel_mnist, "_VALIDATION", 4)
    tiny = ("model.cell=gru", "model.hidden=[3]", "model.dilations=[64]", "training.batch=2", "training.iterations=3")
    words = [word for entry in (*tiny, "data.permuted=true") for word in ("--set", entry)]
    assert command("drnn-deploy", "train", "pixel-mnist", *words, "--output", tmp_path / "out").code == 0
    checkpoint = load_checkpoint(tmp_path / "out" / "model.pt")
    assert checkpoint.task == {"name": "pixel-mnist", "length": 784, "options": {"permuted": True}}
    assert set(checkpoint.metrics) == {"accuracy", "cross_entropy"}
    assert checkpoint.metrics["accuracy"] * 21 == pytest.approx(round(checkpoint.metrics["accuracy"] * 21))

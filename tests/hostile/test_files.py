"""Hostile checkpoints, weights, states, recipes and reports end in a short message, in little time and memory.

By day some dozens of them, at night many hundreds.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from drnn_core.errors import DeployError, InputError
from drnn_deploy.training.experiments import load_experiment
from drnn_deploy.training.recipe import load_recipe
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.stream import Stream
from drnn_zoo import experiment_file, experiment_names, recipe_file, recipe_names
from tests.hostile import damaged
from tests.hostile.measured import MOST_BYTES, MOST_SECONDS, Commands
from tests.models.test_checkpoint import make_checkpoint
from tests.networks import make_case, random_weights
from tests.nightly import NIGHTLY
from tests.runtimes.streaming.streams import bundle_of
from tests.runtimes.streaming.streams import request as chunk_of
from tests.runtimes.streaming.test_state import assert_same

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and limits memory")

REAL = ModelSpec("lstm", (6, 5), (1, 2), Continuous(2), Head("last", 5))
SYMBOLS = ModelSpec("rnn", (4,), (2,), Tokens(9, 3), Head("last_k", 2, 3))
SET = ("data.delay=3", "training.batch=2", "training.iterations=2", "training.evaluate_every=9", "model.hidden=[3]",
       "model.dilations=[2]")  # fmt: skip
TINY = [word for change in SET for word in ("--set", change)]
ANY = (0, 1, 2, 3, 4)  # exit codes: what was changed may be right still


def draws(by_day: int, at_night: int) -> Iterator[random.Random]:
    """So many generators of random numbers, always the same."""
    yield from map(random.Random, range(at_night if NIGHTLY else by_day))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where commands run; nothing but their output may change."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def test_checkpoints(commands: Commands, place: Path, tmp_path: Path) -> None:
    path, marker, output = place / "model.pt", tmp_path / "marker", tmp_path / "output"
    networks = [make_checkpoint(), make_checkpoint(SYMBOLS), Checkpoint(REAL, random_weights(REAL, 0))]
    for draw in draws(6, 320):
        save_checkpoint(path, draw.choice(networks))
        damaged.damage_checkpoint(draw, path, marker)
        ways = [("plan", path, "--length", 6)] * 4 + [
            ("export", path, "--length", 6, "--engine", "none", "--runtime", "reference", "--output", output)
        ]
        commands.run(place, *draw.choice(ways)).check(path.name, codes=ANY)
        assert not marker.exists()
        shutil.rmtree(output, ignore_errors=True)


def test_foreign_weights(commands: Commands, place: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    marker, output = tmp_path / "marker", tmp_path / "output.pt"
    state = torch.nn.GRU(3, 4, num_layers=2).state_dict()
    for draw in draws(4, 120):
        if draw.random() < 0.5:
            path = place / "weights.pt"
            torch.save(state, path, _use_new_zipfile_serialization=draw.random() < 0.7)
            damaged.damage_checkpoint(draw, path, marker)
        else:
            path = place / "weights.safetensors"
            save_file(state, path)
            damaged.damage_safetensors(draw, path)
        words = ("import", path, "--output", output, "--layout", "torch", "--dilations", "1,2", "--head", "last")
        commands.run(place, *words).check(path.name, codes=ANY)
        assert not marker.exists()
        path.unlink()
        output.unlink(missing_ok=True)


@pytest.mark.nightly  # a training that goes on measures its test split, too
def test_states_of_trainings(commands: Commands, place: Path, tmp_path: Path) -> None:
    first, marker = tmp_path / "first", tmp_path / "marker"
    words = ("train", "copy-memory", *TINY, "--threads", 1)
    commands.run(place, *words, "--output", first).check("a right training", codes=(0,))
    for draw in draws(60, 60):
        run = tmp_path / "run"
        run.mkdir()
        shutil.copyfile(first / "state.pt", run / "state.pt")
        damaged.damage_checkpoint(draw, run / "state.pt", marker)
        commands.run(place, *words, "--output", run, "--resume").check("state.pt", codes=ANY)
        assert not marker.exists()
        shutil.rmtree(run)


def test_recipes(commands: Commands, place: Path) -> None:
    """Right ones would train for hours: they are read alone."""
    for draw in draws(6, 200):
        task = draw.choice(recipe_names())
        path = place / "recipe.toml"
        text = damaged.damage_text(draw, recipe_file(task).read_text(encoding="utf-8"))
        path.write_text(text, encoding="utf-8", errors="replace")
        with within_limits(f"recipe {task}"), contextlib.suppress(DeployError):
            load_recipe(task, path)
            continue
        commands.run(place, "train", task, "--config", path, "--output", place / "run").check(path.name)
    commands.run(place, "train", "copy-memory", "--config", "/dev/zero").check("/dev/zero")


def test_experiments(tmp_path: Path) -> None:
    for draw in draws(6, 120):
        source = experiment_file(draw.choice(experiment_names())).read_text(encoding="utf-8")
        (tmp_path / "mine.toml").write_text(damaged.damage_text(draw, source), encoding="utf-8", errors="replace")
        with within_limits("experiment"), contextlib.suppress(DeployError):
            load_experiment(str(tmp_path / "mine.toml"))


def test_baselines(commands: Commands, place: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "model.pt", Checkpoint(SYMBOLS, random_weights(SYMBOLS, 0), {"length": 4}))
    words = ("parity", tmp_path / "model.pt", "--runtime", "onnxruntime-cpu", "--form", "sequence")
    commands.run(place, *words, "--json", tmp_path / "right.json").check("a right report", codes=(0,))
    (report,) = json.loads((tmp_path / "right.json").read_text(encoding="utf-8"))["reports"]
    del report["path"]  # as an export leaves it in a bundle
    (tmp_path / "parity.json").write_text(json.dumps(report), encoding="utf-8")
    for draw in draws(2, 60):
        text = damaged.damage_text(
            draw, (tmp_path / draw.choice(("right.json", "parity.json"))).read_text(encoding="utf-8")
        )
        (place / "baseline.json").write_text(text, encoding="utf-8", errors="replace")
        commands.run(place, *words, "--baseline", place / "baseline.json").check("baseline", codes=ANY)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    spec = ModelSpec("gru", (4, 4), (3, 5), Continuous(1), Head("sequence", 4))
    bundle = bundle_of(tmp_path_factory.mktemp("bundle"), make_case(spec, 1, 8), chunk_of(8))
    with find_runtime("onnxruntime-cpu").stream(bundle) as stream:
        yield stream


def test_states_of_streams(stream: Stream, tmp_path: Path) -> None:
    samples = np.random.default_rng(0).standard_normal((1, 40, 1)).astype(np.float32)
    path = tmp_path / "state.npz"
    for draw in draws(16, 250):
        stream.reset()
        stream.push(samples[:, :21])
        stream.save_state(path)
        before, expected = stream.state(), stream.push(samples)
        stream.load_state(path)
        damaged.damage_state(draw, path)
        with within_limits("state"):
            try:
                stream.load_state(path)
            except InputError:
                assert_same(stream.state(), before)
                np.testing.assert_array_equal(stream.push(samples), expected)
            else:
                assert np.isfinite(stream.push(samples)).all()


@contextlib.contextmanager
def within_limits(what: str) -> Iterator[None]:
    """Fail where the block takes too long, or this process more memory than it had."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the most that was resident
    before, started = _resident("VmRSS"), time.monotonic()
    yield
    assert time.monotonic() - started < MOST_SECONDS, what
    assert _resident("VmHWM") - before < MOST_BYTES, what


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024

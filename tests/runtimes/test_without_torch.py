"""A device with the core install alone: everything that does not train works where torch cannot be imported."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from drnn_deploy import ExportOptions, export
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import random_weights


def core_distributions() -> set[str]:
    """What `pip install drnn-deploy`, without extras, installs."""
    found: set[str] = set()
    waiting = ["drnn-deploy"]
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


@functools.cache  # and not computed where this file is collected: every file of every package is looked at
def other_modules() -> set[str]:
    """The modules on this machine that would not be there."""
    core = core_distributions()
    packages = metadata.packages_distributions().items()
    return {module for module, owners in packages if core.isdisjoint(canonicalize_name(owner) for owner in owners)}


BLOCKED = """
import sys
from importlib.machinery import PathFinder

blocked, found = MODULES, PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in blocked else found(name, *rest)
"""
STREAM = """
import numpy as np
from pathlib import Path
from drnn_deploy.parity.check import (check_parity)
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime, require

bundle = Bundle.open(Path(sys.argv[1]))
report = check_parity(bundle, require(["onnxruntime-cpu", "reference"]), required=True)
assert report.passed and len(report.rows) == 6, report
assert not find_runtime("torch").availability().usable
with find_runtime("onnxruntime-cpu").stream(bundle, "chunk") as stream:
    assert stream.push(np.zeros((1, 9, 2), np.float32)).shape == (1, 2, 3)
    stream.save_state(Path(sys.argv[1]).with_name("state.npz"))
assert not any(name.partition(".")[0] in ("torch", "matplotlib") for name in sys.modules)
"""


def run(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    blocked = BLOCKED.replace("MODULES", repr(other_modules()))
    command = [sys.executable, "-c", blocked + code, *map(str, words)]
    home = {**os.environ, "HOME": "/nonexistent"}  # as a service has it
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=home)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("device") / "bundle"
    spec = ModelSpec("lstm", (4, 5), (2, 3), Continuous(2), Head("last", 3))
    task = {"name": "pixel-mnist", "length": 8}
    options = ExportOptions(forms=("sequence", "chunk", "step"), chunk=4, engines=(), runtimes=("onnxruntime-cpu",))
    assert export(Checkpoint(spec, random_weights(spec, 0), task), folder, options).exit_code == 0
    return folder


def test_what_is_blocked_is_all_but_the_core_install() -> None:
    assert {"torch", "matplotlib", "pytest", "hypothesis", "soundfile"} <= other_modules()
    assert not {"numpy", "onnx", "onnxruntime", "click", "rich", "pooch", "requests", "drnn_runtimes"} & other_modules()


def test_bundle_is_verified_and_streamed(bundle: Path) -> None:
    found = run(STREAM, bundle)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("inspect", "BUNDLE"), 0),
        (("doctor",), 0),
        (("suggest", "--length", "16"), 0),
        (("parity", "BUNDLE", "--explain", "--max-noise", "1e-9", "--runtime", "onnxruntime-cpu"), 1),
        (("export", "model.pt"), 3),
        (("train", "copy-memory"), 3),
        (("report",), 3),
    ],
)
def test_commands_work_or_say_what_to_install(words: tuple[str, ...], code: int, bundle: Path, tmp_path: Path) -> None:
    main = "from drnn_deploy.cli import main; sys.argv[0] = 'drnn-deploy'; main()"
    (tmp_path / "model.pt").write_bytes(b"no matter")
    chosen = [
        str(bundle) if word == "BUNDLE" else word.replace("model.pt", str(tmp_path / "model.pt")) for word in words
    ]
    if words == ("report",):
        chosen += ["--output", str(tmp_path / "docs")]
    found = run(main, *chosen)
    assert found.returncode == code, found.stderr
    assert "Traceback" not in found.stderr
    if code == 3:
        assert "pip install 'drnn-deploy[train]'" in found.stderr

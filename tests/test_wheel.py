"""The wheel, installed without extras into an environment that has no other trace of this tree."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from drnn_core.environment import package_version
from drnn_runtimes import RUNTIMES
from tests.runtimes.test_without_torch import core_distributions

REPOSITORY = Path(__file__).parents[1]
FILES = Path(__file__).parent / "fixtures" / "files-0.1.0"
PATH = "/usr/bin:/bin"  # of the device
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "drnn_deploy", "export", "models", "runtimes")
STREAM = """
import sys
import numpy as np
from pathlib import Path
import drnn_core, drnn_deploy, drnn_export, drnn_models, drnn_runtimes, drnn_zoo
from drnn_runtimes import Bundle, find_runtime

for package in (drnn_core, drnn_deploy, drnn_export, drnn_models, drnn_runtimes, drnn_zoo):
    assert package.__file__.startswith(sys.prefix), package
    for name in getattr(package, "__all__", ()):
        try:
            getattr(package, name)
        except ImportError as error:
            assert error.name == "torch", error
kept = np.load("stream.npz")
for runtime in ("onnxruntime-cpu", "reference"):
    with find_runtime(runtime).stream(Bundle.open(Path("bundle"))) as stream:
        stream.load_state(Path("state.npz"))
        np.testing.assert_allclose(stream.push(kept["after"]), kept["out_after"], atol=1e-6)
"""


def run(command: list[object], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, without the variables of this process; it must succeed."""
    plain = {"PATH": PATH, "HOME": str(folder), "COLUMNS": "200"}
    found = subprocess.run([*map(str, command)], cwd=folder, env=plain, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the sources, since what an earlier build left in the tree would be packed, too."""
    tree, output = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_file():
            shutil.copy(source, tree / name)
        else:
            shutil.copytree(source, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*pip, "--wheel-dir", output, tree], tree)
    (path,) = output.iterdir()
    return path


@pytest.fixture(scope="module")
def device(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it requires without extras, and the files of an earlier version."""
    folder = tmp_path_factory.mktemp("device")
    venv.create(folder, symlinks=True, with_pip=False)
    (site,) = folder.glob("lib/python3*/site-packages")
    for name in core_distributions() - {"drnn-deploy"}:
        for file in metadata.files(name) or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(Path(str(file.locate())).parents[len(file.parts) - 1] / top)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-index"]
    run([*pip, "--no-compile", wheel], folder)  # which refuses where a requirement is not there
    shutil.copytree(FILES, folder, dirs_exist_ok=True)
    return folder


def test_every_file_of_the_packages_is_in_it(wheel: Path) -> None:
    folders = [path for root in (".", "export", "models", "runtimes") for path in (REPOSITORY / root).glob("drnn_*")]
    folders = [path for path in folders if path.suffix != ".egg-info"]  # which an editable installation leaves
    there = {
        f"{folder.name}/{file.relative_to(folder.resolve()).as_posix()}"
        for folder in folders
        for file in folder.resolve().rglob("*")  # of the zoo, which drnn_zoo is a link to, too
        if file.is_file() and file.suffix != ".pyc"
    }
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in packed} == {
        "drnn_core", "drnn_deploy", "drnn_export", "drnn_models", "drnn_runtimes", "drnn_zoo",
    }  # fmt: skip
    assert packed == there


def test_doctor_says_what_is_there(device: Path) -> None:
    said = run([device / "bin" / "drnn-deploy", "doctor"], device).stdout
    assert f"drnn-deploy {package_version()}, " in said
    assert "torch absent" in said
    compiled = ["native"] if any(shutil.which(name, path=PATH) for name in ("cc", "gcc", "clang")) else []
    assert dict(re.findall(r"^([\w-]+) +(yes|no) ", said, re.MULTILINE)) == {
        name: "yes" if name in ("reference", "onnxruntime-cpu", *compiled) else "no" for name in RUNTIMES
    }


def test_a_bundle_passes_parity(device: Path) -> None:
    said = run([device / "bin" / "drnn-parity", "bundle", "--require", "onnxruntime-cpu"], device).stdout
    assert "\nPASSED drnn-parity bundle\n" in said
    passed = re.findall(r"^onnxruntime-cpu +(\S+) .* PASSED *$", said, re.MULTILINE)
    assert passed == ["sequence/fused", "chunk4/fused"]


def test_a_stream_goes_on_and_every_name_is_there(device: Path) -> None:
    run([device / "bin" / "python", "-c", STREAM], device)

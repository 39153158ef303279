"""Forged bundles and foreign graphs end in a short message, in little time and memory; nothing of them is executed.

By day some dozens of them, at night many hundreds.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest

from drnn_deploy import ExportOptions, export
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle, EngineInfo
from drnn_runtimes.bundle.writer import write_manifest
from tests.hostile import forged
from tests.hostile.measured import Commands
from tests.networks import random_weights
from tests.nightly import NIGHTLY
from tests.runtimes.bundle.graphs import BOMBS
from tests.runtimes.trt.engines import ENGINE, SIDECAR, digest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and limits memory")

SPECS = {
    "sequence": (ModelSpec("lstm", (6, 5), (1, 2), Continuous(2), Head("last", 5)), {"length": 12}),
    "chunk": (ModelSpec("gru", (4, 4), (3, 5), Continuous(1), Head("sequence", 4)), {"forms": ("chunk",), "chunk": 8}),
    "tokens": (ModelSpec("rnn", (4,), (2,), Tokens(9, 3), Head("last_k", 2, 3)), {"length": 7, "batch": None}),
}
BY_DAY = ("Loop of 10^9", "Expand to 16 GB", "function that calls itself", "constants of /etc/passwd")  # of `BOMBS`
OPTIONAL = ("openvino", "tract")  # which parse ONNX themselves
ANY = (0, 1, 2, 3, 4)  # exit codes: what was changed may be right, or only wrong in its numbers


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Right bundles; the first has an engine, which nothing here loads."""
    folder = tmp_path_factory.mktemp("originals")
    for name, (spec, options) in SPECS.items():
        settings = ExportOptions(engines=(), runtimes=("reference", "onnxruntime-cpu"), **options)  # type: ignore[arg-type]
        assert export(Checkpoint(spec, random_weights(spec, 0)), folder / name, settings).exit_code == 0
    bundle = Bundle.open(folder / "sequence")
    (bundle.folder / "engines").mkdir()
    (bundle.folder / "engines" / "x.engine").write_bytes(ENGINE)
    SIDECAR.write(bundle.folder / "engines" / "x.engine.json")
    engine = EngineInfo("engines/x.engine", "engines/x.engine.json", "model.onnx", "tensorrt-rtx")
    write_manifest(bundle.folder, bundle.spec, bundle.task, bundle.graphs, [engine])
    assert digest(ENGINE) == Bundle.open(bundle.folder).files["engines/x.engine"]
    return {name: folder / name for name in SPECS}


def copies(
    originals: dict[str, Path], place: Path, by_day: int, at_night: int, *names: str
) -> Iterator[tuple[Path, random.Random]]:
    """So many copies of the originals, one at a time, each with its random numbers."""
    for seed in range(at_night if NIGHTLY else by_day):
        draw = random.Random(seed)
        source = originals[draw.choice(names or list(originals))]
        folder = Path(shutil.copytree(source, place / f"bundle-{seed}"))
        yield folder, draw
        for path in place.glob("bundle-*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def command_for(draw: random.Random, folder: Path) -> tuple[object, ...]:
    """Commands that read a bundle, the quickest of them most often."""
    quick = ("parity", folder, "--runtime", "onnxruntime-cpu")
    return draw.choice([("inspect", folder)] * 3 + [quick, (*quick, "--explain"), ("parity", folder)])


def test_manifests(originals: dict[str, Path], commands: Commands, tmp_path: Path) -> None:
    for folder, draw in copies(originals, tmp_path, 5, 350):
        forged.forge_manifest(folder, draw)
        commands.run(tmp_path, *command_for(draw, folder)).check(folder.name, codes=ANY)


def test_golden_data(originals: dict[str, Path], commands: Commands, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for folder, draw in copies(originals, tmp_path, 4, 200):
        forged.forge_golden(folder, draw, marker)
        commands.run(tmp_path, *command_for(draw, folder)).check(folder.name, codes=ANY)
        assert not marker.exists()


def test_sidecars(originals: dict[str, Path], commands: Commands, tmp_path: Path) -> None:
    for folder, draw in copies(originals, tmp_path, 3, 80, "sequence"):
        forged.forge_sidecar(folder, draw)
        commands.run(tmp_path, "inspect", folder).check(folder.name, codes=ANY)


def test_graphs_that_were_changed(originals: dict[str, Path], commands: Commands, tmp_path: Path) -> None:
    quick, parsed = ("--runtime", "onnxruntime-cpu"), ("--runtime", "tensorrt-network")
    for folder, draw in copies(originals, tmp_path, 4, 200):
        forged.forge_graph(folder, draw)
        ways = [("parity", folder, *way) for way in (quick, (*quick, "--explain"), parsed)]
        ways += [("parity", folder, "--runtime", name) for name in OPTIONAL if find_spec(name)]
        ways.append(("lint", folder / "model.onnx"))
        commands.run(tmp_path, *draw.choice(ways)).check(folder.name, codes=ANY)


def test_bombs(originals: dict[str, Path], commands: Commands, tmp_path: Path) -> None:
    for name in BOMBS if NIGHTLY else BY_DAY:
        folder = Path(shutil.copytree(originals["sequence"], tmp_path / "bundle"))
        model = onnx.load(folder / "model.onnx")
        BOMBS[name](model)
        onnx.save(model, folder / "model.onnx")
        forged.reseal(folder)
        commands.run(tmp_path, "lint", folder / "model.onnx").check(name, codes=(0, 2, 4))
        commands.run(tmp_path, "inspect", folder).check(name)
        ways = [("--runtime", "onnxruntime-cpu", "--explain"), ("--runtime", "tensorrt-network"), ()]
        for way in ways if NIGHTLY else ways[: name == BY_DAY[0]]:
            commands.run(tmp_path, "parity", folder, *way).check(name, codes=(1, 2))
        shutil.rmtree(folder)


def test_links(originals: dict[str, Path], commands: Commands, tmp_path: Path) -> None:
    for folder, draw in copies(originals, tmp_path, 2, 25):
        forged.link_elsewhere(folder, draw)
        commands.run(tmp_path, "inspect", folder).check(str(list(folder.iterdir())))

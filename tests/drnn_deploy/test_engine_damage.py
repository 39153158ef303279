"""A damaged engine or sidecar is refused with exit code 4 and never ends the interpreter, whatever the damage."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drnn_deploy import ExportOptions, export
from drnn_models.checkpoint import Checkpoint
from tests.nightly import NIGHTLY

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")

DAMAGES = 400 if NIGHTLY else 40
# Runs in a process of its own, so that a crash in NVIDIA's library would show as the end of that process. A GPU is
# pretended where there is none, so that loading goes as far as it can.
CHILD = """
import random, sys
from pathlib import Path
from drnn_deploy.cli import main
from drnn_core import gpu
from drnn_core.errors import EngineError
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.trt.runtime import TensorRTRuntime

gpu.gpu = lambda: gpu.Gpu("pretended", "8.6", "CUDA 13.0")
folder, count = Path(sys.argv[1]), int(sys.argv[2])
bundle = Bundle.open(folder)
engine = bundle.engines[0]

def damaged(content, chance):
    if chance.random() < 0.3:
        return content[: chance.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 16, 256])):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)

codes = {"inspect": [], "load": []}
for seed in range(count):
    chance = random.Random(seed)
    path = bundle.path(chance.choice([engine.file, engine.sidecar]))
    whole = path.read_bytes()
    path.write_bytes(damaged(whole, chance))
    sys.argv = ["drnn-deploy", "inspect", str(folder)]
    try:
        main()
    except SystemExit as ended:
        codes["inspect"].append(ended.code)
    try:  # as where the manifest had been forged to fit: the sidecar and CUDA are all that is left
        with TensorRTRuntime("tensorrt-rtx").load(Bundle.open(folder, verify=False), bundle.graphs[0]):
            codes["load"].append(0)
    except EngineError as error:
        codes["load"].append(error.exit_code)
    path.write_bytes(whole)
print(__import__("json").dumps(codes), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def with_engine(network: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine") / "bundle"
    options = ExportOptions(engines=("tensorrt-rtx",), compute_capabilities=("8.6",), runtimes=("reference", "torch"))
    assert export(network, folder, options).exit_code == 0
    return folder


def test_random_damages_end_in_exit_code_4(with_engine: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(with_engine), str(DAMAGES)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    codes = json.loads(ended.stderr.splitlines()[-1])
    assert codes["inspect"] == [4] * DAMAGES
    # A bit of the sidecar that decides nothing, such as a digit of the build's seconds, does not keep it from loading,
    # which ends in exit code 4 as well where no GPU is there.
    assert len(codes["load"]) == DAMAGES
    assert set(codes["load"]) <= {0, 4}
    assert codes["load"].count(4) >= DAMAGES // 2

"""The plugin's `enqueue` on a stand-in for libcuda that runs the kernel's host build. No pass is one of a GPU."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from drnn_runtimes.cuda_kernel.host_build import cpp_compiler
from tests.nightly import NIGHTLY
from tests.runtimes.cuda_kernel.stand_in import host_images

pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler")

from tests.runtimes.plugin import on_the_stand_in as cases  # noqa: E402

AT_NIGHT = ("gru_of_one_sequence", "unpruned_relu_in_half_precision")
NAMES = [
    name
    for name, function in inspect.getmembers(cases, inspect.isfunction)
    if function.__module__ == cases.__name__ and not name.startswith("_") and (NIGHTLY or name not in AT_NIGHT)
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each case, in one process whose libcuda is the stand-in."""
    folder = tmp_path_factory.mktemp("driver")
    host_images.library(Path(host_images.__file__).with_name("libcuda.cpp"), "libcuda.so.1", folder)
    command = [sys.executable, "-W", "error", "-m", "tests.runtimes.cuda_kernel.stand_in.child", cases.__name__, *NAMES]
    found = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=os.environ | found, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    answers: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("name", NAMES)
def test_on_the_stand_in(name: str, told: dict[str, str]) -> None:
    assert not told[name], told[name]

"""Starts the process in which libcuda is a stand-in (`child`), for modules of cases: functions without arguments."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from tests.runtimes.cuda_kernel.stand_in import host_images


def names_of(cases: ModuleType) -> list[str]:
    """The public functions that a module defines itself."""
    return [
        name
        for name, function in inspect.getmembers(cases, inspect.isfunction)
        if function.__module__ == cases.__name__ and not name.startswith("_")
    ]


def told_by(modules: Sequence[ModuleType], names: Sequence[str], folder: Path) -> dict[str, str]:
    """What became of each case: a traceback, or "". folder: where the stand-in is compiled to."""
    host_images.library(Path(host_images.__file__).with_name("libcuda.cpp"), "libcuda.so.1", folder)
    cases = [f"{module.__name__}:{name}" for module in modules for name in names_of(module) if name in names]
    command = [sys.executable, "-W", "error", "-m", "tests.runtimes.cuda_kernel.stand_in.child", *cases]
    found = {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=os.environ | found, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    answers: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return answers

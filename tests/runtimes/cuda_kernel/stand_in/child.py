"""The process in which libcuda is a stand-in: runs functions of modules, and answers with what each raised.

python -m tests.runtimes.cuda_kernel.stand_in.child MODULE:NAME ...
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
import traceback
from collections.abc import Sequence

import pytest

from drnn_core import gpu
from drnn_core.gpu import Gpu
from drnn_core.types import Availability
from tests.runtimes.cuda_kernel.stand_in.host_images import host_image

NAME = "a stand-in for a GPU, which is the CPU"


def counts() -> dict[str, int]:
    """What the stand-in has not got back, and what it has done."""
    values = (ctypes.c_int * 5)()
    ctypes.CDLL("libcuda.so.1").stand_in_counts(values)
    return dict(zip(("memory", "host memory", "objects", "launches", "replays"), values, strict=True))


def install(patch: pytest.MonkeyPatch) -> None:
    """Make the runtime see the stand-in, and compile for it."""
    from drnn_runtimes.cuda_kernel import nvrtc, runtime

    compiler = Availability(True, "the C++ compiler of this machine")
    patch.setattr(gpu, "_probe", lambda: (Gpu(NAME, "8.7", "CUDA 0.0"), ""))
    patch.setattr(nvrtc, "compile_kernel", host_image)
    patch.setattr(nvrtc, "nvrtc_availability", lambda: compiler)
    patch.setattr(runtime, "nvrtc_availability", lambda: compiler)


def main(cases: Sequence[str]) -> None:
    """Run the functions and write {name: traceback, or "" where there is none}."""
    told = {}
    for case in cases:
        module, _, name = case.partition(":")
        functions = importlib.import_module(module)
        with pytest.MonkeyPatch.context() as patch:
            install(patch)
            try:
                getattr(functions, name)()
                told[name] = ""
            except BaseException:
                told[name] = traceback.format_exc()
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])

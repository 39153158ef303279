"""Where a measurement comes from: the processor, and versions of what is installed. Neither a name nor a path."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from drnn_core.environment import installed_versions, package_version
from drnn_core.gpu import gpu

_PACKAGES = ("numpy", "onnx", "onnxruntime-gpu", "onnxruntime", "torch", "openvino", "tract")
_EACH = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"


def machine() -> dict[str, Any]:
    """Processor, cores, Python and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": device.name if (device := gpu()) else None,
        "python": platform.python_version(),
        "versions": {"drnn-deploy": package_version(), **installed_versions(_PACKAGES)},
    }


def thread_variables(threads: int) -> dict[str, str]:
    """The environment variables that fix the threads of libraries when they are imported."""
    return dict.fromkeys(_EACH, str(threads))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())

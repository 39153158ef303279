"""What a check ran with: versions and the machine's kind, without its name."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = ("drnn-deploy", "numpy", "onnx", "onnxruntime-gpu", "onnxruntime", "torch", "tensorrt", "tensorrt-rtx-cu13")


def environment() -> dict[str, str]:
    """Name -> version, of the packages that are installed, Python and the system; and the GPU, if there is one."""
    from drnn_core.gpu import gpu

    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    device = gpu()
    return found | ({"gpu": f"{device.name}, {device.driver}"} if device else {})

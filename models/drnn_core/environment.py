"""What a check ran with: versions and the machine's kind, without its name."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = ("drnn-deploy", "numpy", "onnx", "onnxruntime-gpu", "onnxruntime", "torch", "tensorrt", "tensorrt-rtx-cu13")


def environment() -> dict[str, str]:
    """Name -> version, of the packages that are installed, Python and the system; and of the GPU, if there is one.

    Of a GPU also its driver and clock at the time, where nvidia-smi tells them.
    """
    from drnn_core.gpu import gpu, gpu_state

    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    device = gpu()
    if device is None:
        return found
    state = gpu_state()
    told = (
        {"driver": state["driver"], "gpu clock": f"{state['sm_clock']} of {state['largest_sm_clock']}"} if state else {}
    )
    return found | {"gpu": f"{device.name}, {device.driver}", **told}

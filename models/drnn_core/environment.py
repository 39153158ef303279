"""Versions of packages and facts about the machine. They hold neither its name nor its user's."""

from __future__ import annotations

import contextlib
import itertools
import platform
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from drnn_core.gpu import gpu, gpu_state

_DISTRIBUTION = "drnn-deploy"
_COMPUTING = (
    "numpy",
    "onnx",
    "onnxruntime-gpu",
    "onnxruntime",
    "torch",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "openvino",
    "tract",
)
PACKAGES = (_DISTRIBUTION, *_COMPUTING)  # whose versions decide what a check computes


def package_version() -> str:
    """The version of drnn-deploy, for example "0.1.0".

    It is that of the installed distribution, else that in the `pyproject.toml` of the source tree.
    """
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])


def release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "10.3.0.26" -> (10, 3, 0, 26)."""
    parts = (part if len(part) < 10 else "" for part in version.split("."))  # Python reads none of over 4,300 digits
    return tuple(int(part) for part in itertools.takewhile(str.isdecimal, parts))


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """Look up distributions.

    Args:
        packages: Names as in `pip install`.

    Returns:
        Name -> version, of those that are installed, in the given order.
    """
    versions = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def computed_with(packages: Sequence[str]) -> dict[str, str]:
    """The versions that a result was computed with: those of `installed_versions`, then that of Python.

    Args:
        packages: As for `installed_versions`.

    Returns:
        Name -> version.
    """
    return {**installed_versions(packages), "python": platform.python_version()}


def system() -> str:
    """Operating system and processor, for example "Linux x86_64"."""
    return f"{platform.system()} {platform.machine()}"


def environment() -> dict[str, str]:
    """Name -> version of Python, the system, the installed `PACKAGES` and the GPU, if there is one.

    Of a GPU also its driver and its clock at the time, where nvidia-smi tells them.
    """
    versions = {"python": platform.python_version(), "system": system(), **installed_versions(PACKAGES)}
    device = gpu()
    if device is None:
        return versions
    facts = {"gpu": f"{device.name}, {device.driver}"}
    if state := gpu_state():
        facts |= {"driver": state["driver"], "gpu clock": f"{state['sm_clock']} of {state['largest_sm_clock']}"}
    return versions | facts

"""The GPU of this machine, asked for through cuda-bindings and without torch."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from drnn_core.errors import InputError
from drnn_core.variables import setting_variables

_CAPABILITY = re.compile(r"(?:sm_?)?(\d{1,2})\.?(\d)", re.IGNORECASE)
_GENERATIONS = range(5, 20)  # from Maxwell, the oldest that a TensorRT 10 knows, to what may come
_NO_DRIVER = "no NVIDIA driver is installed"
_STATE = {  # names of facts, and what nvidia-smi calls them
    "driver": "driver_version",
    "sm_clock": "clocks.sm",
    "largest_sm_clock": "clocks.max.sm",
    "memory_clock": "clocks.mem",
    "power": "power.draw",
    "power_limit": "power.limit",
    "temperature": "temperature.gpu",
}


_VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"


@dataclasses.dataclass(frozen=True)
class Gpu:
    """The GPU that CUDA uses by default (the first one visible).

    Attributes:
        name: What NVIDIA calls it.
        compute_capability: For example "8.6".
        driver: The newest CUDA that the driver speaks, for example "CUDA 13.0".
    """

    name: str
    compute_capability: str
    driver: str


@contextlib.contextmanager
def only_gpu(number: int) -> Iterator[None]:
    """Inside, CUDA sees one GPU, in this process and in those that are started there.

    CUDA reads this once: choose before anything uses it.

    Args:
        number: Among those that are visible, in the order of nvidia-smi.

    Raises:
        InputError: CUDA_VISIBLE_DEVICES names fewer. Without it nothing is checked: to count GPUs would use one.
    """
    visible = os.environ.get(_VISIBLE)
    names = [name for name in visible.split(",") if name.strip()] if visible is not None else None
    if names is not None and number >= len(names):
        raise InputError(f"there is no GPU {number}: {_VISIBLE} is {visible!r:.80}", "GPUs are counted from 0.")
    chosen = str(number) if names is None else names[number].strip()
    with setting_variables({_VISIBLE: chosen, _ORDER: os.environ.get(_ORDER, "PCI_BUS_ID")}):
        yield


def gpu() -> Gpu | None:
    """Look for the GPU. It never raises.

    Returns:
        The GPU, or None where none can be used; `gpu_reason` then says why.
    """
    return _probe()[0]


def gpu_reason() -> str:
    """Why `gpu` returns None, or "" where it does not. It never raises."""
    return _probe()[1]


def gpu_state() -> dict[str, str]:
    """What nvidia-smi says of the first GPU now: see `_STATE`. Empty where it is not there or does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    command = [tool, f"--query-gpu={','.join(_STATE.values())}", "--format=csv,noheader", f"--id={_visible()[0]}"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        return dict(zip(_STATE, (value.strip() for value in said.split(",")), strict=True))
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}


def compute_capability(text: str) -> str:
    """Write a generation of NVIDIA GPUs as CUDA does: "8.6", "86" and "sm_86" all mean "8.6".

    Args:
        text: What was typed.

    Raises:
        InputError: It is none.
    """
    parts = _CAPABILITY.fullmatch(str(text))
    if parts is None or int(parts[1]) not in _GENERATIONS:
        raise InputError(f"{text!r:.80} is no compute capability", "Type it as 8.6 or 86; 12.0 or 120.")
    return f"{int(parts[1])}.{parts[2]}"


def architecture(capability: str) -> str:
    """The name that compilers have for a generation of GPUs: "86" for "8.6".

    Args:
        capability: What `compute_capability` gives.
    """
    return capability.replace(".", "")


def _visible() -> list[str]:
    """The GPUs that CUDA may use, the first is the one it uses."""
    return [name.strip() for name in os.environ.get(_VISIBLE, "").split(",") if name.strip()] or ["0"]


def _probe() -> tuple[Gpu | None, str]:
    try:
        runtime: Any = importlib.import_module("cuda.bindings.runtime")
    except ModuleNotFoundError:
        return None, "the Python package cuda-bindings is not installed"
    except Exception as error:  # a damaged or foreign installation raises whatever its loader raises
        return None, f"cuda-bindings cannot be imported: {error}"
    try:
        return _first_gpu(runtime)
    except Exception as error:  # a driver library without a function that the bindings look up raises RuntimeError
        return None, f"the NVIDIA driver cannot be asked: {error}"


def _first_gpu(runtime: Any) -> tuple[Gpu | None, str]:
    _, driver = runtime.cudaDriverGetVersion()
    code, count = runtime.cudaGetDeviceCount()
    if int(code):
        _, text = runtime.cudaGetErrorString(code)
        _, needed = runtime.cudaRuntimeGetVersion()
        return None, _refusal(text.decode(), driver or 0, needed or 0)
    if not count:
        return None, "the NVIDIA driver sees no GPU"
    code, properties = runtime.cudaGetDeviceProperties(0)
    if int(code):
        _, text = runtime.cudaGetErrorString(code)
        return None, f"the GPU does not answer: {text.decode()}"
    name = properties.name
    return Gpu(
        name=name.decode() if isinstance(name, bytes) else str(name),
        compute_capability=f"{properties.major}.{properties.minor}",
        driver=f"CUDA {_cuda_version(driver)}",
    ), ""


def _refusal(text: str, driver: int, needed: int) -> str:
    """Why no device could be counted. driver, needed: CUDA versions as CUDA gives them, 1000 * major + 10 * minor."""
    if not driver:
        return _NO_DRIVER
    if driver // 1000 < needed // 1000:
        return (
            f"the NVIDIA driver speaks CUDA {_cuda_version(driver)}, the installed cuda-bindings "
            f"CUDA {_cuda_version(needed)}: install cuda-bindings {driver // 1000}.x or a newer driver"
        )
    of = f" with {_VISIBLE}={os.environ[_VISIBLE]:.80}" if _VISIBLE in os.environ else ""
    return f"CUDA finds no GPU to use{of}: {text}"


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"

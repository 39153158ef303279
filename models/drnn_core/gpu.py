"""What of NVIDIA is on this machine: the GPU (through cuda-bindings, without torch) and the TensorRT modules."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import shutil
import subprocess
from typing import Any, Literal

Flavour = Literal["tensorrt", "tensorrt-rtx"]

_NO_DRIVER = "no NVIDIA driver is installed"
_TENSORRT_SINCE = (10, 3)
_STATE = {  # names of facts, and what nvidia-smi calls them
    "driver": "driver_version",
    "sm_clock": "clocks.sm",
    "largest_sm_clock": "clocks.max.sm",
    "memory_clock": "clocks.mem",
    "power": "power.draw",
    "power_limit": "power.limit",
    "temperature": "temperature.gpu",
}
_DATA_TYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}  # the others are NumPy's names in capitals


@dataclasses.dataclass(frozen=True)
class Gpu:
    """The GPU that CUDA uses by default (the first one visible).

    compute_capability: for example "8.6". driver: the newest CUDA that the driver speaks, for example "CUDA 13.0".
    """

    name: str
    compute_capability: str
    driver: str


@dataclasses.dataclass(frozen=True)
class TensorRTModule:
    """One of NVIDIA's two Python modules with the same API, imported.

    packages: what `pip install` takes. loaded: the module, or None where it cannot be used, with the reason why not.
    """

    title: str
    packages: str
    loaded: Any = None
    version: str = ""
    reason: str = ""


_MODULES = {
    "tensorrt": ("tensorrt", TensorRTModule("TensorRT", "tensorrt cuda-bindings")),
    "tensorrt-rtx": ("tensorrt_rtx", TensorRTModule("TensorRT-RTX", "tensorrt-rtx-cu13 cuda-bindings")),
}


def gpu() -> Gpu | None:
    """The GPU, or None where there is none to use (`gpu_reason` says why). Never raises."""
    return _probe()[0]


def gpu_reason() -> str:
    """Why `gpu` gives None, or "" where it does not. Never raises."""
    return _probe()[1]


def gpu_state() -> dict[str, str]:
    """What nvidia-smi says of the first GPU now: see `_STATE`. Empty where it is not there or does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    command = [tool, f"--query-gpu={','.join(_STATE.values())}", "--format=csv,noheader", "--id=0"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        return dict(zip(_STATE, (value.strip() for value in said.split(",")), strict=True))
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}


def tensorrt_module(flavour: Flavour) -> TensorRTModule:
    """Import NVIDIA's module for `flavour`. Never raises: a module that cannot be imported comes with the reason."""
    name, module = _MODULES[flavour]
    try:
        loaded = importlib.import_module(name)
        version = str(loaded.__version__)
        loaded.Builder, loaded.Runtime  # noqa: B018  an empty folder of that name would be imported as well
    except ModuleNotFoundError as error:
        missing = f"the Python module {error.name} is not installed"
        return dataclasses.replace(module, reason=missing)
    except Exception as error:  # NVIDIA's modules load libraries on import and raise whatever that raises
        return dataclasses.replace(module, reason=f"{name} cannot be imported: {error}")
    if name == "tensorrt" and release(version) < _TENSORRT_SINCE:
        return dataclasses.replace(module, reason=f"tensorrt {version} is too old, 10.3 or later is needed")
    return dataclasses.replace(module, loaded=loaded, version=version)


def release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: "10.3.0.26" -> (10, 3, 0, 26)."""
    return tuple(int(part) for part in itertools.takewhile(str.isdecimal, version.split(".")))


def collecting_logger(module: Any) -> Any:
    """An `ILogger` of NVIDIA's `module` that keeps `errors`, `warnings` and `layers` (of engines), and prints none."""

    class Collector(module.ILogger):  # type: ignore[misc]  # NVIDIA's modules carry no types
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []
            self.layers: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            levels = module.ILogger.Severity
            if severity in (levels.INTERNAL_ERROR, levels.ERROR):
                self.errors.append(message)
            elif severity == levels.WARNING:
                self.warnings.append(message)
            elif message.startswith("Layers:"):
                self.layers.append(message)

    return Collector()


def data_type(value: Any) -> str:
    """NumPy's name of a TensorRT `DataType`, for example "float32" for FLOAT."""
    name = str(value.name)
    return _DATA_TYPES.get(name, name.lower())


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
    if driver < needed and driver // 1000 < needed // 1000:
        return (
            f"the NVIDIA driver speaks CUDA {_cuda_version(driver)}, the installed cuda-bindings "
            f"CUDA {_cuda_version(needed)}: install cuda-bindings {driver // 1000}.x or a newer driver"
        )
    return f"CUDA finds no GPU to use: {text}"


def _cuda_version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"

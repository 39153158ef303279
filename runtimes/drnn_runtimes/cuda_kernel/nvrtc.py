"""Images of the kernel: NVIDIA's compiler as a library, which needs no GPU."""

from __future__ import annotations

import importlib
from typing import Any

from drnn_core.errors import EngineError, RuntimeUnavailableError
from drnn_core.types import Availability
from drnn_runtimes.cuda_kernel.constants import kernel_source
from drnn_runtimes.cuda_kernel.plan import KernelPlan

_FIX = "pip install 'drnn-deploy[cuda-kernel]'"


def nvrtc_availability() -> Availability:
    """Whether NVRTC can be loaded here."""
    try:
        version = _checked(_nvrtc().nvrtcVersion())
    except (ImportError, RuntimeError) as error:  # the package, or the library that it looks for
        return Availability(False, f"NVRTC is not installed: {str(error).splitlines()[0]}", _FIX)
    return Availability(True, "NVRTC " + ".".join(map(str, version)))


def architectures() -> tuple[str, ...]:
    """The compute capabilities that NVRTC compiles for, without their dots."""
    nvrtc = _require_nvrtc()
    return tuple(map(str, _checked(nvrtc.nvrtcGetSupportedArchs())))


def compile_kernel(plan: KernelPlan, architecture: str, source: str | None = None) -> bytes:
    """Compile the kernel of a plan for one architecture.

    Args:
        plan: What `plan_kernel` chose, with the shared memory of the architecture or less.
        architecture: The compute capability without its dot, for example "87".
        source: The text, where it is not that of `kernel_source`.

    Returns:
        A cubin, the same bytes for the same text and NVRTC.

    Raises:
        RuntimeUnavailableError: NVRTC is not installed.
        EngineError: It does not know the architecture, or refuses the text.
    """
    nvrtc = _require_nvrtc()
    text = kernel_source(plan) if source is None else source
    program = _checked(nvrtc.nvrtcCreateProgram(text.encode(), b"drnn.cu", 0, [], []))
    options = [f"--gpu-architecture=sm_{architecture}".encode(), b"--std=c++17"]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    if int(status):
        size = _checked(nvrtc.nvrtcGetProgramLogSize(program))
        log = b" " * size
        nvrtc.nvrtcGetProgramLog(program, log)
        nvrtc.nvrtcDestroyProgram(program)
        lines = log.rstrip(b" \0").decode(errors="replace").splitlines() or [str(status)]
        error = next((line for line in lines if "error" in line), lines[0])
        raise EngineError(f"cuda-kernel: NVRTC cannot compile for sm_{architecture}: {error}", "")
    image: bytes = b" " * _checked(nvrtc.nvrtcGetCUBINSize(program))
    _checked(nvrtc.nvrtcGetCUBIN(program, image))
    nvrtc.nvrtcDestroyProgram(program)
    return image


def _nvrtc() -> Any:
    return importlib.import_module("cuda.bindings.nvrtc")


def _require_nvrtc() -> Any:
    found = nvrtc_availability()
    if not found.usable:
        raise RuntimeUnavailableError(f"cuda-kernel: {found.detail}", found.fix)
    return _nvrtc()


def _checked(result: tuple[Any, ...]) -> Any:
    """What a function of NVRTC gives, without its status."""
    if int(result[0]):
        raise RuntimeError(f"NVRTC: {result[0]}")
    return result[1] if len(result) == 2 else result[1:]

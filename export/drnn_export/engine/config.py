"""How NVIDIA's builder is told to build, and the same as a command line of NVIDIA's own tool."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from drnn_core.arguments import checked_fields
from drnn_core.errors import InputError
from drnn_core.types import TensorInfo
from drnn_runtimes.trt.bindings import Flavour
from drnn_runtimes.trt.sidecar import Hardware

MAX_LEVEL = 5
_MIB = 1 << 20
_LEVELS: dict[Hardware, str] = {  # NVIDIA's names: of the API, in lower case that of trtexec
    "this": "NONE",
    "ampere+": "AMPERE_PLUS",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
}
Tool = Literal["trtexec", "tensorrt_rtx"]


@checked_fields
@dataclasses.dataclass(frozen=True)
class BuildControls:
    """How NVIDIA's builder is told to build.

    Attributes:
        tf32: Whether float32 products may be rounded to TF32, which parity would call an error.
        workspace_mib: The most scratch memory, in MiB.
        optimization_level: 0 (shortest build) to 5; None is NVIDIA's choice.
        version_compatible: Whether later TensorRTs of the same major version load the engine as well.
        hardware: The GPUs that load the engine.
        timing_cache: A file of kernel timings. The builder reads it where it is there, and writes it.
    """

    tf32: bool = False
    workspace_mib: int | None = None
    optimization_level: int | None = None
    version_compatible: bool = False
    hardware: Hardware = "this"
    timing_cache: Path | None = None

    def check(self, backend: Flavour) -> None:
        """Check the values.

        Raises:
            InputError: A value means nothing, or nothing to this backend.
        """
        if self.optimization_level is not None and not 0 <= self.optimization_level <= MAX_LEVEL:
            raise InputError(f"the optimisation level must be 0 to {MAX_LEVEL}, got {self.optimization_level}")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise InputError(f"the workspace must be at least 1 MiB, got {self.workspace_mib}")
        if self.hardware not in get_args(Hardware):
            raise InputError(f"the hardware must be one of {', '.join(get_args(Hardware))}, got {self.hardware!r}")
        if backend != "tensorrt-rtx":
            return
        if self.hardware != "this":
            what = "TensorRT-RTX has no hardware compatible mode: it builds for a list of compute capabilities"
            raise InputError(what, "Type --compute-capability for each in place of --hardware.")
        if self.version_compatible:
            what = "TensorRT-RTX has no version compatible mode that comes with its Python package"
            raise InputError(what, "Leave --version-compatible out, or build with --engine tensorrt.")
        if self.timing_cache is not None:
            what = "TensorRT-RTX times no kernels when it builds, so a timing cache has no effect"
            raise InputError(what, "Leave --timing-cache out, or build with --engine tensorrt.")

    @property
    def identity(self) -> dict[str, Any]:
        """The values that decide the engine, in JSON types. Timings decide only how long the build takes."""
        values = dataclasses.asdict(self)
        del values["timing_cache"]
        return values

    @property
    def request(self) -> dict[str, Any]:
        """The values for the builder's process, in JSON types and NVIDIA's words."""
        return {**self.identity, "hardware": _LEVELS[self.hardware]}


def command_line(
    backend: Flavour,
    version: str,
    controls: BuildControls,
    *,
    onnx: str,
    engine: str,
    inputs: Sequence[TensorInfo],
    batch: tuple[int, int, int] | None = None,
    compute_capabilities: Sequence[str] = (),
) -> str:
    """The command line of NVIDIA's tool (trtexec or tensorrt_rtx) that builds the same engine.

    It goes into the bundle, so a file of timings, which is a place of this machine, is not in it.

    Args:
        backend: Which of NVIDIA's builders.
        version: The backend's version.
        controls: How to build.
        onnx: The graph's file name.
        engine: The engine's file name.
        inputs: The graph's inputs.
        batch: The smallest, usual and largest batch, for free axes.
        compute_capabilities: Those to build for ahead of time; full TensorRT builds for the GPU that it runs on.

    Returns:
        The line, quoted for a shell.
    """
    tool: Tool = "tensorrt_rtx" if backend == "tensorrt-rtx" else "trtexec"
    words = [tool, f"--onnx={onnx}", f"--saveEngine={engine}", "--skipInference", "--profilingVerbosity=detailed"]
    if tool == "trtexec" and version.startswith("10."):
        words.append("--stronglyTyped")  # later versions know nothing else
    if not controls.tf32:
        words.append("--noTF32")
    if tool == "tensorrt_rtx" and compute_capabilities:
        words.append(f"--computeCapabilities={','.join(name.replace('.', '') for name in compute_capabilities)}")
    if controls.workspace_mib is not None:
        words.append(f"--memPoolSize=workspace:{controls.workspace_mib}")
    if controls.optimization_level is not None:
        words.append(f"--builderOptimizationLevel={controls.optimization_level}")
    if controls.version_compatible:
        words.append("--versionCompatible")
    if controls.hardware != "this":
        words.append(f"--hardwareCompatibilityLevel={_trtexec_level(controls.hardware)}")
    for name, size in zip(("min", "opt", "max"), batch or (), strict=False):
        words.append(f"--{name}Shapes={_shapes(inputs, size)}")
    return shlex.join(words)


def _trtexec_level(hardware: Hardware) -> str:
    return "ampere+" if hardware == "ampere+" else "sameComputeCapability"


def _shapes(inputs: Sequence[TensorInfo], batch: int) -> str:
    free = [tensor for tensor in inputs if -1 in tensor.shape]
    sizes = ("x".join(str(batch if size == -1 else size) for size in tensor.shape) for tensor in free)
    return ",".join(f"{tensor.name}:{shape}" for tensor, shape in zip(free, sizes, strict=True))

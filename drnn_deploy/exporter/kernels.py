"""The folder `cuda-kernel` of a bundle: images of the CUDA kernel for named GPUs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from drnn_core import gpu
from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.licence import SENTENCES, SPDX
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo, KernelInfo
from drnn_runtimes.cuda_kernel import nvrtc
from drnn_runtimes.cuda_kernel.images import shipped_images

_LICENCE = "LICENSE.txt"  # of the images, which have no place for it in themselves


@dataclasses.dataclass(frozen=True)
class KernelImages:
    """What was compiled.

    Attributes:
        images: What the manifest says of each image.
        reasons: For each graph and GPU without one, why there is none.
    """

    images: tuple[KernelInfo, ...] = ()
    reasons: tuple[str, ...] = ()


def image_targets(compute_capabilities: Sequence[str]) -> tuple[str, ...]:
    """Decide for which GPUs images are compiled.

    Args:
        compute_capabilities: Those that were asked for, for example "8.7"; none for this machine's.

    Raises:
        InputError: None was asked for and there is no GPU here, or one is none.
        RuntimeUnavailableError: NVRTC is not installed.
    """
    asked = tuple(dict.fromkeys(map(gpu.compute_capability, compute_capabilities)))
    compiler = nvrtc.nvrtc_availability()
    if not compiler.usable:
        raise RuntimeUnavailableError(f"cuda-kernel: {compiler.detail}", compiler.fix)
    if asked:
        return asked
    here = gpu.gpu()
    if here is None:
        raise InputError(
            f"the images of the kernel are for named GPUs, and {gpu.gpu_reason()}", "Add --compute-capability 8.7."
        )
    return (here.compute_capability,)


def write_images(
    folder: Path, spec: ModelSpec, graphs: Sequence[GraphInfo], compute_capabilities: Sequence[str]
) -> KernelImages:
    """Compile the images that a bundle's graphs need.

    Args:
        folder: The bundle.
        spec: The network.
        graphs: The bundle's graphs.
        compute_capabilities: What `image_targets` gives.

    Raises:
        EngineError: NVRTC does not compile for one of them.
        OSError: They cannot be written.
    """
    images, reasons = shipped_images(spec, graphs, compute_capabilities)
    for info, image in images:
        path = folder / info.file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image)
    for place in {(folder / info.file).parent for info, _ in images}:
        (place / _LICENCE).write_text("\n".join((SPDX, *SENTENCES, "")), encoding="utf-8")
    return KernelImages(tuple(info for info, _ in images), tuple(reasons))

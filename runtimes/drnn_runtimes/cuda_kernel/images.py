"""Which kernel a graph needs, and its image: compiled here, kept in a cache, or shipped in the bundle.

An image is code for the GPU. Those of a bundle run only where they are what NVRTC makes here, or where the user trusts
whoever made the bundle.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable

from drnn_core import gpu
from drnn_core.cache import cache_folder, shrink, touch
from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.files import replacing
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo, KernelInfo
from drnn_runtimes.cuda_kernel import nvrtc
from drnn_runtimes.cuda_kernel.around import kernel_answers
from drnn_runtimes.cuda_kernel.constants import kernel_source
from drnn_runtimes.cuda_kernel.plan import SHARED_MEMORY, Activations, KernelOptions, KernelPlan, WeightType
from drnn_runtimes.cuda_kernel.planner import plan_kernel
from drnn_runtimes.cuda_kernel.trust import trusts_images

_WEIGHTS: dict[str, WeightType] = {"fp32": "fp32", "fp16": "fp16"}
# tanh.approx keeps 11 bits, as float16 does: within its noise, and hundreds of times over that of float32.
_ACTIVATIONS: dict[WeightType, Activations] = {"fp32": "accurate", "fp16": "approximate"}
_LEAST_SHARED = 64 << 10  # of the architectures that are not listed


def plan_graph(spec: ModelSpec, graph: GraphInfo, architecture: str) -> KernelPlan:
    """Choose the kernel that computes what a graph does.

    Args:
        spec: The network.
        graph: One of its graphs.
        architecture: The compute capability without its dot, for example "87".

    Raises:
        InputError: The kernel has no such precision, or cannot compute the network there. The message says why.
    """
    if graph.precision not in _WEIGHTS:
        raise InputError(f"it computes with weights in {' or '.join(_WEIGHTS)}, the graph in {graph.precision}")
    answers = kernel_answers(spec, graph.steps) if graph.pruned and not graph.states else None
    return plan_for(spec, architecture, answers=answers, weights=_WEIGHTS[graph.precision])


def plan_for(
    spec: ModelSpec, architecture: str, *, answers: int | None = None, weights: WeightType = "fp32"
) -> KernelPlan:
    """Choose the kernel for a network on an architecture, with the activations that suit the weights.

    Args:
        spec: The network.
        architecture: The compute capability without its dot.
        answers: See `KernelOptions`.
        weights: See `KernelOptions`.

    Raises:
        InputError: The kernel cannot compute the network there.
    """
    shared = SHARED_MEMORY.get(architecture, _LEAST_SHARED)
    options = KernelOptions(answers=answers, weights=weights, activations=_ACTIVATIONS[weights], shared_memory=shared)
    return plan_kernel(spec, options)


def kernel_image(plan: KernelPlan, architecture: str, bundle: Bundle | None = None) -> bytes:
    """Find or make the image of a kernel.

    Args:
        plan: What `plan_graph` chose.
        architecture: The compute capability of the GPU without its dot.
        bundle: A bundle that may have it.

    Raises:
        RuntimeUnavailableError: NVRTC is not installed, and the bundle has no image or is not trusted.
        EngineError: NVRTC does not compile it.
    """
    shipped = _shipped(plan, architecture, bundle.kernels if bundle else ())
    if bundle and shipped and trusts_images():
        return bundle.path(shipped.file).read_bytes()
    compiler = nvrtc.nvrtc_availability()
    if not compiler.usable:
        of_bundle = f", and the bundle's {shipped.file} is not trusted" if shipped else ""
        trust = f"{compiler.fix}, or give --trust-images if you know who made the bundle" if shipped else compiler.fix
        raise RuntimeUnavailableError(f"cuda-kernel: {compiler.detail}{of_bundle}", trust)
    return compiled_image(plan, architecture)


def compiled_image(plan: KernelPlan, architecture: str) -> bytes:
    """Compile the kernel, or take what the same compiler made of the same text before.

    Args:
        plan: What `plan_graph` chose.
        architecture: The compute capability without its dot.

    Raises:
        RuntimeUnavailableError: NVRTC is not installed.
        EngineError: NVRTC does not compile it.
    """
    key = "\0".join([kernel_source(plan), architecture, nvrtc.nvrtc_availability().detail])
    folder, name = cache_folder("cuda-kernel"), hashlib.sha256(key.encode()).hexdigest()
    for kept in folder.glob(f"{name}-*.cubin"):
        with contextlib.suppress(OSError):
            image = kept.read_bytes()
            if kept.name == _cached_name(name, image):  # else it is damaged
                touch(kept)
                return image
    image = nvrtc.compile_kernel(plan, architecture)
    with contextlib.suppress(InputError), replacing(folder / _cached_name(name, image)) as file:
        file.write_bytes(image)  # where it cannot be written, the next process compiles again
    shrink(folder, "cuda-kernel")
    return image


def shipped_images(
    spec: ModelSpec, graphs: Iterable[GraphInfo], compute_capabilities: Iterable[str]
) -> tuple[list[tuple[KernelInfo, bytes]], list[str]]:
    """Compile what a bundle ships: an image for each kernel that its graphs need and each GPU generation.

    Args:
        spec: The network.
        graphs: Those of the bundle.
        compute_capabilities: For example "8.7".

    Returns:
        The images with what the manifest says of them, and for each that there is not the reason.

    Raises:
        RuntimeUnavailableError: NVRTC is not installed.
        EngineError: NVRTC does not know an architecture.
    """
    images: dict[tuple[str, str], tuple[KernelInfo, bytes]] = {}
    reasons = []
    for capability in compute_capabilities:
        architecture = gpu.architecture(capability)
        for graph in graphs:
            if graph.delay:
                continue
            try:
                plan = plan_graph(spec, graph, architecture)
            except InputError as error:
                reasons.append(f"{graph.name} on {capability}: {error.message}")
                continue
            source = _source_sha256(plan)
            if (architecture, source) not in images:
                file = f"cuda-kernel/{graph.name.replace('/', '-')}.sm_{architecture}.cubin"
                info = KernelInfo(file, capability, source, nvrtc.nvrtc_availability().detail)
                images[architecture, source] = info, compiled_image(plan, architecture)
    return list(images.values()), reasons


def _shipped(plan: KernelPlan, architecture: str, kernels: Iterable[KernelInfo]) -> KernelInfo | None:
    """The image that was made of exactly this text: another would read weights and arguments in another way."""
    wanted = architecture, _source_sha256(plan)
    fitting = (info for info in kernels if (gpu.architecture(info.compute_capability), info.source_sha256) == wanted)
    return next(fitting, None)


def _source_sha256(plan: KernelPlan) -> str:
    return hashlib.sha256(kernel_source(plan).encode()).hexdigest()


def _cached_name(key: str, image: bytes) -> str:
    return f"{key}-{hashlib.sha256(image).hexdigest()}.cubin"

"""Whether a kernel inside an engine may be loaded: it is code for the GPU, and an engine comes from anywhere.

First the sidecar is judged, before NVIDIA's runtime sees the engine; then what the engine really holds is held against
the sidecar.
"""

from __future__ import annotations

import hashlib

from drnn_core import gpu
from drnn_core.errors import DeployError
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.bundle.functions import DOMAIN, OPERATOR
from drnn_runtimes.cuda_kernel import nvrtc
from drnn_runtimes.cuda_kernel.images import compiled_image
from drnn_runtimes.cuda_kernel.trust import trusts_images
from drnn_runtimes.plugin.carried import CarriedKernel, kernel_version
from drnn_runtimes.plugin.stack import VERSION, Stack
from drnn_runtimes.trt.sidecar import InsideImage, InsideKernel

TRUST = "give --trust-images if you know who built the engine"


def describe(kernel: CarriedKernel) -> InsideKernel:
    """What the sidecar of an engine says of the kernel inside.

    Args:
        kernel: What the engine holds.
    """
    images = (
        InsideImage(gpu.compute_capability(name), kernel.digests[name], len(image))
        for name, image in kernel.images.items()
    )
    compiler = nvrtc.nvrtc_availability().detail
    return InsideKernel(f"{DOMAIN}::{OPERATOR}", VERSION, kernel.version, compiler, tuple(images))


def kernel_problem(inside: InsideKernel, spec: ModelSpec, graph: GraphInfo, compute_capability: str) -> str:
    """Why the kernel that a sidecar describes must not be loaded.

    Args:
        inside: What the sidecar says.
        spec: The network of the bundle.
        graph: The graph that the engine is of.
        compute_capability: Of the GPU, for example "8.6".

    Returns:
        One sentence, or "".
    """
    if graph.emission != "plugin":
        return f"the engine holds a kernel, and {graph.file} has no node that it could be of"
    if (inside.plugin, inside.plugin_version) != (f"{DOMAIN}::{OPERATOR}", VERSION):
        told = f"{inside.plugin:.60} version {inside.plugin_version:.20}"
        return f"the kernel inside is for the plugin {told}, and this installation has {DOMAIN}::{OPERATOR} {VERSION}"
    image = next((image for image in inside.images if image.compute_capability == compute_capability), None)
    if image is None:
        has = ", ".join(image.compute_capability for image in inside.images)
        return f"the kernel inside is for compute capability {has}, and this GPU has {compute_capability}"
    if trusts_images():
        return ""
    if inside.kernel != kernel_version():
        made = f"version {inside.kernel:.20}, and this installation knows {kernel_version()} only"
        return f"the kernel inside is of {made}: build the engine here, or {TRUST}"
    return _unknown_image(image, Stack.of(spec, graph, pruned=graph.pruned))


def carried_problem(carried: CarriedKernel, inside: InsideKernel, spec: ModelSpec, graph: GraphInfo) -> str:
    """Why the kernel that an engine really holds must not be loaded.

    Args:
        carried: What the engine holds.
        inside: What its sidecar says, and `kernel_problem` has passed.
        spec: The network of the bundle.
        graph: The graph that the engine is of.

    Returns:
        One sentence, or "".
    """
    if carried.stack != Stack.of(spec, graph, pruned=graph.pruned):
        return "the kernel inside the engine is of another network or graph than the bundle's"
    # a list: of two images for one GPU `kernel_problem` has judged the first alone, which need not be the engine's
    said = sorted((gpu.architecture(image.compute_capability), image.sha256) for image in inside.images)
    if (carried.version, sorted(carried.digests.items())) != (inside.kernel, said):
        return "the engine holds another kernel than its sidecar says: a sha256 or the version differs"
    return ""


def _unknown_image(image: InsideImage, stack: Stack) -> str:
    """Why an image is none that this installation makes, or ""."""
    architecture = gpu.architecture(image.compute_capability)
    try:
        known = hashlib.sha256(compiled_image(stack.plan(architecture), architecture)).hexdigest()
    except DeployError as error:
        reason = error.message.removeprefix("cuda-kernel: ")
        return f"this installation cannot tell whether it knows the kernel inside ({reason}): {TRUST}"
    if image.sha256 != known:
        what = (
            f"the image inside for compute capability {image.compute_capability} is none that this installation makes"
        )
        return f"{what}, its sha256 differs: build the engine here, or {TRUST}"
    return ""

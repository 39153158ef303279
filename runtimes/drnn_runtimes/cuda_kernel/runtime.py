"""The kernel as a runtime: one launch for a dilated stack, on NVIDIA GPUs from compute capability 7.5, no TensorRT."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from drnn_core import gpu
from drnn_core.errors import InputError
from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.cuda_kernel.device import Device
from drnn_runtimes.cuda_kernel.images import kernel_image, plan_graph
from drnn_runtimes.cuda_kernel.nvrtc import nvrtc_availability
from drnn_runtimes.cuda_kernel.session import KernelSession, Network
from drnn_runtimes.cuda_kernel.trust import trusts_images
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.streaming.delay_lines import LAYER_BY_LAYER

_OLDEST = 7, 5


class CudaKernelRuntime(StreamingRuntime):
    """Runs the weights of a bundle through the kernel of `drnn_runtimes.cuda_kernel`."""

    name = "cuda-kernel"
    reads_graph = False

    def availability(self) -> Availability:
        """Usable with a driver, a GPU, and NVRTC or trust in the images of bundles."""
        device = gpu.gpu()
        if device is None:
            return Availability(
                False,
                f"the kernel runs on a GPU only, and {gpu.gpu_reason()}",
                "Run on a machine with an NVIDIA GPU, its driver and cuda-bindings, or choose another runtime.",
            )
        where = f"{device.name} (compute capability {device.compute_capability}, {device.driver})"
        if tuple(map(int, device.compute_capability.split("."))) < _OLDEST:
            return Availability(False, f"the kernel needs compute capability 7.5, and this is {where}", "")
        compiler = nvrtc_availability()
        if compiler.usable:
            return Availability(True, f"{compiler.detail}, {where}")
        if trusts_images():
            return Availability(True, f"images of bundles, which are trusted, {where}")
        return Availability(
            False, compiler.detail, f"{compiler.fix}, or give --trust-images for a bundle that has images"
        )

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """The kernel computes every form, in fp32 or with fp16 weights, of networks that fit; no skewed graph."""
        if graph.delay:
            return LAYER_BY_LAYER
        try:
            plan_graph(bundle.spec, graph, _architecture())
        except InputError as error:
            return error.message
        return ""

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[KernelSession]:
        """Open a session on the GPU; leaving the context frees its memory there.

        Raises:
            EngineError: The GPU or the compiler refuses the kernel.
        """
        plan = plan_graph(bundle.spec, graph, _architecture())
        image = kernel_image(plan, _architecture(), bundle)
        with contextlib.ExitStack() as stack:
            device = Device(stack)
            kernel = device.load(stack, image, plan)
            yield KernelSession(Network(device, kernel, bundle.spec, bundle.weights, stack), graph, stack)


def _architecture() -> str:
    """Of the GPU, without its dot; where there is none, the one with the most memory, to judge a network by."""
    device = gpu.gpu()
    return gpu.architecture(device.compute_capability) if device else "90"

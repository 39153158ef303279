"""Bundles whose engine has a kernel inside, by NVIDIA's parser and compiler; its images are pretended: no NVRTC."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from drnn_core import gpu
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.engine.build import build_engine
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, EngineInfo, GraphInfo
from drnn_runtimes.cuda_kernel import KernelPlan, kernel_source
from drnn_runtimes.plugin import carried, trust
from drnn_runtimes.plugin.carried import CarriedKernel
from drnn_runtimes.plugin.stack import Stack
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path
from tests.networks import random_weights
from tests.runtimes.bundle.graphs import info_of

SPEC = ModelSpec("lstm", (4, 5), (1, 2), Continuous(3), Head("last", 3))
REQUEST = GraphRequest(16, 1, "plugin")
CAPABILITIES = ("8.0", "8.6", "8.9", "12.0")
HERE = gpu.Gpu("some GPU", "8.6", "CUDA 13.0")


def pretended_image(plan: KernelPlan, architecture: str) -> bytes:
    """As many bytes as an image may have, another for each kernel and architecture."""
    return hashlib.sha256(f"{architecture} {kernel_source(plan)}".encode()).digest() * 300


def pretend_images(patch: pytest.MonkeyPatch) -> None:
    """Make this installation one that knows the pretended images."""
    patch.setattr(carried, "compiled_image", pretended_image)
    patch.setattr(trust, "compiled_image", pretended_image)


def kernel(spec: ModelSpec = SPEC, request: GraphRequest = REQUEST) -> CarriedKernel:
    """The kernel of a graph; needs `pretend_images`."""
    return CarriedKernel.compiled(Stack.of(spec, request, pruned=request.prune), CAPABILITIES)


def bundle_with_kernel(folder: Path, spec: ModelSpec = SPEC, request: GraphRequest = REQUEST) -> tuple[Bundle, Sidecar]:
    """A bundle of one graph with its engine for TensorRT-RTX; needs `pretend_images`."""
    model = emit(spec, random_weights(spec, 0), request)
    info = info_of(spec, request, model)
    (folder / info.file).write_bytes(model.SerializeToString(deterministic=True))
    engine = folder / "model.engine"
    sidecar = build_engine(
        folder / info.file,
        engine,
        "tensorrt-rtx",
        compute_capabilities=CAPABILITIES,
        batch=info.profile,
        with_kernel=True,
    )
    return bundle_of(folder, spec, info, sidecar), sidecar


def bundle_of(folder: Path, spec: ModelSpec, info: GraphInfo, sidecar: Sidecar) -> Bundle:
    """The bundle of what lies in a folder."""
    return Bundle(
        folder=folder,
        spec=spec,
        task={},
        graphs=(info,),
        engines=(EngineInfo("model.engine", "model.engine.json", info.file, "tensorrt-rtx"),),
        files={info.file: sidecar.onnx_sha256},
        versions={},
    )


def put(bundle: Bundle, sidecar: Sidecar) -> None:
    """Replace the sidecar of a bundle's engine."""
    sidecar.write(sidecar_path(bundle.folder / "model.engine"))


def with_image(sidecar: Sidecar, place: int, **changes: object) -> Sidecar:
    """The sidecar with another image, by its place."""
    assert sidecar.kernel is not None
    images = list(sidecar.kernel.images)
    images[place] = dataclasses.replace(images[place], **changes)  # type: ignore[arg-type]
    return dataclasses.replace(sidecar, kernel=dataclasses.replace(sidecar.kernel, images=tuple(images)))

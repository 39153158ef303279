"""Images of the kernel: kept by content, shipped in bundles, and run only where they are trusted or made here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from drnn_core.cache import cache_folder
from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.licence import SENTENCES, SPDX
from drnn_core.types import Availability
from drnn_deploy.exporter import kernels
from drnn_deploy.exporter.kernels import image_targets
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.cuda_kernel import nvrtc
from drnn_runtimes.cuda_kernel.constants import kernel_source
from drnn_runtimes.cuda_kernel.images import compiled_image, kernel_image, plan_graph
from drnn_runtimes.cuda_kernel.plan import KernelPlan
from drnn_runtimes.cuda_kernel.trust import TRUST
from tests.networks import random_weights

SPEC = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
HERE = Availability(True, "NVRTC 1.0")
ABSENT = Availability(False, "NVRTC is not installed", "pip install it")


class Compiler:
    """Stands for NVRTC: an image names what it was made of."""

    def __init__(self, patch: pytest.MonkeyPatch, available: Availability = HERE) -> None:
        self.asked: list[str] = []
        self.patch = patch
        patch.setattr(nvrtc, "compile_kernel", self.compile)
        self.is_here(available)

    def is_here(self, available: Availability) -> None:
        self.patch.setattr(nvrtc, "nvrtc_availability", lambda: available)

    def compile(self, plan: KernelPlan, architecture: str) -> bytes:
        self.asked.append(architecture)
        return f"{architecture} {nvrtc.nvrtc_availability().detail}\n{kernel_source(plan)[:200]}".encode()


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compiler:
    monkeypatch.setenv("DRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(TRUST, raising=False)
    return Compiler(monkeypatch)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    with pytest.MonkeyPatch.context() as patch:
        Compiler(patch)
        options = ExportOptions(
            forms=("sequence", "chunk", "step"),
            length=7,
            precisions=("fp32", "fp16", "int8"),
            engines=(),
            runtimes=("reference",),
            cuda_kernel=True,
            compute_capabilities=("8.7", "9.0"),
        )
        made = export(Checkpoint(SPEC, random_weights(SPEC, 0)), tmp_path_factory.mktemp("export") / "bundle", options)
    int8 = [reason for reason in made.kernels.reasons if "int8" in reason]
    assert len(int8) == len(made.kernels.reasons) == 6  # three forms on two GPUs
    return made.bundle


def test_a_bundle_ships_an_image_for_each_kernel_and_gpu(bundle: Bundle) -> None:
    assert Bundle.open(bundle.folder).kernels == bundle.kernels
    assert {kernel.compute_capability for kernel in bundle.kernels} == {"8.7", "9.0"}
    assert len({kernel.file for kernel in bundle.kernels}) == len(bundle.kernels) == 8  # pruned or not, fp32 and fp16
    assert all(kernel.file in bundle.files for kernel in bundle.kernels)


def test_images_have_their_licence_beside_them(bundle: Bundle) -> None:
    (folder,) = {bundle.path(kernel.file).parent for kernel in bundle.kernels}
    text = (folder / "LICENSE.txt").read_text(encoding="utf-8")
    assert text.splitlines() == [SPDX, *SENTENCES]
    assert f"{folder.name}/LICENSE.txt" in bundle.files


def test_an_image_is_compiled_once(compiler: Compiler, bundle: Bundle) -> None:
    plan = plan_graph(SPEC, bundle.graph("step"), "87")
    image = compiled_image(plan, "87")
    assert compiled_image(plan, "87") == image and compiler.asked == ["87"]
    assert compiled_image(plan, "90") != image and compiler.asked == ["87", "90"]
    compiler.is_here(Availability(True, "NVRTC 2.0"))
    assert compiled_image(plan, "87") != image and compiler.asked == ["87", "90", "87"]


def test_a_damaged_image_of_the_cache_is_compiled_again(compiler: Compiler, bundle: Bundle) -> None:
    plan = plan_graph(SPEC, bundle.graph("step"), "87")
    image = compiled_image(plan, "87")
    (kept,) = cache_folder("cuda-kernel").iterdir()
    kept.write_bytes(image[:-1])
    assert compiled_image(plan, "87") == image and compiler.asked == ["87", "87"]


def test_an_image_of_a_bundle_runs_only_where_it_is_made_here_or_trusted(
    compiler: Compiler, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = bundle.graph("sequence")
    plan = plan_graph(SPEC, graph, "87")
    (shipped,) = [k.file for k in bundle.kernels if k.compute_capability == "8.7" and k.file.count("sequence-fused.")]
    content = bundle.path(shipped).read_bytes()
    try:
        bundle.path(shipped).write_bytes(b"other code")
        assert kernel_image(plan, "87", bundle) == content, "what is made here runs"
        compiler.is_here(ABSENT)
        with pytest.raises(RuntimeUnavailableError, match=r"cuda-kernel/sequence-fused.* is not trusted") as told:
            kernel_image(plan, "87", bundle)
        assert "--trust-images" in told.value.fix
        monkeypatch.setenv(TRUST, "1")
        assert kernel_image(plan, "87", bundle) == b"other code"
    finally:
        bundle.path(shipped).write_bytes(content)


def test_an_image_of_another_text_or_gpu_is_never_taken(
    compiler: Compiler, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUST, "1")
    compiler.is_here(ABSENT)
    plan = plan_graph(SPEC, bundle.graph("sequence"), "87")
    assert kernel_image(plan, "87", bundle)
    other = dataclasses.replace(plan, options=dataclasses.replace(plan.options, activations="approximate"))
    for wanted, architecture in ((other, "87"), (plan, "86")):
        with pytest.raises(RuntimeUnavailableError, match=r"NVRTC is not installed\n"):
            kernel_image(wanted, architecture, bundle)


def test_export_says_what_it_needs(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'8x' is no compute capability"):
        image_targets(["8x"])
    assert image_targets(["8.7", "87"]) == ("8.7",)
    monkeypatch.setattr(kernels.gpu, "gpu", lambda: SimpleNamespace(compute_capability="9.0"))
    assert image_targets([]) == ("9.0",)
    monkeypatch.setattr(kernels.gpu, "gpu", lambda: None)
    with pytest.raises(InputError, match="the images of the kernel are for named GPUs"):
        image_targets([])
    compiler.is_here(ABSENT)
    with pytest.raises(RuntimeUnavailableError, match="NVRTC is not installed"):
        image_targets(["8.7"])

"""The kernel compiled for every architecture, without a GPU: it fits the registers and the shared memory of each."""

from __future__ import annotations

import itertools

import pytest

from drnn_core.errors import EngineError, InputError, RuntimeUnavailableError
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.cuda_kernel import SHARED_MEMORY, KernelOptions, KernelPlan, plan_kernel
from drnn_runtimes.cuda_kernel import nvrtc as module
from drnn_runtimes.cuda_kernel.constants import kernel_source
from drnn_runtimes.cuda_kernel.image import read_image
from drnn_runtimes.cuda_kernel.nvrtc import architectures, compile_kernel
from tests.nightly import combinations, some_by_day
from tests.runtimes.cuda_kernel.networks_of_images import ARCHITECTURES, CELLS, no_nvrtc, plan_of

needs_nvrtc = pytest.mark.skipif(bool(no_nvrtc()), reason=no_nvrtc())
REGISTERS = 16384  # of a quarter of a multiprocessor, which has a quarter of the warps
SPILLED = 64  # bytes of a thread, outside the loops over steps: test_cycles.py looks into those
LARGEST = 120_000  # bytes of an image

LARGE = {
    "ptb 5 x 256": ModelSpec("gru", (256,) * 5, (1, 2, 4, 8, 16), Continuous(50), Head("sequence", 50)),
    "speaker": ModelSpec("lstm", (32,) * 7, tuple(8 * 2**n for n in range(7)), Continuous(1), Head("last", 6)),
}
LARGE_IMAGES = list(itertools.product(ARCHITECTURES, LARGE, ["pruned", "all"]))


def check(plan: KernelPlan, architecture: str) -> None:
    image = compile_kernel(plan, architecture)
    info = read_image(image)
    warps = -(-plan.threads // 32)
    assert info.threads == plan.threads <= 1024
    assert -(-warps // 4) * 32 * -(-info.registers // 8) * 8 <= REGISTERS
    assert info.stack <= SPILLED
    assert plan.shared_bytes <= SHARED_MEMORY[architecture]
    assert len(image) < LARGEST


@needs_nvrtc
@pytest.mark.parametrize(
    ("architecture", "cell", "weights"), combinations(ARCHITECTURES, list(CELLS), ["fp32", "fp16"], by_day=9)
)
def test_images(architecture: str, cell: str, weights: str) -> None:
    plan = plan_of(cell, architecture, weights=weights)
    assert plan.variant == "resident"
    check(plan, architecture)


@needs_nvrtc
@pytest.mark.parametrize("choice", some_by_day(list(map(", ".join, LARGE_IMAGES)), 11))
def test_images_of_large_networks(choice: str) -> None:
    architecture, network, form = choice.split(", ")
    options = KernelOptions(8 if form == "pruned" else None, shared_memory=SHARED_MEMORY[architecture])
    check(plan_kernel(LARGE[network], options), architecture)


@needs_nvrtc
def test_an_image_is_the_same_each_time() -> None:
    plan = plan_of("rnn", "86")
    assert set(ARCHITECTURES) <= set(architectures())
    assert compile_kernel(plan, "86") == compile_kernel(plan, "86")


@needs_nvrtc
def test_what_nvrtc_refuses_is_told() -> None:
    plan = plan_of("rnn", "86")
    with pytest.raises(EngineError, match=r"sm_86: drnn\.cu.*error"):
        compile_kernel(plan, "86", kernel_source(plan) + "nonsense;")
    with pytest.raises(EngineError, match="sm_1"):
        compile_kernel(plan, "1")


def test_without_nvrtc_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> tuple[object, ...]:
        raise RuntimeError("no libnvrtc\nnor elsewhere")

    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    monkeypatch.setattr(nvrtc, "nvrtcVersion", missing)
    with pytest.raises(RuntimeUnavailableError, match="NVRTC is not installed: no libnvrtc") as told:
        compile_kernel(plan_of("rnn", "86"), "86")
    assert "pip install" in told.value.fix
    assert module.nvrtc_availability().usable is False


@pytest.mark.parametrize("image", [b"", b"\x7fELF", b"\x7fELF" + bytes(200), b"MZ" + bytes(200)])
def test_other_files_are_no_images(image: bytes) -> None:
    with pytest.raises(InputError, match="no image of the kernel"):
        read_image(image)

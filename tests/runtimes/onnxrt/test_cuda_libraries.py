"""CUDA's libraries are looked for wherever they may be, and those that are nowhere are named with what to type."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from drnn_core import gpu
from drnn_runtimes.onnxrt import cuda_libraries
from drnn_runtimes.onnxrt.cuda_libraries import library_folders, load_cuda
from drnn_runtimes.onnxrt.runtime import OnnxRuntime

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a folder with empty files; nothing else is found."""
    monkeypatch.setattr(cuda_libraries.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(cuda_libraries, "_SYSTEM", tmp_path / "system")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "site")])
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)

    def folder(path: str, *files: str) -> Path:
        made = tmp_path / path
        made.mkdir(parents=True)
        for file in files:
            (made / file).touch()
        return made

    return folder


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    load_cuda.cache_clear()
    yield
    load_cuda.cache_clear()


def test_folders_of_pip_of_pytorch_and_of_the_system_in_this_order(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = [make(f"system/cuda-{version}/lib64", "libcublas.so.13.1") for version in ("12.9", "13.0")]
    home = make("home/lib64", "libcudart.so.13")
    beside_site = make("site/nvidia/cu13/lib", "libcublas.so.13")
    make("site/nvidia/nccl/lib", "libnccl.so.2")
    make("site/nvidia/cudnn/include", "cudnn.h")
    beside_torch = make("elsewhere/nvidia/cudnn/lib", "libcudnn.so.9")
    windows = make("elsewhere/torch/lib", "cublas64_13.dll")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        cuda_libraries.importlib.util,
        "find_spec",
        lambda name: type("Spec", (), {"origin": str(tmp_path / "elsewhere" / name / "__init__.py")}),
    )
    assert library_folders() == [windows, beside_torch, beside_site, home, *reversed(system)]


def test_each_folder_is_given_to_onnx_runtime_with_what_it_holds(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make("site/nvidia/cu13/lib", "libcublas.so.13", "libcudart.so.13")
    second = make("site/nvidia/cudnn/lib", "libcudnn.so.9")
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda **given: calls.append(given), raising=False)
    assert load_cuda() == load_cuda() == ()
    assert calls == [
        {"cuda": True, "cudnn": False, "directory": str(first)},
        {"cuda": False, "cudnn": True, "directory": str(second)},
        {},
    ]


def test_what_is_nowhere_is_named_with_the_variable_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def preload(**_: Any) -> None:
        for name in ("libcublas.so.99", "libcurand.so.99"):
            print(f"Failed to load {name}: {name}: cannot open shared object file")  # noqa: T201
        print("Please follow some page to install CUDA.")  # noqa: T201

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    assert load_cuda() == ("libcublas.so.99", "libcurand.so.99")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(gpu, "gpu", lambda: gpu.Gpu("some GPU", "8.6", "CUDA 13.0"))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    available = OnnxRuntime("cuda").availability()
    assert not available.usable
    assert "cannot load libcublas.so.99, libcurand.so.99" in available.detail
    assert "LD_LIBRARY_PATH" in available.fix


def test_releases_before_the_function_have_nothing_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(onnxruntime, "preload_dlls", raising=False)
    assert load_cuda() == ()


def test_onnx_runtime_says_what_it_does_not_find_as_it_is_read_here() -> None:
    """The real function, on a machine without some library or with all of them."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime was built without CUDA")
    missing = load_cuda()
    assert all("cu" in name for name in missing)
    assert bool(missing) == any(not _loads(name) for name in ("libcublas.so.13", "libcurand.so.10"))


def _loads(name: str) -> bool:
    import ctypes

    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True

"""Where CUDA's and cuDNN's libraries are, for ONNX Runtime, which by itself finds those beside it and the system's."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FIX = (
    "Name the folders of CUDA's and cuDNN's libraries in LD_LIBRARY_PATH (on Windows in PATH) before Python starts, or "
    "install them: pip install 'onnxruntime-gpu[cuda,cudnn]'."
)
_SYSTEM = Path("/usr/local")
_CUDA, _CUDNN = ("*cublas*", "*cudart*", "*curand*", "*nvrtc*"), ("*cudnn*",)
_FAILED = re.compile(r"^Failed to load (\S+?): ", re.MULTILINE)


@functools.cache
def load_cuda() -> tuple[str, ...]:
    """Load CUDA's libraries for ONNX Runtime; the names of those that are nowhere, for example libcublas.so.13.

    Once loaded, a library is found by its name. Empty also where ONNX Runtime is too old (before 1.21) to load them.
    """
    import onnxruntime

    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is None:
        return ()
    said = io.StringIO()  # it prints what it does not find
    with contextlib.redirect_stdout(io.StringIO()):
        for folder in library_folders():
            cuda, cudnn = (_holds(folder, patterns) for patterns in (_CUDA, _CUDNN))
            preload(cuda=cuda, cudnn=cudnn, directory=str(folder))
    with contextlib.redirect_stdout(said):
        preload()
    return tuple(dict.fromkeys(_FAILED.findall(said.getvalue())))


def library_folders() -> list[Path]:
    """The folders with libraries of CUDA or cuDNN: beside PyTorch, of packages from pip, then of the system."""
    return [folder for folder in dict.fromkeys(_candidates()) if _holds(folder, _CUDA + _CUDNN)]


def _candidates() -> Iterator[Path]:
    torch = importlib.util.find_spec("torch")
    beside = [Path(torch.origin).resolve().parents[1]] if torch and torch.origin else []
    for site in (*beside, *(Path(entry) for entry in sys.path if entry)):
        yield site / "torch" / "lib"
        for ending in ("lib", "bin"):
            yield from sorted(site.glob(f"nvidia/*/{ending}"))
    homes = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)]
    for home in (*homes, *sorted(_SYSTEM.glob("cuda*"), reverse=True)):
        yield from (home / "lib64", home / "bin")


def _holds(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(".so" in path.name or path.suffix == ".dll" for pattern in patterns for path in folder.glob(pattern))

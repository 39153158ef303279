"""A package that does not load is a runtime that is not usable, with what to do: never a stack trace."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from drnn_runtimes.registry import find_runtime

PACKAGES = {"torch": "torch", "onnxruntime-cpu": "onnxruntime", "onnxruntime-cuda": "onnxruntime"}


@pytest.mark.parametrize("runtime", PACKAGES)
@pytest.mark.parametrize(("raised", "said"), [
    ("OSError('libgomp.so.1: cannot open shared object file')", "libgomp.so.1: cannot open shared object file"),
    ("ImportError('DLL load failed')", "DLL load failed"),
    ("RuntimeError()", "it does not say why"),
])  # fmt: skip
def test_a_broken_package_is_no_stack_trace(
    runtime: str, raised: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = PACKAGES[runtime]
    (tmp_path / f"{package}.py").write_text(f"raise {raised}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package, raising=False)
    available = find_runtime(runtime).availability()
    assert (available.usable, available.fix) == (False, f"pip install --force-reinstall {package}")
    assert available.detail.endswith(f"cannot be imported: {said}")

"""Several sessions without TF32: the variable stays until the last of them is closed."""

from __future__ import annotations

import contextlib
import os

import pytest

from drnn_runtimes.onnxrt import providers
from drnn_runtimes.onnxrt.providers import TF32, prepared


def test_the_variable_stays_until_the_last_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TF32, raising=False)
    monkeypatch.setattr(providers, "load_cuda", lambda: None)
    with contextlib.ExitStack() as other:
        with prepared("cuda"):
            other.enter_context(prepared("tensorrt"))
        assert os.environ[TF32] == "0"
    assert TF32 not in os.environ

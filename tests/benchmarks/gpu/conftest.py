"""The setting of a check on the CPU over a small network, with its bundles written."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.gpu import bundles, timing
from benchmarks.gpu.bundles import write_bundles
from benchmarks.gpu.plan import Setting
from drnn_runtimes import registry
from tests.benchmarks.gpu.small_parts import LENGTH, Off, small
from tests.networks import make_case


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    for module in (bundles, timing):
        monkeypatch.setattr(module, "paper_network", small)
        monkeypatch.setattr(module, "STEPS", LENGTH)
    monkeypatch.setattr(timing, "_QUICK", (0.0, 6))
    return Setting("cpu", True, tmp_path)


@pytest.fixture
def exported(setting: Setting) -> Setting:
    assert write_bundles(setting, "gru")["status"] == "ok"
    return setting


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.RUNTIMES, "onnxruntime-cpu", Off("cpu"))


@pytest.fixture
def checked(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """A small network in the place of one of the zoo's, in all precisions and forms."""
    case = make_case(small("gru").spec, 1, LENGTH)
    monkeypatch.setattr(
        bundles, "checkpoint_of", lambda *_: dataclasses.replace(case.checkpoint(), task={"length": LENGTH})
    )
    full = dataclasses.replace(setting, quick=False)
    assert write_bundles(full, "some")["status"] == "ok"
    return full

"""NVIDIA's modules: each is there or comes with the reason why it is not, and never with an exception."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from drnn_runtimes.trt import bindings


def test_finding_out_imports_no_torch() -> None:
    script = (
        "import sys; from drnn_runtimes.trt import bindings; bindings.tensorrt_module('tensorrt-rtx');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=60)


@pytest.mark.parametrize(("flavour", "name"), [("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx")])
def test_a_missing_module_comes_with_the_reason(
    flavour: bindings.Flavour, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    module = bindings.tensorrt_module(flavour)
    assert module.loaded is None
    assert module.reason == f"the Python module {name} is not installed"


def test_a_module_of_that_name_without_a_builder_is_not_nvidias(monkeypatch: pytest.MonkeyPatch) -> None:
    other = types.ModuleType("tensorrt")
    other.__dict__["__version__"] = "11.0.0"
    monkeypatch.setitem(sys.modules, "tensorrt", other)
    module = bindings.tensorrt_module("tensorrt")
    assert module.loaded is None
    assert module.reason.startswith("tensorrt cannot be imported")


@pytest.mark.parametrize(
    ("version", "usable"),
    [("8.6.1", False), ("10.2.0.19", False), ("10.3.0", True), ("10.13.0.35", True), ("11.4.0", True)],
)
def test_a_release_before_10_3_is_too_old(version: str, usable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = types.ModuleType("tensorrt")
    installed.__dict__.update(__version__=version, Builder=object, Runtime=object)
    monkeypatch.setitem(sys.modules, "tensorrt", installed)
    module = bindings.tensorrt_module("tensorrt")
    assert (module.loaded is installed) == usable
    assert module.version == (version if usable else "")
    assert ("too old" in module.reason) != usable


def test_nvidias_types_have_numpys_names() -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    names = [
        bindings.data_type(kind) for kind in (rtx.float32, rtx.float16, rtx.bfloat16, rtx.int64, rtx.int32, rtx.bool)
    ]
    assert names == ["float32", "float16", "bfloat16", "int64", "int32", "bool"]


def test_the_logger_keeps_errors_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    rtx = pytest.importorskip("tensorrt_rtx")
    logger = bindings.collecting_logger(rtx)
    for severity in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"):
        logger.log(getattr(rtx.ILogger.Severity, severity), severity.lower())
    assert logger.errors == ["internal_error", "error"]
    assert capfd.readouterr() == ("", "")

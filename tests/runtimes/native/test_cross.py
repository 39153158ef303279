"""Networks compiled for other systems: the self-test runs there, under qemu-user where it is installed."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from drnn_core.errors import EngineError, InputError, RuntimeUnavailableError
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.native import cross
from drnn_runtimes.native.cross import TARGETS, build_for, check_targets
from tests.networks import make_case
from tests.nightly import NIGHTLY
from tests.runtimes.native.packages import write_package

LSTM = ModelSpec("lstm", (9, 5), (2, 3), Continuous(2), Head("last", 3))
SYSTEM_LIBRARIES = {"aarch64": Path("/usr/aarch64-linux-gnu")}  # Debian's package libc6-arm64-cross


@pytest.mark.skipif(not NIGHTLY, reason="it takes a minute: HYPOTHESIS_PROFILE=nightly")
@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang is not installed")
@pytest.mark.parametrize("target", TARGETS)
def test_self_test_passes_on_the_target(target: str, tmp_path: Path) -> None:
    files = build_for(target, "net", write_package(tmp_path, "net", make_case(LSTM, 3, 60)).sources)
    assert set(files) == {f"{target}/libnet.a", f"{target}/selftest"}
    assert files[f"{target}/libnet.a"].startswith(b"!<arch>\n")
    program = tmp_path / "selftest"
    program.write_bytes(files[f"{target}/selftest"])
    program.chmod(0o755)
    said = subprocess.run([*emulator(target), program], capture_output=True, text=True, check=True).stdout
    assert "\nPASSED net: " in said


def emulator(target: str) -> list[str]:
    """The command that runs a program of the target here."""
    machine = target.partition("-")[0]
    if machine == platform.machine():
        return []
    if not (qemu := shutil.which(f"qemu-{machine}") or shutil.which(f"qemu-{machine}-static")):
        pytest.skip("qemu-user is not installed")
    if target.endswith("-musl"):
        return [qemu]
    if not (libraries := SYSTEM_LIBRARIES.get(machine, Path("/none"))).is_dir():
        pytest.skip(f"{libraries} is not there")
    return [qemu, "-L", str(libraries)]


def test_other_targets_are_refused() -> None:
    with pytest.raises(InputError, match="no target 'riscv64-linux-gnu'") as told:
        check_targets(["riscv64-linux-gnu"])
    assert all(target in told.value.fix for target in TARGETS)


def test_without_ziglang_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cross.importlib.util, "find_spec", lambda name: None)
    check_targets([])
    with pytest.raises(RuntimeUnavailableError, match="ziglang") as told:
        check_targets(["aarch64-linux-gnu"])
    assert "drnn-deploy[native]" in told.value.fix


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'one.c:1: error: of a compiler' >&2\nexit 1\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setattr(cross.sys, "executable", str(fake))
    with pytest.raises(EngineError, match=r"zig cc cannot compile the network: one\.c:1: error: of a compiler"):
        build_for("aarch64-linux-gnu", "net", {"net.c": ""})

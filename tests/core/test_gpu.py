"""What is found of NVIDIA on this machine: either a GPU or the reason why there is none, and never an exception."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from drnn_core import gpu
from drnn_core.errors import InputError


def test_there_is_a_gpu_or_a_reason() -> None:
    found, reason = gpu.gpu(), gpu.gpu_reason()
    assert (found is None) == bool(reason)
    if found is not None:
        assert found.name
        assert re.fullmatch(r"\d+\.\d+", found.compute_capability)
        assert re.fullmatch(r"CUDA \d+\.\d+", found.driver)


def test_without_cuda_bindings_the_reason_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    assert gpu.gpu() is None
    assert "cuda-bindings is not installed" in gpu.gpu_reason()


def test_a_hidden_gpu_is_no_gpu() -> None:
    script = "from drnn_core import gpu; assert gpu.gpu() is None; assert gpu.gpu_reason()"
    environment = {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, env=environment, timeout=60)


def test_finding_out_imports_no_torch() -> None:
    script = "import sys; from drnn_core import gpu; gpu.gpu(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": ":".join(sys.path)}, timeout=60)


@pytest.mark.parametrize(
    ("driver", "needed", "words"),
    [
        (0, 13050, "no NVIDIA driver is installed"),
        (12040, 13050, "driver speaks CUDA 12.4, the installed cuda-bindings CUDA 13.5"),
        (12040, 13050, "cuda-bindings 12.x"),
        (13000, 13050, "no CUDA-capable device is detected"),
        (13050, 13050, "no CUDA-capable device is detected"),
    ],
)
def test_a_refusal_says_what_to_mend(driver: int, needed: int, words: str) -> None:
    assert words in gpu._refusal("no CUDA-capable device is detected", driver, needed)


def test_driver_and_clocks_are_those_that_nvidia_smi_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drnn_core.environment import environment

    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu.gpu_state() == {}
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '580.1, 345 MHz, 1980 MHz, 2619 MHz, 70.1 W, 700.0 W, 31'\n", encoding="utf-8")
    tool.chmod(0o755)
    found = gpu.gpu_state()
    assert (found["driver"], found["sm_clock"], found["largest_sm_clock"]) == ("580.1", "345 MHz", "1980 MHz")
    assert found["temperature"] == "31"
    monkeypatch.setattr("drnn_core.environment.gpu", lambda: gpu.Gpu("some GPU", "9.0", "CUDA 13.0"))
    told = environment()
    assert (told["gpu"], told["driver"]) == ("some GPU, CUDA 13.0", "580.1")
    assert told["gpu clock"] == "345 MHz of 1980 MHz"
    for broken in ("exit 9", "echo 580.1", "echo"):
        tool.write_text(f"#!/bin/sh\n{broken}\n", encoding="utf-8")
        assert gpu.gpu_state() == {}


def test_one_gpu_is_chosen_among_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, number, chosen in ((None, 2, "2"), ("5,3", 1, "3"), ("GPU-abc, GPU-def", 1, "GPU-def")):
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with gpu.only_gpu(number):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == chosen
            assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
            assert gpu._visible() == [chosen]
            assert f"CUDA_VISIBLE_DEVICES={chosen}" in gpu._refusal("no CUDA-capable device", 13050, 13050)
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == visible
    for visible in ("0,1", "0,1,", ""):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        with pytest.raises(InputError, match="there is no GPU 2"), gpu.only_gpu(2):
            pass
    with pytest.raises(InputError, match="there is no GPU 0"), gpu.only_gpu(0):
        pass

"""Runs what a machine without a GPU cannot: engines, parity on the GPU, streams, CUDA graphs, and their latency.

python -m benchmarks.gpu.check [--quick] [--parts parity/pixel-mnist,latency] [--output FILE] [--list]
python -m benchmarks.gpu.check --render

Writes benchmarks/results/gpu-DEVICE.json after each part; what fails, is refused or is missing is an entry with the
reason. Needs torch for CUDA on the import path, with what else is to be checked (onnxruntime-gpu, tensorrt,
tensorrt-rtx), and no network. --quick takes at most 9 minutes. --render writes docs/gpu.md from the committed results.

Exit codes: 0 fine, 1 a part failed, 2 usage, 3 no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.page import PAGE, page
from benchmarks.gpu.plan import Device, Part, all_parts, chosen_parts
from benchmarks.gpu.run import Entry, run_parts
from benchmarks.measure import RESULTS, machine
from drnn_core.environment import installed_versions
from drnn_core.errors import DeployError, RuntimeUnavailableError
from drnn_core.files import replacing
from drnn_core.gpu import Gpu, gpu, gpu_reason

QUICK_SECONDS = 540.0
_PACKAGES = (
    *("tensorrt", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "cuda-bindings", "triton"),
    *("nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "nvidia-cublas", "nvidia-cuda-runtime"),
)


def main(arguments: Sequence[str] | None = None, *, module: str = "benchmarks.gpu.worker") -> int:
    """Check, or render; the exit code. module: of the child processes."""
    given = _parser().parse_args(arguments)
    try:
        return _render() if given.render else _check(given, module)
    except DeployError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return error.exit_code


def _render() -> int:
    with replacing(PAGE) as temporary:
        temporary.write_text(page(load_results(RESULTS)), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


def _check(given: argparse.Namespace, module: str) -> int:
    parts = all_parts(given.device, quick=given.quick)
    if given.parts:
        parts = chosen_parts(parts, given.parts.split(","))
    if given.list:
        print("\n".join(part.name for part in parts))
        return 0
    device = gpu() if given.device == "cuda" else Gpu("cpu", "", "")
    if device is None:
        raise RuntimeUnavailableError(
            f"there is no GPU to check: {gpu_reason()}. Nothing was run or written.",
            "Run it on a machine with an NVIDIA GPU, its driver and cuda-bindings.",
        )
    output = given.output or RESULTS / f"gpu-{slug(device.name)}.json"
    entries = check(parts, device, given.device, output, quick=given.quick, module=module)
    failed = sum(entry["status"] == "failed" for entry in entries)
    print(f"wrote {output}: {len(entries)} parts, {failed} failed; as a page: python -m benchmarks.gpu.check --render")
    return 1 if failed else 0


def check(parts: Sequence[Part], device: Gpu, kind: Device, output: Path, *, quick: bool, module: str) -> list[Entry]:
    """Run the parts and write `output` after each."""
    head: dict[str, Any] = {
        "device": {**describe(device), "kind": kind},
        "machine": {**machine(), "gpu": device.name},
        "packages": installed_versions(_PACKAGES),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "quick": quick,
        "tf32": False,
    }

    def keep(entries: list[Entry]) -> None:
        with replacing(output) as temporary:
            temporary.write_text(json.dumps({**head, "parts": entries}, indent=1) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as work:
        return run_parts(
            parts,
            {"device": kind, "quick": quick, "work": work},
            module=module,
            budget=QUICK_SECONDS if quick else float("inf"),
            keep=keep,
            notify=lambda line: print(line, flush=True),
        )


def describe(device: Gpu) -> dict[str, str]:
    """What the GPU is: its name, compute capability, CUDA of the driver and, where nvidia-smi is there, the driver."""
    facts = {"name": device.name, "compute_capability": device.compute_capability, "cuda": device.driver}
    tool = shutil.which("nvidia-smi")
    driver = ""
    if tool is not None and device.compute_capability:
        command = [tool, "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            driver = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    return {**facts, "driver": driver}


def slug(name: str) -> str:
    """A device's name as part of a file's: "NVIDIA H100 80GB HBM3" -> "nvidia-h100-80gb-hbm3"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def load_results(folder: Path) -> list[dict[str, Any]]:
    """The results of all GPUs, by file name; those of a CPU, from tests of this program, are none."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("gpu-*.json"))]
    return [result for result in found if result["device"]["kind"] == "cuda"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer graphs and shorter measurements, 9 minutes at most")
    parser.add_argument("--parts", metavar="A,B", help="only these: names of parts or the beginnings of their paths")
    parser.add_argument("--output", type=Path, help="the result's file [default: benchmarks/results/gpu-DEVICE.json]")
    parser.add_argument("--list", action="store_true", help="show the names of the parts")
    parser.add_argument("--render", action="store_true", help="check nothing: write docs/gpu.md again")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)  # cpu: for tests
    return parser


if __name__ == "__main__":
    sys.exit(main())

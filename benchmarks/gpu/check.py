"""Runs what a machine without a GPU cannot: parity on the GPU, TF32, streams, CUDA graphs, engines, and their latency.

python -m benchmarks.gpu.check [--work DIR] [--output FILE] [--full] [--jobs N] [--list]
python -m benchmarks.gpu.check --parts parity/pixel-mnist,latency ...
python -m benchmarks.gpu.check --prepare DIR
python -m benchmarks.gpu.check --render

Takes 9 minutes at most, what is worth most first; --full takes hours. Writes benchmarks/results/gpu-DEVICE.json, whole
at any moment, after each row that a part finds; what fails, is refused or is missing is an entry with the reason. Needs
torch for CUDA on the import path, with what else is to be checked (onnxruntime-gpu, tensorrt, tensorrt-rtx), and no
network. --prepare exports the bundles, on any machine, and --work takes them: that is minutes of the processor's time.
--render writes docs/gpu.md from the committed results.

Exit codes: 0 fine, 1 a part failed, 2 usage, 3 no GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.page import PAGE, page
from benchmarks.gpu.plan import Part, all_parts, chosen_parts
from benchmarks.gpu.run import Entry, run_parts
from benchmarks.measure import RESULTS
from drnn_core.environment import installed_versions
from drnn_core.errors import DeployError, RuntimeUnavailableError
from drnn_core.files import replacing
from drnn_core.gpu import Gpu, gpu, gpu_reason, gpu_state
from drnn_deploy.bench.machine import machine

QUICK_SECONDS = 530.0  # and the rest of 540 for the start and the end
_PACKAGES = (
    *("tensorrt", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12", "cuda-bindings", "nvidia-cuda-nvrtc", "triton"),
    *("nvidia-cudnn-cu13", "nvidia-cudnn-cu12", "nvidia-cublas", "nvidia-cuda-runtime"),
)


def main(arguments: Sequence[str] | None = None, *, module: str = "benchmarks.gpu.worker") -> int:
    """Check, or render; the exit code. module: of the child processes."""
    given = _parser().parse_args(arguments)
    try:
        if given.render:
            return _render()
        return _prepare(given, module) if given.prepare else _check(given, module)
    except DeployError as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return error.exit_code


def _render() -> int:
    with replacing(PAGE) as temporary:
        temporary.write_text(page(load_results(RESULTS)), encoding="utf-8")
    print(f"wrote {PAGE}")
    return 0


def _prepare(given: argparse.Namespace, module: str) -> int:
    """Export, which needs no GPU; the exit code."""
    parts = [part for part in all_parts("cpu", quick=not given.full) if part.name.startswith("export/")]
    request = {"device": "cpu", "quick": not given.full, "work": str(given.prepare.absolute())}
    entries = run_parts(parts, request, module=module, jobs=given.jobs, notify=_say)
    failed = [entry for entry in entries if entry["status"] != "ok"]
    if not failed:
        print(f"on the machine with a GPU: python -m benchmarks.gpu.check --work {given.prepare}")
    return 1 if failed else 0


def _check(given: argparse.Namespace, module: str) -> int:
    started = time.monotonic()
    parts = all_parts(given.device, quick=not given.full)
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
    with contextlib.ExitStack() as stack:
        work = given.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        request = {"device": given.device, "quick": not given.full, "work": str(work.absolute())}
        entries = check(parts, device, request, output, module=module, jobs=given.jobs, seconds=given.seconds)
    failed = sum(entry["status"] == "failed" for entry in entries)
    print(
        f"wrote {output}: {len(entries)} parts, {failed} failed, {time.monotonic() - started:.0f} s; "
        "as a page: python -m benchmarks.gpu.check --render"
    )
    return 1 if failed else 0


def check(
    parts: Sequence[Part], device: Gpu, request: dict[str, Any], output: Path, *, module: str, jobs: int, seconds: float
) -> list[Entry]:
    """Run the parts and write `output` whenever one begins, finds a row or ends, with the GPU's state at the time."""
    head: dict[str, Any] = {
        "device": {**describe(device), "kind": request["device"]},
        "machine": machine(),
        "packages": installed_versions(_PACKAGES),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "quick": request["quick"],
        "jobs": jobs,
        "tf32": False,
    }

    def keep(entries: list[Entry]) -> None:
        with replacing(output) as temporary:
            temporary.write_text(json.dumps({**head, "parts": entries}, indent=1) + "\n", encoding="utf-8")

    budget = seconds if request["quick"] else float("inf")
    entries = run_parts(parts, request, module=module, jobs=jobs, seconds=budget, keep=keep, notify=_say)
    head["after"] = gpu_state() if device.compute_capability else {}  # clocks and temperature that the work has led to
    keep(entries)
    return entries


def _say(line: str) -> None:
    print(line, flush=True)


def describe(device: Gpu) -> dict[str, str]:
    """What the GPU is: its name, compute capability, CUDA of the driver and, where nvidia-smi is there, its state."""
    facts = {"name": device.name, "compute_capability": device.compute_capability, "cuda": device.driver}
    return {**facts, "driver": "", **(gpu_state() if device.compute_capability else {})}


def slug(name: str) -> str:
    """A device's name as part of a file's: "NVIDIA H100 80GB HBM3" -> "nvidia-h100-80gb-hbm3"."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def load_results(folder: Path) -> list[dict[str, Any]]:
    """The results of all GPUs, by file name; those of a CPU, from tests of this program, are none."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("gpu-*.json"))]
    return [result for result in found if result["device"]["kind"] == "cuda"]


def default_jobs() -> int:
    """Two cores for each part that runs beside others, 8 parts at most: each also takes some of the GPU's memory."""
    return max(1, min(8, (os.cpu_count() or 1) // 2))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="what it does by default: 9 minutes at most")
    length.add_argument("--full", action="store_true", help="more graphs and longer measurements: hours")
    parser.add_argument("--prepare", type=Path, metavar="DIR", help="only export the bundles to DIR; needs no GPU")
    parser.add_argument("--work", type=Path, metavar="DIR", help="bundles of --prepare [default: a temporary folder]")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="parts at a time, of those that are not timed")
    parser.add_argument("--parts", metavar="A,B", help="only these: names of parts or the beginnings of their paths")
    parser.add_argument("--output", type=Path, help="the result's file [default: benchmarks/results/gpu-DEVICE.json]")
    parser.add_argument("--list", action="store_true", help="show the names of the parts")
    parser.add_argument("--render", action="store_true", help="check nothing: write docs/gpu.md again")
    parser.add_argument("--seconds", type=float, default=QUICK_SECONDS, help=argparse.SUPPRESS)  # for tests
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help=argparse.SUPPRESS)  # cpu: for tests
    return parser


if __name__ == "__main__":
    sys.exit(main())

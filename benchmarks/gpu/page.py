"""docs/gpu.md as text: everything in it comes from the results of `benchmarks.gpu.check`, also what is not verified."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.gpu.plan import SURVEY
from benchmarks.gpu.tables import (
    Result,
    Row,
    engines,
    graphs,
    kernel_parity,
    kernel_times,
    latency,
    one_line,
    parity,
    rounding,
    streams,
)

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"
_HOW = """
## How to run it

Any NVIDIA GPU, and a Python with PyTorch for CUDA, ONNX Runtime for CUDA (onnxruntime-gpu) and the packages of
pyproject.toml. The project need not be installed, and the host needs no network. The first line is for any machine, the
second for the host with the GPU, which gets the folder `gpu-work`, and the third for wherever its result is kept:

    make gpu-check GPU_CHECK="--prepare gpu-work" PYTHON=.venv/bin/python
    make gpu-check GPU_CHECK="--work gpu-work --output benchmarks/results/gpu-NAME.json"
    make gpu-check GPU_CHECK="--render"

The check takes 9 minutes at most, what is worth most first: whether both runtimes run, parity of the zoo's networks,
TF32, CUDA graphs, latency beside PyTorch. Its file is whole at any moment and has every row that was found, also where
the host goes away in the middle. Trainings there, from the source tree, keep their state twice a minute:

    PYTHONPATH=.:export:models:runtimes python3 -m drnn_deploy experiment NAME --device cuda --output FOLDER
"""
_CLAIMS = (  # parts, at least one of which must be ok on some GPU, and what is not verified where none is
    ("parity/*/torch-cuda", "That PyTorch on CUDA computes what it should."),
    (
        "parity/*/onnxruntime-cuda",
        "That ONNX Runtime's CUDA provider computes what it should. Tested without a GPU: a fall back to the CPU is "
        "refused, and the nodes are named.",
    ),
    (
        "parity/*/onnxruntime-tensorrt",
        "That ONNX Runtime's TensorRT provider computes what it should. Tested without a GPU: its options, and that "
        "missing libraries are named.",
    ),
    (
        "parity/*/tensorrt",
        "That TensorRT builds engines, and that they compute what they should. Tested without a GPU: the same adapter "
        "with TensorRT-RTX's compiler, which has the same interface.",
    ),
    (
        "plugin/*",
        "That an engine with the [kernel inside](plugin.md) is loaded, and that what its plugin launches is right on a "
        "GPU. Tested without a GPU: TensorRT-RTX builds such engines; NVIDIA's plugin object, given the fields of an "
        "engine, launches the host build on a stand-in for the driver, under parity.",
    ),
    (
        "parity/*/tensorrt-rtx",
        "That engines of TensorRT-RTX compute what they should. Tested without a GPU: NVIDIA's parser and compiler "
        "take the graphs, and the parsed network, evaluated in NumPy, is right.",
    ),
    (
        "parity/*/cuda-kernel",
        "That the CUDA kernel computes what it should as a runtime. Tested without a GPU: its text on the CPU, and its "
        "launcher on a stand-in for the driver that runs this text.",
    ),
    ("kernel-parity/*", "That the CUDA kernel is right for batches of more blocks than a GPU has multiprocessors."),
    (
        "kernel-times/*",
        "How long a step of the CUDA kernel takes: cycles are estimated from its machine code; and that `accelerate` "
        "runs on PyTorch's tensors of the GPU. Tested without a GPU: on tensors of the CPU.",
    ),
    (
        "tf32/*/torch-cuda/unset",
        "What TF32 does to PyTorch's recurrent layers, and whether float32 is float32 with NVIDIA_TF32_OVERRIDE unset.",
    ),
    (
        "tf32/*/onnxruntime-cuda/unset",
        "Whether ONNX Runtime's recurrent layers use TF32 although `use_tf32` is 0. Tested without a GPU: the variable "
        "is 0 while a session is open.",
    ),
    ("stream/*", "That a stream carries its state through a GPU."),
    (
        "graph/*/torch",
        "That PyTorch can replay the network as a CUDA graph. Tested without a GPU: only the first call copies "
        "anything to the device.",
    ),
    (
        "graph/*/training",
        "That a training step recorded as a CUDA graph is PyTorch's, and faster; each training finds out for itself. "
        "Tested without a GPU: a tape of what the step does to its tensors, repeated without the step's Python.",
    ),
    (
        "graph/*/tensorrt*",
        "That an engine can be replayed as a CUDA graph. Tested without a GPU: the order of the calls.",
    ),
    ("latency/*", "Any latency on a GPU: the figures in the README are of a CPU."),
)
_TRAINING = (
    "That training on CUDA learns, resumes and is in float32, and whatever else the tests with the mark `gpu` check: "
    "no result of them is kept here. Run them there: pytest -m gpu."
)
_BFLOAT16 = "That a GPU computes graphs with bfloat16 products as it should: they have run in NumPy only."


def page(results: Sequence[Result]) -> str:
    """The page for these results, one for each GPU; with none it says what that leaves open."""
    lines = [
        "# On a GPU",
        "",
        "Written by `python -m benchmarks.gpu.check --render`; do not edit it. `make gpu-check`, on a machine with an",
        "NVIDIA GPU, runs what no other machine can, and keeps the results this page is made of.",
        *_HOW.splitlines(),
        "",
    ]
    if not results:
        lines += [
            "No result of a GPU is recorded: for this version, `make gpu-check` has not been run on one. All that is",
            "known was found on a CPU.",
            "",
        ]
    lines += [*_unverified(results), *(line for result in results for line in _device(result))]
    return "\n".join(lines).rstrip() + "\n"


def _unverified(results: Sequence[Result]) -> list[str]:
    fine = [part for result in results for part in result["parts"] if part["status"] == "ok"]
    names = [part["part"] for part in fine]
    claims = [text for pattern, text in _CLAIMS if not fnmatch.filter(names, pattern)]
    rows = [row for part in fine if part["part"].startswith("parity/") for row in part["rows"]]
    claims += [] if any(row["precision"] == "bf16" for row in rows) else [_BFLOAT16]
    return ["## Not verified", "", *(f"- {claim}" for claim in (*claims, _TRAINING)), ""]


def _device(result: Result) -> list[str]:
    device, machine = result["device"], result["machine"]
    driver = f"driver {device['driver']} ({device['cuda']})" if device["driver"] else device["cuda"]
    survey: Row = next((part for part in result["parts"] if part["part"] == SURVEY), {})
    versions = {**machine["versions"], **result["packages"], **survey.get("libraries", {})}
    lines = [
        f"## {device['name']}",
        "",
        f"Compute capability {device['compute_capability']}, {driver};",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']},",
        f"{', '.join(f'{name} {version}' for name, version in versions.items())};",
        f"{result['date']}, {'short measurements' if result['quick'] else 'a full run (--full)'}. TF32 was off.",
        *_state("At the start", device),
        *_state("At the end", result.get("after", {})),
        "",
    ]
    sections: tuple[tuple[str, Callable[[list[Row]], list[str]]], ...] = (
        ("parity", parity),
        ("kernel-parity", kernel_parity),
        ("kernel-times", kernel_times),
        ("tf32", rounding),
        ("engines", engines),
        ("latency", latency),
        ("stream", streams),
        ("graph", graphs),
    )
    for kind, table in sections:
        parts = [part for part in result["parts"] if part["part"].startswith(f"{kind}/")]
        if shown := [part for part in parts if part.get("rows") or part.get("engines")]:
            lines += [*table(shown), ""]
    return [*lines, *_others(result["parts"])]


def _state(when: str, facts: Row) -> list[str]:
    """Clocks, power and temperature, where nvidia-smi told them."""
    if "sm_clock" not in facts:
        return []
    clocks = (
        f"{when}: clock {facts['sm_clock']} of at most {facts['largest_sm_clock']}, memory {facts['memory_clock']},"
    )
    return [f"{clocks} {facts['power']} of {facts['power_limit']}, {facts['temperature']} degrees Celsius."]


def _others(parts: list[Row]) -> list[str]:
    """What was not ok; the same reason for several parts is one line."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        if part["status"] != "ok":
            by_reason.setdefault((part["status"], one_line(part["reason"])), []).append(f"`{part['part']}`")
    if not by_reason:
        return []
    lines = ["### What failed, was refused or is missing", ""]
    return [*lines, *(f"- {status}: {', '.join(names)}: {why}" for (status, why), names in by_reason.items()), ""]

"""docs/gpu.md as text: everything in it comes from the results of `benchmarks.gpu.check`, also what is not verified."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.plan import BASELINE

PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"
Result = dict[str, Any]
Row = dict[str, Any]
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
        "parity/*/tensorrt-rtx",
        "That engines of TensorRT-RTX compute what they should. Tested without a GPU: NVIDIA's parser and compiler "
        "take the graphs, and the parsed network, evaluated in NumPy, is right.",
    ),
    ("stream/*", "That a stream carries its state through a GPU."),
    ("graph/*/torch", "That PyTorch can replay the network as a CUDA graph."),
    (
        "graph/*/tensorrt*",
        "That an engine can be replayed as a CUDA graph. Tested without a GPU: the order of the calls.",
    ),
    ("latency/*", "Any latency on a GPU: the figures in the README are of a CPU."),
)
_BFLOAT16 = "That a GPU computes graphs with bfloat16 products as it should: they have run in NumPy only."


def page(results: Sequence[Result]) -> str:
    """The page for these results, one for each GPU; with none it says what that leaves open."""
    lines = [
        "# On a GPU",
        "",
        "Written by `python -m benchmarks.gpu.check --render`; do not edit it. `make gpu-check`, on a machine with an",
        "NVIDIA GPU, runs what no other machine can, and keeps the results this page is made of.",
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
    return ["## Not verified", "", *(f"- {claim}" for claim in claims), ""] if claims else []


def _device(result: Result) -> list[str]:
    device, machine = result["device"], result["machine"]
    driver = f"driver {device['driver']} ({device['cuda']})" if device["driver"] else device["cuda"]
    versions = {**machine["versions"], **result["packages"]}
    lines = [
        f"## {device['name']}",
        "",
        f"Compute capability {device['compute_capability']}, {driver};",
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']},",
        f"{', '.join(f'{name} {version}' for name, version in versions.items())};",
        f"{result['date']}, {'--quick: short measurements' if result['quick'] else 'a full run'}. TF32 was off.",
        "",
    ]
    sections: tuple[tuple[str, Callable[[list[Row]], list[str]]], ...] = (
        ("parity", _parity),
        ("engines", _engines),
        ("latency", _latency),
        ("stream", _streams),
        ("graph", _graphs),
    )
    for kind, table in sections:
        parts = [part for part in result["parts"] if part["part"].startswith(f"{kind}/")]
        if shown := [part for part in parts if part.get("rows") or part.get("engines")]:
            lines += [*table(shown), ""]
    return [*lines, *_others(result["parts"])]


def _parity(parts: list[Row]) -> list[str]:
    lines = [
        "### Parity",
        "",
        "Against float64, over the golden data. *In noise*: the largest error in units of what the precision itself",
        "does to the network; up to 8 passes. Chunks and steps carry their state.",
        "",
        "| network | runtime | precision | graphs | largest error | in noise | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for part in parts:
        _, network, runtime = part["part"].split("/")
        for precision in dict.fromkeys(row["precision"] for row in part["rows"]):
            rows = [row for row in part["rows"] if row["precision"] == precision]
            bad = [row["graph"] for row in rows if not row["passed"]]
            error, noise = (_largest(row[key] for row in rows) for key in ("error", "in_noise"))
            verdict = f"**failed**: {', '.join(bad)}" if bad else "passed"
            shown = f"{_number(error, '.1e')} | {_number(noise, '.2f')} | {verdict}"
            lines.append(f"| {network} | {runtime} | {precision} | {len(rows)} | {shown} |")
    return lines


def _engines(parts: list[Row]) -> list[str]:
    lines = ["### Engines", "", "| network | builder | graph | build | size | kernels |", "|---|---|---|---|---|---|"]
    for part in parts:
        network = part["part"].split("/")[1]
        for row in part["engines"]:
            name = f"| {network} | {row['flavour']} | {row['graph']} |"
            if row["status"] != "ok":
                lines.append(f"{name} {row['status']}: {_line(row['reason'])} | | |")
                continue
            kernels = "-" if row["kernels"] is None else row["kernels"]
            lines.append(f"{name} {row['build_seconds']:.1f} s | {row['engine_bytes'] / 1e6:.1f} MB | {kernels} |")
    return lines


def _latency(parts: list[Row]) -> list[str]:
    """A table for each cell: a row for each way and precision, a column for each batch."""
    lines = [
        "### Latency",
        "",
        f"Milliseconds for whole sequences of {parts[0]['steps']} steps, nine layers of twenty units, from arrays of",
        "the host to arrays of the host: median (95th, 99th percentile; noise: lowest to highest median of five parts",
        f"of the run), and how many times faster than `{BASELINE}`, which is eager torch with cuDNN on folded phases,",
        "in the same process.",
    ]
    for cell in dict.fromkeys(part["part"].split("/")[1] for part in parts):
        mine = [part for part in parts if part["part"].split("/")[1] == cell]
        batches = sorted({row["batch"] for part in mine for row in part["rows"]})
        lines += ["", f"| {cell.upper()} | {' | '.join(f'batch {batch}' for batch in batches)} |"]
        lines += [f"|---|{'---|' * len(batches)}"]
        first = {row["batch"]: row for row in mine[0]["rows"]}
        base = [_times(first[b]["milliseconds"][BASELINE]) if b in first else "-" for b in batches]
        lines.append(f"| {BASELINE} | {' | '.join(base)} |")
        for part in mine:
            way = part["part"].split("/")[2]
            for precision in dict.fromkeys(row["precision"] for row in part["rows"]):
                by_batch = {row["batch"]: row for row in part["rows"] if row["precision"] == precision}
                shown = [_beside(by_batch[b]["milliseconds"], way) if b in by_batch else "-" for b in batches]
                lines.append(f"| {way}, {precision} | {' | '.join(shown)} |")
    return lines


def _streams(parts: list[Row]) -> list[str]:
    lines = [
        "### Streams",
        "",
        "Milliseconds of a chunk through `Stream.push`, state carried, batch 1, and how many times faster that is than",
        "PyTorch's stream in the same process.",
        "",
        "| cell | runtime | a step | a chunk of 32 |",
        "|---|---|---|---|",
    ]
    for part in parts:
        _, cell, runtime = part["part"].split("/")
        by_form = {row["form"]: _beside(row["milliseconds"], runtime) for row in part["rows"]}
        lines.append(f"| {cell.upper()} | {runtime} | {by_form.get('step', '-')} | {by_form.get('chunk', '-')} |")
    return lines


def _graphs(parts: list[Row]) -> list[str]:
    lines = [
        "### CUDA graphs",
        "",
        "Milliseconds for the same sequences, kernel by kernel and as one recorded graph; the outputs were compared.",
        "",
        "| cell | what | batch | kernels | graph |",
        "|---|---|---|---|---|",
    ]
    for part in parts:
        _, cell, way = part["part"].split("/")
        for row in part["rows"]:
            times = row["milliseconds"]
            shown = f"{_times(times['kernels'])} | {_beside(times, 'graph')}"
            lines.append(f"| {cell.upper()} | {way} | {row['batch']} | {shown} |")
    return lines


def _others(parts: list[Row]) -> list[str]:
    """What was not ok; the same reason for several parts is one line."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        if part["status"] != "ok":
            by_reason.setdefault((part["status"], _line(part["reason"])), []).append(f"`{part['part']}`")
    if not by_reason:
        return []
    lines = ["### What failed, was refused or is missing", ""]
    return [*lines, *(f"- {status}: {', '.join(names)}: {why}" for (status, why), names in by_reason.items()), ""]


def _times(found: Row) -> str:
    noise = f"{found['noise_low']:.3g} to {found['noise_high']:.3g}"
    return f"{found['median']:.3g} ({found['p95']:.3g}, {found['p99']:.3g}; {noise})"


def _beside(times: Row, name: str) -> str:
    """The times of a way, with how many times faster it is than the first that was timed with it."""
    base = next(iter(times))
    return _times(times[name]) + ("" if base == name else f", {times[base]['median'] / times[name]['median']:.2g} x")


def _largest(values: Iterable[float | None]) -> float | None:
    """None where one is None, which stands for an output that is not finite or not there."""
    found = list(values)
    return None if None in found else max(value for value in found if value is not None)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _line(text: str) -> str:
    """A reason on one line that does not end a table's cell."""
    return " ".join(text.split()).replace("|", "/")

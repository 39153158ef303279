"""The tables of docs/gpu.md, each from the parts of one kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from benchmarks.gpu.plan import BASELINE, OVERRIDES
from drnn_models.cells import Cell

Result = dict[str, Any]
Row = dict[str, Any]
_WAYS = ("launched", "graph")


def parity(parts: list[Row]) -> list[str]:
    """A row for each network, runtime and precision."""
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


def kernel_parity(parts: list[Row]) -> list[str]:
    """A row for each cell, form and precision of the CUDA kernel."""
    lines = [
        "### The CUDA kernel: parity",
        "",
        "The paper's network against float64, eight sequences and repeats of them, which must be equal to the bit.",
        "",
        "| cell | form | precision | batches | largest error | in noise | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for part in parts:
        cell = part["part"].split("/")[1].upper()
        for key in dict.fromkeys((row["form"], row["pruned"], row["precision"]) for row in part["rows"]):
            rows = [row for row in part["rows"] if (row["form"], row["pruned"], row["precision"]) == key]
            bad = [str(row["batch"]) for row in rows if not row["passed"]]
            verdict = f"**failed**: batch {', '.join(bad)}" if bad else "passed"
            error, noise = (_largest(row[name] for row in rows) for name in ("error", "in_noise"))
            batches = ", ".join(f"{row['batch']:,}" for row in rows)
            form = f"{key[0]}, pruned" if key[1] else key[0]
            shown = f"{_number(error, '.1e')} | {_number(noise, '.2f')} | {verdict}"
            lines.append(f"| {cell} | {form} | {key[2]} | {batches} | {shown} |")
    return lines


def kernel_times(parts: list[Row]) -> list[str]:
    """A row for each cell, way and batch: times between two events of the GPU."""
    lines = [
        "### The CUDA kernel: time",
        "",
        "Microseconds of whole sequences between two events of the GPU, without copies: median (least). Cycles of a",
        "step are the least time, at the clock that `clock64` showed beside the GPU's timer, over the steps.",
        "",
        "| cell | what | batch | launched | as a graph | cycles a step |",
        "|---|---|---|---|---|---|",
    ]
    for part in parts:
        cell = part["part"].split("/")[1].upper()
        for row in part["rows"]:
            if "launched" in row:
                what = f"{row['what']}, pruned" if row.get("pruned") else row["what"]
                timed = [f"{row[way]['median']:.4g} ({row[way]['least']:.4g})" if way in row else "-" for way in _WAYS]
                cycles = _number(row.get("cycles_a_step"), ".0f")
                lines.append(f"| {cell} | {what} | {row['batch']:,} | {' | '.join(timed)} | {cycles} |")
    return lines


def rounding(parts: list[Row]) -> list[str]:
    """What TF32 does: a row for each network and runtime, a column for each switch and value of the variable."""
    settings = [(allowed, override) for allowed in (False, True) for override in OVERRIDES]
    shown = [f"{'on' if allowed else 'off'}, variable {override}" for allowed, override in settings]
    lines = [
        "### TF32",
        "",
        "The largest error over the golden data in units of what float32 does to the network, with the runtime's own",
        "switch off and on, and with NVIDIA_TF32_OVERRIDE at 0 and unset; up to 8 is float32.",
        "",
        f"| network | runtime | {' | '.join(shown)} |",
        f"|---|---|{'---|' * len(settings)}",
    ]
    named = dict.fromkeys(tuple(part["part"].split("/")[1:3]) for part in parts)
    for network, runtime in named:
        rows = {
            (row["allowed"], row["override"]): row
            for part in parts
            if part["part"].split("/")[1:3] == [network, runtime]
            for row in part["rows"]
        }
        cells = [_number(rows[key]["in_noise"], ".2f") if key in rows else "" for key in settings]
        lines.append(f"| {network} | {runtime} | {' | '.join(cells)} |")
    return lines


def engines(parts: list[Row]) -> list[str]:
    """A row for each engine that was built or refused."""
    lines = ["### Engines", "", "| network | builder | graph | build | size | kernels |", "|---|---|---|---|---|---|"]
    for part in parts:
        network = part["part"].split("/")[1]
        for row in part["engines"]:
            name = f"| {network} | {row['flavour']} | {row['graph']} |"
            if row["status"] != "ok":
                lines.append(f"{name} {row['status']}: {one_line(row['reason'])} | | |")
                continue
            kernels = "-" if row["kernels"] is None else row["kernels"]
            lines.append(f"{name} {row['build_seconds']:.1f} s | {row['engine_bytes'] / 1e6:.1f} MB | {kernels} |")
    return lines


def latency(parts: list[Row]) -> list[str]:
    """For each cell: a row for each way and precision, a column for each batch."""
    lines = [
        "### Latency",
        "",
        f"Milliseconds for whole sequences of {parts[0]['rows'][0]['steps']} steps, nine layers of twenty units, from",
        "arrays of the host to arrays of the host: median (95th, 99th percentile; noise: lowest to highest median of",
        f"five parts of the run), and how many times faster than `{BASELINE}`, which is eager torch with cuDNN on",
        "folded phases, in the same process. For layers of this size PyTorch has cuDNN take its persistent algorithm",
        "(RNN up to 384 units, LSTM and GRU up to 192), which keeps weights on the chip; ONNX Runtime's CUDA provider",
        "always takes the standard one. That can make it look ten times slower, and is no fault of the graph.",
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


def streams(parts: list[Row]) -> list[str]:
    """A row for each cell and runtime, a column for each form."""
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


def graphs(parts: list[Row]) -> list[str]:
    """A row for each network, way and batch."""
    lines = [
        "### CUDA graphs",
        "",
        "Milliseconds for whole sequences, kernel by kernel and as one recorded graph; the outputs were compared. In",
        "training: a step of it, forward, backward and the change of the weights; the losses were compared.",
        "",
        "| network | what | batch | kernels | graph |",
        "|---|---|---|---|---|",
    ]
    for part in parts:
        _, cell, way = part["part"].split("/")
        for row in part["rows"]:
            times = row["milliseconds"]
            shown = f"{_times(times['kernels'])} | {_beside(times, 'graph')}"
            lines.append(f"| {_network(cell)} | {way} | {row['batch']} | {shown} |")
    return lines


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


def _network(name: str) -> str:
    """A cell stands for the paper's network of it."""
    return name.upper() if name in get_args(Cell) else name


def one_line(text: str) -> str:
    """A reason on one line that does not end a table's cell."""
    return " ".join(text.split()).replace("|", "/")

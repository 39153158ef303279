"""docs/speed.md and its figures: everything in them comes from files of results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS
from benchmarks.networks import STANDARD, STEPS
from benchmarks.speed.growth import growth_section
from benchmarks.speed.pictures import write_pictures
from benchmarks.speed.results import load_groups
from benchmarks.speed.tables import (
    AHEAD,
    CELLS,
    OURS,
    Group,
    behind,
    cost_section,
    limit_section,
    not_timed,
    of_network,
    run_table,
    table,
)
from benchmarks.start_dilation import network
from drnn_core.files import replacing
from drnn_models.path_lengths import analyse


def write_page(folder: Path, path: Path) -> Path:
    """Write the page, and its figures in the folder `figures` beside it.

    Args:
        folder: Of the files of results.
        path: The page.
    """
    groups = load_groups(folder)
    pictures = write_pictures(groups, path.parent / "figures")
    with replacing(path) as temporary:
        temporary.write_text(page(groups, pictures), encoding="utf-8")
    return path


def page(groups: Mapping[str, Group], pictures: Sequence[str]) -> str:
    """The page as text.

    Args:
        groups: Name -> file of results.
        pictures: The names of figures that there are.
    """
    standard = {name: networks for name in STANDARD if (networks := of_network(groups, name))}
    parts = [
        "# Speed",
        _introduction(groups),
        *(f"![{name}](figures/{name}.svg)" for name in pictures if name == "speed-batch"),
        "## Whole sequences",
        "Microseconds for one run of a batch, its quartiles in brackets.",
        *(run_table(networks, "sequence", 1) for networks in standard.values()),
        "## Streams",
        "Microseconds for each time step of a stream, with its state carried: runtimes through `Stream.push` with all "
        "its checks, torch-eager and torch-compile through the module's `advance`. *skewed* graphs answer a step for "
        "each layer but the first late.",
        *(
            table
            for networks in standard.values()
            for form in ("step", "chunk")
            if (table := run_table(networks, form))
        ),
        "## How near the limit",
        limit_section(standard),
        "## To get ready, and memory",
        cost_section(standard),
        f"## Where `{OURS}` is less than {AHEAD:g} times as fast as the best other",
        "\n".join(behind(groups)) or "Nowhere.",
        growth_section(groups, [name for name in pictures if name == "speed-growth"]),
        "## Not timed",
        "\n".join(not_timed(groups)) or "Everybody was.",
        _graphs(),
        _training(),
        "## Everything else",
        "What every form, chunk length and emission costs, estimated and measured, and how long NVIDIA's compiler "
        "takes for it: [costs](costs.md), or `drnn-deploy plan model.pt`. Your own network: "
        "`drnn-deploy bench model.pt`.",
        "What was run on GPUs: [GPU](gpu.md).",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(groups: Mapping[str, Group]) -> str:
    written = (
        "Written by `make bench`; do not edit it. Results: one file for each network, in `benchmarks/results/speed`."
    )
    if not groups:
        return f"{written} Nothing is measured yet."
    (first, *_), machines = groups.values(), {json.dumps(group["machine"]) for group in groups.values()}
    machine, rows = first["machine"], [row for group in groups.values() for row in group["rows"]]
    names = ("onnxruntime-gpu", "onnxruntime", "openvino", "tract", "torch")
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in names if name in machine["versions"])
    noises = sorted(row["noise"] for row in rows if row["noise"] is not None)
    noise = ""
    if noises:
        noise = f" The fastest of a row, measured twice in it, differs from itself by {noises[len(noises) // 2]:.1%}"
        noise += f" in half of the rows, and by {noises[-1]:.1%} at most."
    unknown = [each for row in rows for each in row["contenders"] if each.get("verdict") == "not compared"]
    odd = f"; rounding drowns the outputs of {len(unknown):,} of them, which prove nothing" if unknown else ""
    others = f" ({len(machines)} machines or sets of versions: see the files.)" if len(machines) > 1 else ""
    return (
        f"{written}\n\nMeasured on {machine['processor']}, {machine['cores']} cores, {first['threads']} thread for "
        f"each contender, without a GPU; Python {machine['python']}, {versions}.{others} The contenders of a row "
        f"take turns in short bursts, each in a process of its own; each is compared with float64 first{odd}. Medians."
        f"{noise} Graphs have the words of files: *fused* is style `operator`, *skewed* `pipelined` "
        "([glossary](glossary.md))."
    )


def _graphs() -> str:
    kept = json.loads((RESULTS / "emission.json").read_text(encoding="utf-8"))["exporters"]
    traced = kept["torch.onnx.export"]
    lines = [
        [f"emitted, {name}", f"{kept[key]['median'] / 1e3:.2g} s", f"{kept[key]['nodes']:,}"]
        for name in ("fused", "unrolled")
        if (key := f"emitted, {name}") in kept
    ]
    seconds = f"{traced['seconds']:.1f} s" if "seconds" in traced else traced["failed"]
    lines.append(["`torch.onnx.export` of the module", seconds, f"{traced.get('nodes', 0):,}"])
    return (
        "## The graph\n\nTime to the ONNX graph of the pixel-MNIST network, GRU (`python -m benchmarks.emission`, "
        f"[results](../benchmarks/results/emission.json)):\n\n{table(('', 'Time', 'Nodes'), lines)}\n\n"
        "Unrolled graphs are for compilers; ONNX Runtime pays for each node."
    )


def _training() -> str:
    kept = json.loads((RESULTS / "training-step.json").read_text(encoding="utf-8"))
    told = {
        "unfolded": "each phase of a layer by itself",
        "full": "folded: all phases of a layer as one batch",
        "native full": "folded, through the compiled kernel",
        "pruned": "folded and pruned",
        "native": "folded and pruned, through the compiled kernel: what `drnn-deploy train` does on a CPU",
    }
    cells = kept["cells"]
    lines = [[text, *(f"{cells[cell][key]['median']:,.0f}" for cell in CELLS)] for key, text in told.items()]
    return (
        "## Training\n\nTraining gains from the same two ideas, fold and pruning: milliseconds of a training step, "
        f"batch 128, {_threads(kept)}, with the same losses (`python -m benchmarks.training_step`, "
        f"[results](../benchmarks/results/training-step.json)):\n\n{table(('', *map(str.upper, CELLS)), lines)}\n\n"
        f"{_first_dilations()}"
    )


def _threads(kept: dict[str, Any]) -> str:
    return f"{kept['threads']} thread{'s' if kept['threads'] > 1 else ''} of a machine with other work on other cores"


def _first_dilations() -> str:
    kept = json.loads((RESULTS / "start-dilation.json").read_text(encoding="utf-8"))
    firsts = sorted({int(name.split()[-1]) for name in kept["timings"]})
    told = {
        "full": "folded, which is what the paper's authors measured",
        "native full": "the same through the compiled kernel",
        "pruned": "folded and pruned",
        "native pruned": "the same through the compiled kernel",
    }
    lines = []
    for key, text in told.items():
        medians = [kept["timings"][f"{key} {first}"]["median"] for first in firsts]
        lines.append([text, *(f"{median:,.0f} ({median / medians[0]:.0%})".replace("%", " %") for median in medians)])
    cells = [analyse(network(first), STEPS).sequential_cells for first in firsts]
    shares = (f"{count:,} ({count / cells[0]:.0%})".replace("%", " %") for count in cells)
    lines.append(["cells that are computed one after the other, of either", *shares])
    heads = ("", *(f"first dilation {first}" for first in firsts))
    return (
        "A larger first dilation drops layers: milliseconds of a training step of LSTMs whose last dilation is 256, "
        f"{_threads(kept)}, and in brackets of the time of first dilation 1 in the same run "
        "(`python -m benchmarks.start_dilation`, [results](../benchmarks/results/start-dilation.json)):\n\n"
        f"{table(heads, lines)}\n\nThe paper halves the time with first dilation 2, as the cells "
        "one after the other do, which a GPU waits for (not measured here). A CPU computes all cells, and one layer of "
        "nine fewer is a ninth. Pruned, the layers with small dilations cost little in any case."
    )

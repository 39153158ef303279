"""`drnn-deploy inspect BUNDLE`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import json_option, make_console, progress, show_next, styled, write_json
from drnn_deploy.cli.values import BundleFolder

if TYPE_CHECKING:
    from drnn_runtimes.trt.sidecar import InsideKernel, Sidecar


@command()
@click.argument("bundle", type=BundleFolder())
@json_option
def inspect(bundle: Path, json_path: str | None) -> None:
    """Verify every file of a bundle against its manifest, read each of them, and show what is in it."""
    from drnn_deploy.reports.words import edge_words, network_words, plain_words
    from drnn_runtimes.bundle import Bundle
    from drnn_runtimes.bundle.graph_file import read_graph
    from drnn_runtimes.trt.sidecar import Sidecar

    console = make_console(json_path)
    opened = Bundle.open(bundle)
    with progress(console) as notify:
        for graph in opened.graphs:
            notify(f"reading {graph.file}")
            read_graph(opened.path(graph.file), opened.spec, graph)
    sidecars = {engine.file: Sidecar.read(opened.path(engine.sidecar)) for engine in opened.engines}
    facts = _facts(opened, {file: sidecar.kernel for file, sidecar in sidecars.items()})
    write_json(json_path, {"passed": True, **facts})
    spec = opened.spec
    console.print(f"network  {network_words(spec)}")
    console.print(f"         {edge_words(spec)}; {facts['parameters']:,} parameters")
    if opened.task:
        console.print(f"task     {plain_words(opened.task)}")
    for graph in opened.graphs:
        batch = "any" if graph.batch is None else graph.batch
        pruned = "pruned" if graph.pruned else "not pruned"
        console.print(
            f"graph    {graph.file}: {graph.name}, {graph.steps} steps, batch {batch}, {pruned}, {graph.precision}, "
            f"opset {graph.opset}, {graph.nodes:,} nodes{graph.remark}"
        )
    for engine in opened.engines:
        console.print(f"engine   {engine.file}: {engine.runtime}, of {engine.graph}{_inside(sidecars[engine.file])}")
    for kernel in opened.kernels:
        console.print(f"kernel   {kernel.file}: for compute capability {kernel.compute_capability}, {kernel.compiler}")
    if opened.native:
        console.print(f"native   {', '.join(opened.native)}")
    for case in opened.golden:
        shape = " x ".join(map(str, case.inputs.shape))
        line = f"golden   {case.name}: inputs {shape}, float32 rounding error {case.largest_noise:.1e}, {case.source}"
        console.print(line)
    console.print(f"made by  {', '.join(f'{name} {version}' for name, version in opened.versions.items())}")
    console.print(styled("intact", "green"), f"  {len(opened.files)} files have the sha256 that the manifest says")
    show_next(console, f"drnn-parity {shlex.quote(str(bundle))}")


def _inside(sidecar: Sidecar) -> str:
    """The kernel inside an engine, for people; "" where there is none."""
    kernel = sidecar.kernel
    if kernel is None:
        return ""
    capabilities = ", ".join(image.compute_capability for image in kernel.images)
    return f", with kernel {kernel.kernel} inside for compute capability {capabilities}"


def _facts(bundle: Any, inside: Mapping[str, InsideKernel | None]) -> dict[str, Any]:
    import dataclasses

    return {
        "spec": bundle.spec.to_json(),
        "parameters": sum(value.size for value in bundle.weights.values()),
        "task": bundle.task,
        "graphs": [dataclasses.asdict(graph) for graph in bundle.graphs],
        "engines": [
            {
                **dataclasses.asdict(engine),
                "kernel": None if (kernel := inside[engine.file]) is None else dataclasses.asdict(kernel),
            }
            for engine in bundle.engines
        ],
        "native": bundle.native,
        "kernels": [dataclasses.asdict(kernel) for kernel in bundle.kernels],
        "golden": [{"name": case.name, "noise": case.largest_noise, "source": case.source} for case in bundle.golden],
        "files": bundle.files,
        "versions": bundle.versions,
    }

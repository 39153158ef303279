"""`drnn-export model.pt`: the main command."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from drnn_core.errors import InputError, ParityError
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import (
    conclude,
    json_option,
    make_console,
    progress,
    show_parity,
    styled,
    write_json,
)
from drnn_deploy.cli.options import (
    device_options,
    engine_options,
    goal_options,
    graph_options,
    reference_minutes_option,
    take_controls,
    take_goal,
    take_tolerance,
    threads_option,
    tolerance_options,
)
from drnn_deploy.cli.values import RUNTIME, BatchSize, CheckpointFile, OutputFolder

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.exporter.engines import EngineResult
    from drnn_deploy.exporter.options import ExportOptions
    from drnn_deploy.exporter.pipeline import ExportResult
    from drnn_deploy.exporter.triton import Served
    from drnn_runtimes.trt.sidecar import Sidecar


@command()
@click.argument("model", type=CheckpointFile())
@click.option("--output", type=OutputFolder(), help="The bundle's folder. [default: NAME-bundle]")
@click.option("--length", type=click.IntRange(min=1), help="Time steps. [default: the checkpoint's task]")
@click.option("--batch", type=BatchSize(), default="1", show_default=True, help="Sequences at a time.")
@graph_options(
    emission="How it is written: an ONNX operator per layer, nodes for each step, or what suits each layer; blocked is "
    "for form sequence: loops over blocks of nodes for each step, which TensorRT compiles in seconds; pipelined is for "
    "form step: all layers as one product, the output late by one step for each layer but the first. Repeat for "
    "several. [default: as drnn-deploy plan recommends]",
    form="Whole sequences, or a few steps or one with the state going in and out; repeat for several. [default: "
    "sequence]",
    precision="Of matrix products; int8 rounds only the weights. Repeat for several graphs. [default: fp32]",
)
@click.option("--block", type=click.IntRange(min=2), help="Most steps of a block. [default: what is built in seconds]")
@click.option("--chunk", type=click.IntRange(min=1), help="Steps of form chunk. [default: 32]")
@click.option(
    "--ring/--no-ring",
    default=None,
    help="With state: keep long delay lines in ring buffers of the stream, or pass them whole. [default: what was "
    "measured faster]",
)
@goal_options
@click.option("--prune/--no-prune", default=True, show_default=True, help="Compute only what reaches the output.")
@click.option("--node-budget", type=click.IntRange(min=1), help="Most nodes of an unrolled graph. [default: 20000]")
@engine_options
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=RUNTIME,
    help="Check with this one, which must be usable. [default: all here]",
)
@device_options
@reference_minutes_option
@click.option("--quick", is_flag=True, help="Check on ONNX Runtime's CPU alone, which takes seconds.")
@click.option("--no-check", is_flag=True, help="Check on no runtime: drnn-parity does it later.")
@threads_option
@tolerance_options
@click.option(
    "--triton",
    metavar="DIR",
    type=OutputFolder(),
    help="Also write a model repository for NVIDIA's Triton server; needs --batch dynamic or MIN:OPT:MAX.",
)
@click.option(
    "--plugin",
    is_flag=True,
    help="Also write each graph with its layers as one node, which runs everywhere and becomes one kernel in TensorRT.",
)
@click.option(
    "--cuda-kernel",
    is_flag=True,
    help="Also compile the CUDA kernel, for each --compute-capability or the GPU here; needs NVRTC, no GPU.",
)
@click.option("--native", is_flag=True, help="Also write the network as C sources, into native/ of the bundle.")
@click.option("--native-name", metavar="NAME", help="What its names in C begin with. [default: NAME of NAME.pt]")
@click.option(
    "--native-target",
    "native_targets",
    metavar="TARGET",
    multiple=True,
    help="Also compile them for aarch64-linux-gnu (Jetson, Raspberry Pi), aarch64-linux-musl, x86_64-linux-gnu or "
    "x86_64-linux-musl.",
)
@click.option(
    "--native-precision",
    type=click.Choice(["fp32", "int8"]),
    help="Their weights: int8 takes a quarter of the memory, and --precision int8. [default: fp32]",
)
@json_option
def export(model: Path, output: Path | None, triton: Path | None, json_path: str | None, **options: Any) -> int:
    """Write the bundle of a trained network and check it on every runtime that is here.

    MODEL is a checkpoint, model.pt. The bundle holds the ONNX graph, a TensorRT engine where one can be built, golden
    data, the manifest and the parity report: everything a device needs, without PyTorch.
    """
    console = make_console(json_path)
    chosen = _options(options)
    chosen.refuse_ignored()  # before the import of PyTorch, which takes seconds
    if triton:
        from drnn_deploy.exporter.triton import check_options

        chosen = check_options(chosen, triton, model.stem)
    with progress(console) as notify:
        from drnn_deploy.exporter.pipeline import export as export_bundle
        from drnn_deploy.exporter.triton import write_repository

        result = export_bundle(model, output, chosen, notify=notify)
        served = write_repository(result.bundle, triton, model.stem) if triton and result.exit_code == 0 else None
    write_json(json_path, _as_json(result))
    _show(console, model, result)
    if triton:
        _show_served(console, triton, served, result)
    return result.exit_code


def _show_served(console: Console, repository: Path, served: Served | None, result: ExportResult) -> None:
    if served is None:
        console.print(f"triton  nothing was written there: {_reason(result)}")
        return
    for place in served.models:
        console.print(f"triton  {place}: tritonserver --model-repository {repository}")
    if served.removed:
        console.print(f"triton  {served.removed} was removed: it had an earlier engine, and this bundle has none")


def _options(given: dict[str, Any]) -> ExportOptions:
    from drnn_deploy.exporter.options import ExportOptions

    controls, goal, tolerance, check = take_controls(given), take_goal(given), take_tolerance(given), _take_check(given)
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    chosen["batch"] = given["batch"]  # None is a dynamic batch
    chosen["native"] = bool(
        given["native"] or given["native_name"] is not None or given["native_targets"] or given["native_precision"]
    )
    if isinstance(given["batch"], tuple):
        chosen |= {"batch": None, "profile": given["batch"]}
    if "none" in given["engines"]:
        if set(given["engines"]) != {"none"}:
            raise InputError("--engine none contradicts every other --engine", "Leave it or the others out.")
        chosen["engines"] = ()
    if goal:
        chosen["goal"] = goal
    return ExportOptions(**chosen, controls=controls, **dataclasses.asdict(tolerance), check=check)


def _take_check(given: dict[str, Any]) -> Literal["full", "quick", "none"]:
    quick, no_check = given.pop("quick"), given.pop("no_check")
    if quick and no_check:
        raise InputError("--quick and --no-check contradict each other", "Leave one of them out.")
    return "quick" if quick else "none" if no_check else "full"


def _as_json(result: ExportResult) -> dict[str, Any]:
    engines = [
        {
            "backend": engine.backend,
            "graph": engine.graph,
            "built": engine.sidecar is not None,
            "reason": engine.reason,
            "sidecar": dataclasses.asdict(engine.sidecar) if engine.sidecar else None,
        }
        for engine in result.engines
    ]
    return {
        "bundle": str(result.bundle.folder),
        "exit_code": result.exit_code,
        "engines": engines,
        "native": result.bundle.native,
        "kernels": [dataclasses.asdict(kernel) for kernel in result.bundle.kernels],
        **result.parity.to_json(),
        "passed": result.exit_code == 0,
    }


def _show(console: Console, model: Path, result: ExportResult) -> None:
    for graph in result.bundle.graphs:
        size = result.bundle.path(graph.file).stat().st_size
        console.print(f"graph   {graph.file}: {graph.name}, {graph.nodes:,} nodes, {size:,} bytes{graph.remark}")
    for engine in result.engines:
        _show_engine(console, engine)
    for kernel in result.bundle.kernels:
        size = result.bundle.path(kernel.file).stat().st_size
        console.print(f"kernel  {kernel.file}: for {kernel.compute_capability}, {kernel.compiler}, {size:,} bytes")
    for reason in result.kernels.reasons:
        console.print("kernel  not compiled:", reason)
    if result.native:
        console.print(f"native  native/{result.native.name}.h: {result.native.summary}")
    if result.checked:
        show_parity(console, result.parity)
    for note in result.parity.notes:
        console.print(f"note    {note}")
    code = f"(exit code {result.exit_code}) " if result.exit_code else ""
    reason = _reason(result)
    text = f"{code}{model} -> {result.bundle.folder}{f': {reason}' if reason else ''}"
    passed = result.exit_code == 0
    conclude(console, None if passed and not result.checked else passed, text, then=_next(result))


def _reason(result: ExportResult) -> str:
    """What failed, or that nothing was checked; "" where all is well."""
    from drnn_deploy.reports.text import why_failed

    if result.checked and result.parity.exit_code:
        return why_failed(result.parity)
    missing = (f"no {e.backend} engine of {e.graph}: {e.reason}" for e in result.engines if e.failed)
    return next(missing, "" if result.checked else "not checked")


def _next(result: ExportResult) -> str:
    """What to type now."""
    folder = shlex.quote(str(result.bundle.folder))
    if result.exit_code == ParityError.exit_code:
        return f"to see which layer and operator is wrong: drnn-parity {folder} --explain"
    if result.exit_code:
        fixes = (engine.fix for engine in result.engines if engine.failed and engine.fix)
        return next(fixes, "to see what is missing here: drnn-deploy doctor")
    if not result.checked:
        return f"to check it on every runtime: drnn-parity {folder}"
    return f"on the device: drnn-parity {folder}; how fast it is: drnn-deploy bench {folder}"


def _show_engine(console: Console, engine: EngineResult) -> None:
    """A line on an engine or why there is none, and the command line that builds the same."""
    if engine.sidecar is None:
        verb = styled("failed:", "red") if engine.failed else "not built:"
        console.print(f"engine  {engine.graph}: {engine.backend}", verb, f"{engine.reason} {engine.fix}".rstrip())
        return
    sidecar = engine.sidecar
    targets = ", ".join(f"SM{name.replace('.', '')}" for name in sidecar.compute_capabilities)
    console.print(
        f"engine  {engine.graph}: {engine.backend} {sidecar.version} for {targets}, "
        f"{sidecar.engine_bytes:,} bytes{_kernels(sidecar)}, {_built(sidecar)}"
    )
    console.print(f"        {sidecar.command}")


def _kernels(sidecar: Sidecar) -> str:
    if sidecar.kernels is None:
        return ""
    loops = f" with {sidecar.loops} loops" if sidecar.loops else ""
    return f", {sidecar.kernels:,} kernels{loops}"


def _built(sidecar: Sidecar) -> str:
    return f"built in {sidecar.build_seconds:.1f} s" if sidecar.build_seconds else "from the cache"

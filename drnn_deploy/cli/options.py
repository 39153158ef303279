"""The options of TensorRT's builder, and how an engine that was built is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.exporter.pipeline import EngineResult
    from drnn_export.engine.config import BuildControls
    from drnn_runtimes.trt.sidecar import Sidecar

_CONTROLS = ("tf32", "workspace_mib", "optimization_level", "version_compatible", "hardware", "timing_cache")


def engine_options(command: Any) -> Any:
    """Which engines are built, for which GPUs, and how."""
    options = (
        click.option(
            "--engine",
            "engines",
            multiple=True,
            help="Build with tensorrt or tensorrt-rtx, or with none. [default: the one that can build here]",
        ),
        click.option(
            "--compute-capability",
            "compute_capabilities",
            multiple=True,
            metavar="8.6",
            help="Build ahead of time for this GPU generation; repeat for several.",
        ),
        click.option(
            "--engine-seconds",
            type=click.FloatRange(min=0, min_open=True),
            help="Longest build of an engine; one that is estimated to take longer is not begun. [default: 300]",
        ),
        click.option(
            "--engine-cache/--no-engine-cache",
            default=True,
            show_default=True,
            help="Take engines that were built before.",
        ),
        click.option(
            "--tf32/--no-tf32",
            default=False,
            show_default=True,
            help="Let the GPU round float32 products to TF32, which is faster and which parity takes for an error.",
        ),
        click.option(
            "--workspace",
            "workspace_mib",
            metavar="MIB",
            type=click.IntRange(min=1),
            help="Scratch memory of an engine at most. [default: all of the GPU's]",
        ),
        click.option(
            "--optimization-level",
            type=click.IntRange(0, 5),
            help="From 0, the shortest build, to 5. [default: NVIDIA's]",
        ),
        click.option(
            "--version-compatible",
            is_flag=True,
            help="Engines that later TensorRTs of the same major version load too.",
        ),
        click.option(
            "--hardware",
            type=click.Choice(["this", "ampere+", "same-compute-capability"]),
            default="this",
            show_default=True,
            help="Engines of the full TensorRT that other GPUs load too.",
        ),
        click.option(
            "--timing-cache",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Timings of kernels, read and written, so that the full TensorRT builds faster next time.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def take_controls(given: dict[str, Any]) -> BuildControls:
    """Take the builder's options out of a command's."""
    from drnn_export.engine.config import BuildControls

    return BuildControls(**{name: given.pop(name) for name in _CONTROLS})


def show_engine(console: Console, engine: EngineResult) -> None:
    """A line on an engine or why there is none, and the command line that builds the same."""
    from rich.markup import escape

    if engine.sidecar is None:
        verb = "[red]failed[/]" if engine.failed else "not built"
        reason = escape(f"{engine.reason} {engine.fix}".rstrip())
        console.print(f"engine  {engine.graph}: {engine.backend} {verb}: {reason}")
        return
    sidecar = engine.sidecar
    targets = ", ".join(f"SM{name.replace('.', '')}" for name in sidecar.compute_capabilities)
    console.print(
        f"engine  {engine.graph}: {engine.backend} {sidecar.version} for {targets}, "
        f"{sidecar.engine_bytes:,} bytes{_kernels(sidecar)}, {_built(sidecar)}"
    )
    console.print(f"        {sidecar.command}", markup=False)


def _kernels(sidecar: Sidecar) -> str:
    if sidecar.kernels is None:
        return ""
    loops = f" with {sidecar.loops} loops" if sidecar.loops else ""
    return f", {sidecar.kernels:,} kernels{loops}"


def _built(sidecar: Sidecar) -> str:
    return f"built in {sidecar.build_seconds:.1f} s" if sidecar.build_seconds else "from the cache"

"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, get_args

import click

from drnn_core.errors import InputError
from drnn_core.types import Emission, Form, Precision, emission_of, style_of
from drnn_deploy.cli.command import KEPT
from drnn_deploy.cli.values import POSITIVE, THREADS, ComputeCapability, Name, OutputFile

if TYPE_CHECKING:
    from drnn_deploy.parity.tolerance import Tolerance
    from drnn_deploy.planner.candidates import Goal
    from drnn_export.engine.config import BuildControls

_TARGETS = ("onnxruntime-cpu", "onnxruntime-cuda", "tensorrt", "native", "cuda-kernel")
_GRAPH_CHOICES = {"form": get_args(Form), "precision": get_args(Precision)}
_CONTROLS = ("tf32", "workspace_mib", "optimization_level", "version_compatible", "hardware", "timing_cache")


def reference_minutes_option(command: Any) -> Any:
    """Add `--reference-minutes`."""
    return click.option(
        "--reference-minutes",
        type=POSITIVE,
        help="Longest time for the float64 reference; what is estimated to take longer is refused. [default: 30]",
    )(command)


def graph_options(**helps: str) -> Callable[[Any], Any]:
    """Add `--form`, `--style` and `--precision`, each of which may be repeated.

    Args:
        **helps: "form", "emission" or "precision" -> the help, in the order of the command's own.
    """
    options = [
        click.option("--style", "--emission", "emissions", cls=_Renamed, multiple=True, type=GraphStyle(), help=text)
        if name == "emission"
        else click.option(f"--{name}", f"{name}s", multiple=True, type=click.Choice(_GRAPH_CHOICES[name]), help=text)
        for name, text in helps.items()
    ]
    return lambda command: _with(options, command)


def device_options(command: Any) -> Any:
    """Add the options that say which GPU the runtimes use and whether a bundle's code for it is run."""
    options = (
        click.option(
            "--device",
            type=click.IntRange(min=0),
            metavar="N",
            expose_value=False,
            callback=_use_device,
            help="The GPU of every GPU runtime, as nvidia-smi numbers them. [default: the first]",
        ),
        click.option(
            "--trust-images",
            is_flag=True,
            expose_value=False,
            callback=_trust_images,
            help="Let cuda-kernel run the images that a bundle ships, which are code; without it, it compiles its own.",
        ),
    )
    return _with(options, command)


threads_option = click.option("--threads", type=THREADS, help="Of each runtime that has a setting for that.")


def _use_device(ctx: click.Context, param: click.Parameter, value: int | None) -> None:
    if value is not None:
        from drnn_core.gpu import only_gpu

        ctx.meta.setdefault(KEPT, {})[param.name] = value
        ctx.with_resource(only_gpu(value))


def _trust_images(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from drnn_core.variables import setting_variables
        from drnn_runtimes.cuda_kernel.trust import TRUST

        ctx.meta.setdefault(KEPT, {})[param.name] = value
        ctx.with_resource(setting_variables({TRUST: "1"}))


class GraphStyle(click.Choice[str]):
    """How a graph is written, in the glossary's words; the words of files are taken, too, and are what comes out."""

    def __init__(self) -> None:
        super().__init__([style_of(name) for name in get_args(Emission)])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a style.

        Args:
            value: What was typed.
            param: The option, for messages.
            ctx: The command, for messages.

        Returns:
            The word that files have.

        Raises:
            click.BadParameter: There is no such style.
        """
        return emission_of(super().convert(style_of(value), param, ctx))


class _Renamed(click.Option):
    """An option whose later names are former ones, which work and are not shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """See click.Option."""
        names, self.opts = self.opts, self.opts[:1]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = names


def goal_options(command: Any) -> Any:
    """Add the options that say where a graph will run and what to optimise."""
    options = (
        click.option(
            "--target", type=click.Choice(_TARGETS), help="Where the graph will run. [default: onnxruntime-cpu]"
        ),
        click.option("--latency", is_flag=True, help="A stream whose answers come early."),
        click.option("--throughput", is_flag=True, help="A stream that costs little per step."),
        click.option("--rate", type=POSITIVE, help="Samples a second of the stream. [default: the checkpoint's task]"),
    )
    return _with(options, command)


def take_goal(given: dict[str, Any]) -> Goal | None:
    """Take the options of a goal out of a command's.

    Args:
        given: The command's values, by name.

    Raises:
        InputError: Both goals are asked for.
    """
    latency, throughput = given.pop("latency"), given.pop("throughput")
    if latency and throughput:
        raise InputError("--latency and --throughput are two goals, and a graph is chosen for one", "Leave one out.")
    return "latency" if latency else "throughput" if throughput else None


def tolerance_options(command: Any) -> Any:
    """Add `--max-noise`, `--atol` and `--rtol`."""
    options = (
        click.option("--max-noise", type=float, help="Largest error to pass, in units of float32 noise. [default: 8]"),
        click.option("--atol", type=float, help="Largest absolute error to pass, whatever the noise."),
        click.option("--rtol", type=float, help="Added to it: a share of the largest |output|."),
    )
    return _with(options, command)


def take_tolerance(given: dict[str, Any]) -> Tolerance:
    """Take the options of a tolerance out of a command's.

    Args:
        given: The command's values, by name.

    Raises:
        InputError: They contradict each other, or let nothing pass.
    """
    from drnn_deploy.parity.tolerance import NOISE_MULTIPLE, Tolerance

    noise, atol, rtol = (given.pop(name) for name in ("max_noise", "atol", "rtol"))
    if noise is not None and (atol is not None or rtol is not None):
        raise InputError("--max-noise and --atol or --rtol are two ways to say the same", "Leave one of them out.")
    return Tolerance(NOISE_MULTIPLE if noise is None else noise, atol, rtol)


def _builders() -> list[str]:
    from drnn_export.engine.build import BACKENDS

    return list(BACKENDS)


def engine_options(command: Any) -> Any:
    """Add the options that say which engines are built, for which GPUs, and how."""
    options = (
        click.option(
            "--engine",
            "engines",
            multiple=True,
            type=Name("engine builder", _builders, "none"),
            help="Build with tensorrt or tensorrt-rtx, or with none. [default: the one that can build here]",
        ),
        click.option(
            "--compute-capability",
            "compute_capabilities",
            multiple=True,
            type=ComputeCapability(),
            help="Build ahead of time for this GPU generation; repeat for several.",
        ),
        click.option(
            "--engine-seconds",
            type=POSITIVE,
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
            type=OutputFile(),
            help="Timings of kernels, read and written, so that the full TensorRT builds faster next time.",
        ),
    )
    return _with(options, command)


def take_controls(given: dict[str, Any]) -> BuildControls:
    """Take the builder's options out of a command's."""
    from drnn_export.engine.config import BuildControls

    return BuildControls(**{name: given.pop(name) for name in _CONTROLS})


def _with(options: Iterable[Callable[[Any], Any]], command: Any) -> Any:
    """The command with these options in front of those that it has."""
    for option in reversed(list(options)):
        command = option(command)
    return command

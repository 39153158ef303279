"""What an export is asked for, and the graphs that this means for a checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast, get_args

from drnn_core.arguments import checked_fields
from drnn_core.errors import InputError, refuse_ignored
from drnn_core.text import choose_from
from drnn_core.types import PRECISIONS, Emission, Form, Precision, emission_of, style_of
from drnn_deploy.parity.known_answers import REFERENCE_MINUTES
from drnn_deploy.parity.tolerance import DEFAULT, NOISE_MULTIPLE, Tolerance
from drnn_deploy.planner.candidates import PROFILE, Goal, PlanTarget, rings_are_faster, with_block
from drnn_deploy.planner.limits import check_size
from drnn_deploy.planner.plan import cheapest_emission, plan_checkpoint, refuse_ignored_rate, task_length
from drnn_export.emitter.emit import NODE_BUDGET
from drnn_export.emitter.request import WRITTEN_OUT, GraphRequest
from drnn_export.engine.config import BuildControls
from drnn_models.spec import ModelSpec

if TYPE_CHECKING:
    from drnn_models.checkpoint import Checkpoint

CHUNK = 32
WITHOUT_RINGS = ("skewed", "plugin")  # emissions with whole delay lines
FORM_OF = {"skewed": "step", "blocked": "sequence"}  # emission -> the only form that it has
PLAN_TARGET: PlanTarget = "onnxruntime-cpu"
ENGINE_SECONDS = 300.0


@checked_fields
@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What goes into a bundle. None: decided from the checkpoint, the planner's estimates and this machine.

    Attributes:
        length: The time steps of whole sequences.
        forms: `sequence`: whole sequences. `chunk`: pieces of `chunk` steps with state. `step`: one step with state.
        chunk: The time steps of form chunk.
        ring: Whether long delay lines stay with the stream. None: where that is faster.
        batch: Sequences at a time; None for a dynamic batch axis.
        profile: The smallest, usual and largest size of a dynamic batch.
        emissions: How the graphs are written, in the words of `--style` or of files (docs/glossary.md).
        block: The most unrolled steps of a block (emission `blocked`). None: as many as an engine is built fast for.
        precisions: The precisions of the graphs' products.
        target: Where the graphs will run, for the planner (`drnn_deploy.planner.plan`).
        goal: What the planner optimises. A goal of streams also decides the form.
        rate: Samples a second of a stream, for the planner.
        prune: Whether to compute only what reaches the output.
        node_budget: The most nodes of a graph of style `unrolled` or `blocked`.
        engines: The TensorRT flavours to build with. None: the one that can build here.
        compute_capabilities: The GPU generations to build for ahead of time.
        engine_seconds: The longest build. One that is estimated to take longer is not begun.
        engine_cache: Whether engines that were built before are taken again.
        controls: The settings of TensorRT's builder.
        runtimes: The runtimes to check with, each of which must be usable. None: all that are usable here.
        check: `full`: on every runtime. `quick`: on ONNX Runtime's CPU alone. `none`: not at all.
        noise_multiple: The largest error that passes, in units of noise.
        atol: The largest absolute error that passes, in place of the noise; see `drnn_deploy.parity.tolerance`.
        rtol: What is added to it, as a share of the largest |output|.
        reference_minutes: The longest that the float64 reference may take. More is refused beforehand.
        threads: Of each runtime to check with that has a setting for that. None: its own.
        plugin: Whether graphs for a plugin of TensorRT (emission `plugin`) are written beside the others.
        cuda_kernel: Whether images of the CUDA kernel are written, for `compute_capabilities` or this machine's GPU.
        native: Whether the network is also written as C, into the folder `native`.
        native_name: What its names in C begin with. None: the name of the checkpoint's file.
        native_targets: The systems to compile that for.
        native_precision: Of the weights in C, fp32 or int8.
    """

    length: int | None = None
    forms: tuple[str, ...] | None = None
    chunk: int | None = None
    ring: bool | None = None
    batch: int | None = 1
    profile: tuple[int, int, int] = PROFILE
    emissions: tuple[str, ...] | None = None
    block: int | None = None
    precisions: tuple[str, ...] = ("fp32",)
    target: PlanTarget = PLAN_TARGET
    goal: Goal = "sequence"
    rate: float | None = None
    prune: bool = True
    node_budget: int = NODE_BUDGET
    engines: tuple[str, ...] | None = None
    compute_capabilities: tuple[str, ...] = ()
    engine_seconds: float = ENGINE_SECONDS
    engine_cache: bool = True
    controls: BuildControls = dataclasses.field(default_factory=BuildControls)
    runtimes: tuple[str, ...] | None = None
    check: Literal["full", "quick", "none"] = "full"
    noise_multiple: float = NOISE_MULTIPLE
    atol: float | None = None
    rtol: float | None = None
    reference_minutes: float = REFERENCE_MINUTES
    threads: int | None = None
    plugin: bool = False
    cuda_kernel: bool = False
    native: bool = False
    native_name: str | None = None
    native_targets: tuple[str, ...] = ()
    native_precision: Literal["fp32", "int8"] = "fp32"

    def __post_init__(self) -> None:
        for name in ("length", "chunk", "batch", "rate", "node_budget", "engine_seconds", "reference_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be more than 0, got {value}", f"Leave {name} out for the usual.")
        if self.emissions is not None:
            object.__setattr__(self, "emissions", tuple(map(emission_of, self.emissions)))

    @property
    def tolerance(self) -> Tolerance:
        """Which errors pass.

        Raises:
            InputError: None, or a value means nothing.
        """
        return Tolerance(self.noise_multiple, self.atol, self.rtol)

    def refuse_ignored(self) -> None:
        """Refuse what would have no effect, in place of ignoring it.

        Raises:
            InputError: With the option, and what it needs.
        """
        streams, forms = self.goal != "sequence", self.forms or ("sequence",)
        for name, values, known in (("form", forms, Form), ("emission", self.emissions or (), Emission)):
            if unknown := [value for value in values if value not in get_args(known)]:
                raise InputError(f"there is no {name} {unknown[0]!r}", choose_from(unknown[0], get_args(known)))
        whole = "sequence" in forms and not streams
        stated = streams or bool(set(forms) - {"sequence"})
        rings = stated and not set(self.emissions or ("fused",)) <= set(WITHOUT_RINGS)
        planned = streams or self.emissions is None
        written = {*WRITTEN_OUT} & {*(self.emissions or ())}
        of_native = self.native_name or self.native_targets or self.native_precision != "fp32"
        unchecked, untold = self.check == "none" or self.runtimes == (), self.check == "none" and not self.native
        refuse_ignored_rate(self.rate, self.target, self.goal)
        refuse_ignored(
            (self.length is not None and not whole, "--length", "--form sequence"),
            (not self.prune and not whole, "--no-prune", "--form sequence"),
            (self.chunk is not None and "chunk" not in forms and not streams, "--chunk", "--form chunk"),
            (self.ring is False and not stated, "--no-ring", "--form chunk or --form step"),
            (
                self.ring and not rings,
                "--ring",
                "--form chunk or --form step, of another style than pipelined and plugin",
            ),
            (self.block is not None and "blocked" not in (self.emissions or ()), "--block", "--style blocked"),
            (self.profile != PROFILE and self.batch is not None, "the profile of a batch", "a dynamic batch"),
            (self.target != PLAN_TARGET and not planned, "--target", "no --style, or --latency or --throughput"),
            (
                self.node_budget != NODE_BUDGET and not planned and not written,
                "--node-budget",
                "--style unrolled, blocked or none",
            ),
            *((given and self.engines == (), name, "an engine: not --engine none") for name, given in self.for_engines),
            (self.check != "full" and self.runtimes is not None, "--runtime", "no --quick and no --no-check"),
            (unchecked and self.threads is not None, "--threads", "a check: not --no-check"),
            (untold and self.tolerance != DEFAULT, "a tolerance", "a check: not --no-check"),
            (of_native and not self.native, "a setting of the network in C", "--native"),
        )

    @property
    def for_engines(self) -> tuple[tuple[str, bool], ...]:
        """What only matters where engines are built, by the names of its options, and whether it was given."""
        usual, controls = vars(BuildControls()), vars(self.controls)
        changed = [name.removesuffix("_mib").replace("_", "-") for name in controls if controls[name] != usual[name]]
        return (
            ("--compute-capability", bool(self.compute_capabilities) and not self.cuda_kernel),
            ("--engine-seconds", self.engine_seconds != ENGINE_SECONDS),
            ("--no-engine-cache", not self.engine_cache),
            *((f"--{name}", True) for name in changed),
        )


def graph_requests(checkpoint: Checkpoint, options: ExportOptions) -> list[GraphRequest]:
    """Decide which graphs to emit: what the options say, and where they leave it open, what the planner recommends.

    Args:
        checkpoint: The network.
        options: What is asked for.

    Returns:
        A request for each form, emission and precision, in this order; those for the plugin come last.

    Raises:
        InputError: The options contradict each other or the checkpoint, or this machine lacks the memory.
    """
    if not 1 <= options.profile[0] <= options.profile[1] <= options.profile[2]:
        raise InputError(f"a batch's sizes must be smallest <= usual <= largest, from 1 up, got {options.profile}")
    options = _with_goal(checkpoint, options)
    forms = options.forms or ("sequence",)
    lengths: dict[str, int] = {"chunk": options.chunk or CHUNK, "step": 1}
    if "sequence" in forms:
        lengths["sequence"] = _length(checkpoint, options)
    for form, steps in lengths.items():
        if form in forms:
            check_size(checkpoint.dilated, cast(Form, form), steps, options.batch or options.profile[2])
    styles = None if options.emissions is None else tuple(map(style_of, options.emissions))
    for name, chosen in (("form", forms), ("style", styles), ("precision", options.precisions)):
        if chosen is not None and (not chosen or len(set(chosen)) != len(chosen)):
            raise InputError(f"name each {name} once, got {', '.join(chosen) or 'none'}")
    for emission, only in FORM_OF.items():
        if emission in (options.emissions or ()) and only not in forms:
            what = f"style {style_of(emission)} is for form {only}, not {' and '.join(forms)}"
            goal = f"Leave --{options.goal} or the style out."
            raise InputError(what, f"Add --form {only}." if options.goal == "sequence" else goal)
    asked: list[tuple[str | None, tuple[str, ...]]] = [(e, options.precisions) for e in options.emissions or (None,)]
    if options.plugin and "plugin" not in (options.emissions or ()):
        asked.append(("plugin", _plugin_precisions(options.precisions)))
    requests = [
        (_request(checkpoint.dilated, options, form, lengths.get(form, 1), emission, precision), emission)
        for form in forms
        for emission, precisions in asked
        for precision in precisions
        if FORM_OF.get(emission or "", form) == form
    ]
    return [request for request, _ in sorted(requests, key=lambda pair: pair[1] == "plugin")]


def _plugin_precisions(precisions: tuple[str, ...]) -> tuple[str, ...]:
    """Those of them that the plugin has.

    Raises:
        InputError: There is none.
    """
    having = tuple(name for name in precisions if "plugin" not in _refused(name))
    if not having:
        raise InputError(*_refused(precisions[0])["plugin"])
    return having


def _with_goal(checkpoint: Checkpoint, options: ExportOptions) -> ExportOptions:
    """The options with form and chunk decided for a goal of streams."""
    if options.goal == "sequence":
        return options
    if options.forms or options.chunk:
        what = "the form and chunk" if options.chunk else "the form"
        raise InputError(f"--{options.goal} chooses {what}", "Leave --form and --chunk out, or leave that out.")
    plan = plan_checkpoint(
        checkpoint,
        target=options.target,
        goal=options.goal,
        length=options.length,
        rate=options.rate,
        batch=options.batch,
        node_budget=options.node_budget,
    )
    chosen, emissions = plan.chosen.request, options.emissions
    if emissions is None and not any(chosen.emission in _refused(precision) for precision in options.precisions):
        emissions = (chosen.emission,)
    return dataclasses.replace(options, forms=(chosen.form,), chunk=chosen.steps, emissions=emissions)


def _length(checkpoint: Checkpoint, options: ExportOptions) -> int:
    length = options.length or task_length(checkpoint)
    if length is None:
        raise InputError(
            "the checkpoint does not say how long its sequences are", "Add --length STEPS, in Python length=STEPS."
        )
    return length


def _request(
    spec: ModelSpec, options: ExportOptions, form: str, steps: int, emission: str | None, precision: str
) -> GraphRequest:
    ring = rings_are_faster(spec) if options.ring is None else options.ring
    request = GraphRequest(
        steps,
        options.batch,
        emission or _first_emission(precision),  # type: ignore[arg-type]  # checked there
        prune=options.prune and form == "sequence",
        form=form,  # type: ignore[arg-type]
        ring=form != "sequence" and emission not in WITHOUT_RINGS and ring,
        precision=precision,  # type: ignore[arg-type]
        block=options.block if emission == "blocked" else None,
    )
    if emission:
        return request if options.block is not None else with_block(spec, request)
    return cheapest_emission(spec, request, options.target, options.node_budget)


def _first_emission(precision: str) -> Emission:
    """The first emission that a precision has; `GraphRequest` refuses a precision that there is not."""
    return next(emission for emission in get_args(Emission) if emission not in _refused(precision))


def _refused(precision: str) -> Mapping[Emission, tuple[str, str]]:
    """Emission -> why a precision has no such graph; nothing of a precision that there is not."""
    return PRECISIONS.get(cast(Precision, precision), PRECISIONS["fp32"]).refused

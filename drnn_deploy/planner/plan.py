"""Which graph of a network suits a target: candidates with their cost, and one recommendation.

The cost of a run is an estimated time: of the graph on ONNX Runtime's CPU (`drnn_deploy.planner.cost_model`), or of the
compiled kernel, which runs the weights however the graph is written (`drnn_deploy.planner.native_cost`). No GPU has
been measured: there a run is counted in what a small network on a GPU spends its time on, in ONNX Runtime nodes that
are launched, in a TensorRT engine kernels that wait for each other: one for each cell evaluation, as its builder lists
them. The CUDA kernel is launched once a run, and steps wait for each other inside of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, get_args

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError, refuse_ignored
from drnn_core.text import choose_from
from drnn_core.types import PRECISIONS, Emission, Form, Precision
from drnn_deploy.planner.cost_model import Costs, Workload, load_costs, workload
from drnn_deploy.planner.limits import check_memory, check_steps
from drnn_deploy.planner.native_cost import native_microseconds
from drnn_export.emitter.emit import NODE_BUDGET
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import ModelSpec
from drnn_runtimes.cuda_kernel.plan import SHARED_MEMORY, KernelOptions
from drnn_runtimes.cuda_kernel.planner import plan_kernel

if TYPE_CHECKING:
    from drnn_models.checkpoint import AnyModel, Checkpoint

PlanTarget = Literal["onnxruntime-cpu", "onnxruntime-cuda", "tensorrt", "native", "cuda-kernel"]
Goal = Literal["sequence", "latency", "throughput"]
UNITS: dict[PlanTarget, str] = {
    "onnxruntime-cpu": "us",
    "onnxruntime-cuda": "nodes",
    "tensorrt": "kernels",
    "native": "us",
    "cuda-kernel": "steps",
}
RUN_WEIGHTS: tuple[PlanTarget, ...] = ("native", "cuda-kernel")  # however a graph is written
_LAUNCH_STEPS = 10.0  # what starting the CUDA kernel costs, 2 to 5 us, in its steps of 0.2 to 0.5 us: both estimated
CHUNKS = (2, 4, 8, 16, 32, 64, 128, 256)
BUILD_SECONDS = 120.0  # an engine that takes longer is not recommended
BLOCKS = (64, 32, 16, 8, 4)  # most steps of a block: more take longer to build, fewer make more trips
BLOCK_SECONDS = 6.0  # to build an engine of the longest blocks that are chosen


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One graph that could be exported.

    Attributes:
        request: What to emit.
        work: What one run does.
        cost: The cost of a run, in the target's unit (`UNITS`).
        wait: The time steps for which a sample waits until the run that answers it.
        build_seconds: The time to build a TensorRT engine for one compute capability.
        engine_bytes: The size of that engine.
    """

    request: GraphRequest
    work: Workload
    cost: float
    wait: int
    build_seconds: float
    engine_bytes: float

    @property
    def name(self) -> str:
        """As in tables and `Bundle.graph`."""
        return self.request.name

    @property
    def cost_per_step(self) -> float:
        """The cost of one time step of one sequence."""
        return self.cost / self.request.steps / (self.request.batch or 1)

    def latency(self, rate: float) -> float:
        """The time from a sample to its output, for a cost in microseconds.

        Args:
            rate: Samples a second.

        Returns:
            Microseconds; infinite where the graph cannot keep up.
        """
        period = 1e6 / rate
        return self.wait * period + self.cost if self.cost <= self.request.steps * period else float("inf")


@dataclasses.dataclass(frozen=True)
class Plan:
    """All candidates for a target and goal, the recommended one, and why it is."""

    target: PlanTarget
    goal: Goal
    candidates: tuple[Candidate, ...]
    chosen: Candidate
    reason: str


def make_plan(
    spec: ModelSpec,
    target: PlanTarget,
    goal: Goal,
    *,
    length: int | None = None,
    rate: float | None = None,
    batch: int | None = 1,
    node_budget: int = NODE_BUDGET,
) -> Plan:
    """Compare graphs for a target and recommend one.

    Args:
        spec: The network.
        target: Where the graph will run.
        goal: `sequence`: whole sequences in the least time. `latency`: the earliest answer to every sample of a stream.
            `throughput`: the least time per step of a stream.
        length: The time steps of a sequence; the goal `sequence` needs them.
        rate: Samples a second of the stream, where known.
        batch: Sequences at a time; None for a dynamic batch.
        node_budget: The most nodes of an unrolled graph.

    Returns:
        All candidates and the recommended one.

    Raises:
        InputError: The target or goal is unknown, the length is missing, it or the batch is too large, the rate is not
            a positive number, no graph stays within the limits, or the CUDA kernel cannot compute the network.
    """
    for name, value, known in (("target", target, get_args(PlanTarget)), ("goal", goal, get_args(Goal))):
        if value not in known:
            raise InputError(f"there is no {name} {value!r}", choose_from(value, known))
    if rate is not None and not 0 < rate < float("inf"):
        raise InputError(f"the rate must be a positive number of samples a second, got {rate}")
    check_steps(spec, max(length or 1, *CHUNKS))
    check_memory(spec, "step", 1, batch or 1)
    if target == "cuda-kernel":
        plan_kernel(spec, KernelOptions(shared_memory=max(SHARED_MEMORY.values())))  # or says why it cannot
    costs = load_costs(spec.cell)
    requests = [*_sequences(spec, target, goal, length, batch), *_streams(spec, target, batch)]
    candidates = [c for c in (_candidate(spec, request, target, costs) for request in requests) if not _is_duplicate(c)]
    allowed = [c for c in candidates if _is_allowed(c, spec, target, goal, node_budget)]
    if not allowed:
        raise InputError(
            f"no graph of this network stays within {node_budget:,} nodes and {BUILD_SECONDS:g} s of building",
            "Give a larger --node-budget, or choose with --form and --style.",
        )
    chosen = min(allowed, key=lambda c: _sort_key(c, target, goal, rate))
    return Plan(target, goal, tuple(candidates), chosen, _reason(chosen, target, goal, rate))


def refuse_ignored_rate(rate: float | None, target: PlanTarget, goal: Goal) -> None:
    """Refuse a rate that no choice would depend on.

    Args:
        rate: Samples a second, where it was given.
        target: Where the graph will run.
        goal: What to optimise.

    Raises:
        InputError: There is one, and its goal is not `latency`, or its target's cost is no time.
    """
    timed = " or ".join(name for name, unit in UNITS.items() if unit == "us")
    refuse_ignored(
        (rate is not None and goal != "latency", "--rate", "--latency"),
        (rate is not None and UNITS.get(target) != "us", "--rate", f"--target {timed}, whose cost is a time"),
    )


@checked_arguments
def plan_checkpoint(
    checkpoint: AnyModel,
    *,
    target: PlanTarget = "onnxruntime-cpu",
    goal: Goal = "sequence",
    length: int | None = None,
    rate: float | None = None,
    batch: int | None = 1,
    node_budget: int = NODE_BUDGET,
) -> Plan:
    """Compare graphs for a trained network and recommend one: see `make_plan`.

    Args:
        checkpoint: The network, or the path of its checkpoint. Its task says the length and rate if they are not given.
        target: Where the graph will run.
        goal: What to optimise.
        length: The time steps of a sequence.
        rate: Samples a second of the stream.
        batch: Sequences at a time; None for a dynamic batch.
        node_budget: The most nodes of an unrolled graph.

    Returns:
        All candidates and the recommended one.

    Raises:
        InputError: See `make_plan`; or the rate would be ignored.
    """
    from drnn_models.checkpoint import as_checkpoint

    refuse_ignored_rate(rate, target, goal)
    checkpoint = as_checkpoint(checkpoint)
    options = checkpoint.task.get("options")
    known = options.get("rate") if isinstance(options, dict) else None
    rate = rate if rate is not None or not isinstance(known, int | float) else float(known)
    length = task_length(checkpoint) if length is None else length
    spec = checkpoint.dilated
    return make_plan(spec, target, goal, length=length, rate=rate, batch=batch, node_budget=node_budget)


def task_length(checkpoint: Checkpoint) -> int | None:
    """The time steps of the sequences that the network was trained on; None where the checkpoint does not say."""
    length = checkpoint.task.get("length")
    return length if isinstance(length, int) else None


def cheapest_emission(spec: ModelSpec, request: GraphRequest, target: PlanTarget, node_budget: int) -> GraphRequest:
    """Choose the emission that costs least on a target. None that answers late is considered.

    Args:
        spec: The network.
        request: The graph, whose emission is replaced.
        target: Where the graph will run.
        node_budget: The most nodes of an unrolled graph.

    Returns:
        The request with the cheapest emission.
    """
    costs = load_costs(spec.cell)
    emissions = _emissions(target, request.form, request.batch, request.precision)
    requests = [with_block(spec, dataclasses.replace(request, emission=emission)) for emission in emissions]
    candidates = [_candidate(spec, variant, target, costs) for variant in requests]
    goal: Goal = "sequence" if request.form == "sequence" else "throughput"
    allowed = [c for c in candidates if _is_allowed(c, spec, target, goal, node_budget)]
    return min(allowed or candidates[:1], key=lambda c: _sort_key(c, target, goal, None)).request


def with_block(spec: ModelSpec, request: GraphRequest) -> GraphRequest:
    """Choose the length of the blocks of emission `blocked`: the longest whose engine is built within `BLOCK_SECONDS`.

    Args:
        spec: The network.
        request: The graph; one of another emission stays as it is.

    Returns:
        The request with its blocks; the shortest where no engine is built so fast.
    """
    if request.emission != "blocked":
        return request
    costs = load_costs(spec.cell)
    requests = [dataclasses.replace(request, block=block) for block in BLOCKS]
    quick = (r for r in requests if costs.build_seconds(workload(spec, r)) <= BLOCK_SECONDS)
    return next(quick, requests[-1])


def _sequences(
    spec: ModelSpec, target: PlanTarget, goal: Goal, length: int | None, batch: int | None
) -> Iterator[GraphRequest]:
    if length is None:
        if goal == "sequence":
            raise InputError(
                "the checkpoint does not say how long its sequences are", "Add --length STEPS, in Python length=STEPS."
            )
        return
    for emission in _emissions(target, "sequence", batch):
        yield with_block(spec, GraphRequest(length, batch, emission))


def _streams(spec: ModelSpec, target: PlanTarget, batch: int | None) -> Iterator[GraphRequest]:
    for steps in (1, *CHUNKS):
        form: Form = "step" if steps == 1 else "chunk"
        for emission in _emissions(target, form, batch):
            yield GraphRequest(steps, batch, emission, form=form)
        if steps == 1 and spec.layers > 1 and target not in RUN_WEIGHTS:  # which have no layer ahead of another
            yield GraphRequest(1, batch, "skewed", form="step")


def _emissions(
    target: PlanTarget, form: Form, batch: int | None, precision: Precision = "fp32"
) -> tuple[Emission, ...]:
    """Those that may differ in cost: for the kernel, which runs the weights, the first there is stands for all.

    Blocks are for TensorRT: other runtimes load unrolled graphs as they are, or run operators faster.
    """
    every: tuple[Emission, ...] = ("fused",) if batch is None else ("fused", "unrolled", "mixed")
    if batch is not None and form == "sequence" and target == "tensorrt":
        every = (*every, "blocked")
    allowed = tuple(emission for emission in every if emission not in PRECISIONS[precision].refused)
    return allowed[:1] if target in RUN_WEIGHTS else allowed


def _candidate(spec: ModelSpec, request: GraphRequest, target: PlanTarget, costs: Costs) -> Candidate:
    work = workload(spec, request)
    cost = {
        "onnxruntime-cpu": lambda: costs.run_microseconds(work),
        "onnxruntime-cuda": lambda: float(work.size.nodes),
        "tensorrt": lambda: float(work.depth),
        "native": lambda: native_microseconds(spec, request),
        "cuda-kernel": lambda: _LAUNCH_STEPS + request.steps,
    }[target]()
    wait = request.delay(spec) or request.steps - 1
    return Candidate(request, work, cost, wait, costs.build_seconds(work), costs.engine_bytes(work))


def _is_duplicate(candidate: Candidate) -> bool:
    """Whether a mixed or blocked graph is the same as the fused or the unrolled one."""
    work = candidate.work
    same = {"mixed": not (work.operators and work.unrolled_cells), "blocked": not work.loops}
    return same.get(candidate.request.emission, False)


def _is_allowed(candidate: Candidate, spec: ModelSpec, target: PlanTarget, goal: Goal, node_budget: int) -> bool:
    """Whether a graph serves the goal within the limits."""
    request = candidate.request
    if (request.form == "sequence") != (goal == "sequence"):
        return False
    if goal == "latency" and request.steps > 1 and spec.head.output_steps(request.steps) < request.steps:
        return False  # it has no answer to most samples
    if target == "tensorrt" and candidate.build_seconds > BUILD_SECONDS:
        return False
    return request.emission == "fused" or candidate.work.size.nodes <= node_budget


def _sort_key(candidate: Candidate, target: PlanTarget, goal: Goal, rate: float | None) -> tuple[float, ...]:
    """Less is better. Among equal kernels, fewer trips of loops win: a loop has its own control beside them."""
    loops = candidate.work.operator_steps + candidate.work.trips if target == "tensorrt" else 0
    if goal == "sequence":
        return (candidate.cost, loops)
    if goal == "latency" and rate is not None and UNITS[target] == "us":
        return (candidate.latency(rate), candidate.cost_per_step)
    if goal == "latency":
        return (candidate.wait, candidate.cost, loops)
    return (candidate.cost_per_step, loops)


def shown_cost(cost: float) -> str:
    """A cost for people: steps of the compiled kernel take a microsecond or two."""
    return f"{cost:,.0f}" if cost >= 10 else f"{cost:.2g}"


def _reason(chosen: Candidate, target: PlanTarget, goal: Goal, rate: float | None) -> str:
    unit = UNITS[target]
    if goal == "sequence":
        return f"the least cost of a sequence: {shown_cost(chosen.cost)} {unit}"
    if goal == "throughput":
        return f"the least cost of a step: {chosen.cost_per_step:,.3g} {unit}"
    if rate is None or unit != "us":
        return f"no sample waits for others, and of these graphs the least cost: {shown_cost(chosen.cost)} {unit}"
    late = chosen.latency(rate)
    if late == float("inf"):
        return f"none keeps up with {rate:g} samples a second; the least cost of a step: {chosen.cost_per_step:,.3g} us"
    return f"the earliest answer at {rate:g} samples a second: {shown_cost(late)} us after the sample"

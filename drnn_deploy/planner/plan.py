"""Which graph of a network suits a target: candidates with their cost, and one recommendation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError, refuse_ignored
from drnn_core.text import choose_from
from drnn_core.types import Form
from drnn_deploy.datasets.rate import steps_a_second
from drnn_deploy.planner.candidates import (
    PROFILE,
    UNITS,
    Candidate,
    Goal,
    PlanTarget,
    candidate_of,
    emissions_for,
    is_duplicate,
    sequence_requests,
    stream_requests,
    with_block,
)
from drnn_deploy.planner.cost_model import load_costs
from drnn_deploy.planner.limits import check_size
from drnn_export.emitter.emit import NODE_BUDGET
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import ModelSpec
from drnn_runtimes.cuda_kernel.plan import SHARED_MEMORY, KernelOptions
from drnn_runtimes.cuda_kernel.planner import plan_kernel

if TYPE_CHECKING:
    from drnn_models.checkpoint import AnyModel, Checkpoint

BUILD_SECONDS = 120.0  # an engine that takes longer is not recommended


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
    requests = [*sequence_requests(target, goal, length, batch), *stream_requests(spec, target, batch)]
    requests = _exportable(spec, requests, goal)
    if target == "cuda-kernel":
        plan_kernel(spec, KernelOptions(shared_memory=max(SHARED_MEMORY.values())))  # or says why it cannot
    costs = load_costs(spec.cell)
    candidates = [candidate_of(spec, with_block(spec, request), target, costs) for request in requests]
    candidates = [c for c in candidates if not is_duplicate(c)]
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
    rate = steps_a_second(checkpoint.task) if rate is None and goal == "latency" else rate
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
    emissions = emissions_for(target, request.form, request.batch, request.precision)
    requests = [with_block(spec, dataclasses.replace(request, emission=emission)) for emission in emissions]
    candidates = [candidate_of(spec, variant, target, costs) for variant in requests]
    goal: Goal = "sequence" if request.form == "sequence" else "throughput"
    allowed = [c for c in candidates if _is_allowed(c, spec, target, goal, node_budget)]
    return min(allowed or candidates[:1], key=lambda c: _sort_key(c, target, goal, None)).request


def _exportable(spec: ModelSpec, requests: Sequence[GraphRequest], goal: Goal) -> list[GraphRequest]:
    """Those whose export is not refused for its size.

    Raises:
        InputError: None of them serves the goal. The message is that of the shortest.
    """
    refusals: dict[tuple[Form, int], InputError | None] = {}
    for request in requests:
        try:
            refusals[request.form, request.steps] = None
            check_size(spec, request.form, request.steps, request.batch or PROFILE[2])
        except InputError as error:
            refusals[request.form, request.steps] = error
    serving = [error for (form, _), error in refusals.items() if _serves(form, goal)]
    if serving[0] and all(serving):
        raise serving[0]
    return [request for request in requests if not refusals[request.form, request.steps]]


def _serves(form: Form, goal: Goal) -> bool:
    return (form == "sequence") == (goal == "sequence")


def _is_allowed(candidate: Candidate, spec: ModelSpec, target: PlanTarget, goal: Goal, node_budget: int) -> bool:
    """Whether a graph serves the goal within the limits."""
    request = candidate.request
    if not _serves(request.form, goal):
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

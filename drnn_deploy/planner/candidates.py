"""Graphs that could be exported for a target, and what each is estimated to cost.

The cost of a run is a time: of the graph on ONNX Runtime's CPU (`drnn_deploy.planner.cost_model`), or of the compiled
kernel, which runs the weights however the graph is written (`drnn_deploy.planner.native_cost`). No GPU has been
measured: there a run is counted in what a small network on a GPU spends its time on, in ONNX Runtime nodes that are
launched, in a TensorRT engine kernels that wait for each other: one for each cell evaluation, as its builder lists
them. The CUDA kernel is launched once a run, and steps wait for each other inside of it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Literal

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, Emission, Form, Precision
from drnn_deploy.planner.cost_model import Costs, Workload, load_costs, workload
from drnn_deploy.planner.native_cost import native_microseconds
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import ModelSpec

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
PROFILE = (1, 8, 64)  # the smallest, usual and largest size of a dynamic batch, where none is asked for
CHUNKS = (2, 4, 8, 16, 32, 64, 128, 256)
BLOCKS = (64, 32, 16, 8, 4)  # most steps of a block: more take longer to build, fewer make more trips
_RING_BYTES = 256 << 10  # of delay lines: passing more through the graph costs more than Python's part in a ring
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


def sequence_requests(target: PlanTarget, goal: Goal, length: int | None, batch: int | None) -> Iterator[GraphRequest]:
    """The graphs of whole sequences, those in blocks without their length (`with_block`).

    Args:
        target: Where the graph will run.
        goal: What to optimise.
        length: The time steps of a sequence.
        batch: Sequences at a time; None for a dynamic batch.

    Raises:
        InputError: The goal needs a length, and there is none.
    """
    if length is None:
        if goal == "sequence":
            raise InputError(
                "the checkpoint does not say how long its sequences are", "Add --length STEPS, in Python length=STEPS."
            )
        return
    for emission in emissions_for(target, "sequence", batch):
        yield GraphRequest(length, batch, emission)


def stream_requests(spec: ModelSpec, target: PlanTarget, batch: int | None) -> Iterator[GraphRequest]:
    """The graphs with state.

    Args:
        spec: The network.
        target: Where the graph will run.
        batch: Sequences at a time; None for a dynamic batch.
    """
    for steps in (1, *CHUNKS):
        form: Form = "step" if steps == 1 else "chunk"
        for emission in emissions_for(target, form, batch):
            yield GraphRequest(steps, batch, emission, form=form)
        if steps == 1 and spec.layers > 1 and target not in RUN_WEIGHTS:  # which have no layer ahead of another
            yield GraphRequest(1, batch, "skewed", form="step")


def emissions_for(
    target: PlanTarget, form: Form, batch: int | None, precision: Precision = "fp32"
) -> tuple[Emission, ...]:
    """Those that may differ in cost: for the kernel, which runs the weights, the first there is stands for all.

    Blocks are for TensorRT, and for a precision without operators, where unrolled steps may be too many: other
    runtimes load unrolled graphs as they are, or run operators faster.

    Args:
        target: Where the graph will run.
        form: Of the graph.
        batch: Sequences at a time; None for a dynamic batch.
        precision: Of the graph.
    """
    every: tuple[Emission, ...] = ("fused",) if batch is None else ("fused", "unrolled", "mixed")
    refused = PRECISIONS[precision].refused
    if batch is not None and form == "sequence" and (target == "tensorrt" or "fused" in refused):
        every = (*every, "blocked")
    allowed = tuple(emission for emission in every if emission not in refused)
    return allowed[:1] if target in RUN_WEIGHTS and "fused" in allowed else allowed


def candidate_of(spec: ModelSpec, request: GraphRequest, target: PlanTarget, costs: Costs) -> Candidate:
    """Estimate what a graph costs on a target.

    Args:
        spec: The network.
        request: The graph.
        target: Where it will run.
        costs: The measured costs of the network's cell.
    """
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


def is_duplicate(candidate: Candidate) -> bool:
    """Whether a mixed or blocked graph is the same as the fused or the unrolled one.

    Args:
        candidate: The graph.
    """
    work = candidate.work
    same = {"mixed": not (work.operators and work.unrolled_cells), "blocked": not work.loops}
    return same.get(candidate.request.emission, False)


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


def rings_are_faster(spec: ModelSpec) -> bool:
    """Whether delay lines stay better with the stream than go in and out whole.

    Measured per sequence: lines win up to 164 kB, rings from 1 MB, 262 kB is a tie (`drnn-deploy bench` of both).

    Args:
        spec: The network.
    """
    return 4 * sum(math.prod(shape) for shape in spec.state_shapes(1).values()) > _RING_BYTES

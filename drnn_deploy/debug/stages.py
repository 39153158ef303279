"""The stages of a network, and what each gives in a graph: the float64 values between them, laid out as in the graph.

A graph is run once or, with states, once a chunk. Its stages are `input` (what the first layer reads), `layer 0`, ...,
`head`. Every stage but the head ends in one tensor of the graph (`drnn_export.emitter.emit.boundaries`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.parity.state_layout import Array, Times, Trace, rows_at
from drnn_export.emitter.emit import boundaries, stack_output
from drnn_export.emitter.request import GraphRequest
from drnn_export.named_graph import EVERY_LAYER
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GraphInfo
from drnn_runtimes.bundle.graph_kind import INPUT
from drnn_runtimes.cuda_kernel.around import kernel_answers
from drnn_runtimes.streaming.delay_lines import line_name


@dataclasses.dataclass(frozen=True)
class Stage:
    """The input or a layer.

    Attributes:
        name: `input` or `layer N`.
        tensor: The tensor of the graph that it ends in.
        source: The name of its values in a trace.
        width: The values of one time step.
        times: The time steps that the graph's first run computes, in order.
        stride: How many steps later each further run goes on.
        rows: The rows of the tensor, with the padding behind the steps.
        place: The place among the layers of a tensor that holds them all; None where the tensor has time-major rows of
            this stage alone.
    """

    name: str
    tensor: str
    source: str
    width: int
    times: Times
    stride: int
    rows: int
    place: int | None = None

    def steps(self, run: int) -> Times:
        """The time steps of a run; those before the sequence are negative."""
        return self.times + run * self.stride

    def right(self, trace: Trace, run: int) -> Array:
        """The right values of a run.

        Args:
            trace: The float64 values of the whole sequences, (B, T, width) each.
            run: The run's number, from 0.

        Returns:
            (B, steps, width) float64; zeros for steps outside the sequence.
        """
        return rows_at(trace[self.source], self.steps(run))

    def observed(self, tensor: NDArray[np.generic], batch: int) -> NDArray[np.generic]:
        """The values in the graph's tensor.

        Args:
            tensor: What a run gave for it, in the graph's own layout.
            batch: B.

        Returns:
            (B, steps, width); (0,) where it holds too little or does not divide.
        """
        if self.place is not None:
            fits = tensor.ndim == 3 and tensor.shape[1] > self.place and tensor.shape[2] >= self.width
            return tensor[:, self.place, None, : self.width] if fits else np.zeros(0)
        if tensor.size % (batch * self.width) or tensor.size < len(self.times) * batch * self.width:
            return np.zeros(0)
        return tensor.reshape(-1, batch, self.width)[: len(self.times)].transpose(1, 0, 2)


@dataclasses.dataclass(frozen=True)
class StateRows:
    """The rows of one state output that belong to one stage of the network.

    Attributes:
        stage: The name of the stage.
        name: The name of the output.
        before: The input that it replaces.
        source: The name of its values in a trace; "" for the flags of emission skewed.
        rows: The rows of the output.
        width: The values of a row.
    """

    stage: str
    name: str  # of the output
    before: str  # the input that it replaces
    source: str  # in a trace; "" for the flags of emission skewed
    rows: slice
    width: int


def stages_of(spec: ModelSpec, graph: GraphInfo, *, as_node: bool = False) -> list[Stage]:
    """The input, unless it is the graph's own, and the layers.

    Args:
        spec: The network.
        graph: One of its graphs, as a bundle describes it.
        as_node: Whether all layers are one node, in a graph of emission `plugin`: then they are one stage.

    Returns:
        In the network's order; all but the head.
    """
    request = GraphRequest.of(graph)
    if as_node:
        count, top = kernel_answers(spec, graph.steps), spec.layers - 1
        times = np.arange(graph.steps - count, graph.steps)
        tensor = stack_output(spec, request)
        return [Stage(EVERY_LAYER, tensor, f"l{top}_h", spec.hidden[-1], times, graph.steps, count)]
    first, *others = boundaries(spec, request)
    every = np.arange(graph.steps)
    stages = [Stage("input", first, "input", spec.input.width, every, graph.steps, graph.steps)]
    skewed, computed = graph.emission == "skewed", every
    for layer, (hidden, plan) in enumerate(zip(spec.hidden, request.plan(spec).layers, strict=True)):
        rows = graph.steps
        if graph.form == "sequence":
            computed, rows = computed if plan.select is None else computed[plan.select], plan.cells * plan.fold
        times, tensor = (every - layer, others[0]) if skewed else (computed, others[layer])
        place = layer if skewed else None
        stages.append(Stage(f"layer {layer}", tensor, f"l{layer}_h", hidden, times, graph.steps, rows, place))
    return stages[1:] if first == INPUT else stages


def given(stages: Sequence[Stage], trace: Trace, run: int, shape: tuple[int, ...]) -> Array:
    """The tensor that these stages end in, as a run should have it.

    Padding, which no right graph reads, is zero, and what does not fit the shape is cut off.

    Args:
        stages: The stages that end in the tensor.
        trace: The float64 values, (B, T, width) each.
        run: The number of the run.
        shape: The shape in the graph; -1 for the batch's axis.

    Returns:
        The tensor in float64.
    """
    first = stages[0]
    values = [stage.right(trace, run) for stage in stages]
    batch = len(values[0])
    if first.place is not None:
        wide = shape[-1]
        packed = [np.pad(value[:, 0, :wide], ((0, 0), (0, max(0, wide - value.shape[2])))) for value in values]
        return np.stack(packed, axis=1)
    flat = values[0].transpose(1, 0, 2).reshape(-1)
    known = int(np.prod([size for size in shape if size >= 0]))
    whole = first.rows * batch * first.width
    size = known if -1 not in shape else -(-whole // known) * known
    return np.pad(flat[:size], (0, max(0, size - len(flat)))).reshape(shape)


def state_rows(spec: ModelSpec, graph: GraphInfo) -> list[StateRows]:
    """The rows of every state output, by layer.

    Args:
        spec: The network.
        graph: One of its graphs, as a bundle describes it.
    """
    every: list[StateRows] = []
    rows = {tensor.name: tensor.shape[1] for tensor in graph.outputs}
    for before, after in graph.states:
        line = line_name(before)
        if line.startswith("lines_"):
            ends = np.cumsum(spec.dilations)
            for layer, (end, dilation, hidden) in enumerate(zip(ends, spec.dilations, spec.hidden, strict=True)):
                span, source = slice(int(end - dilation), int(end)), f"l{layer}_{line[-1]}"
                every.append(StateRows(f"layer {layer}", after, before, source, span, hidden))
        elif line == "started":
            every.append(StateRows("layers", after, before, "", slice(0, spec.layers), 1))
        else:
            stage = line if line == "fusion" else f"layer {line[1:].partition('_')[0]}"
            source = f"l{spec.layers - 1}_h" if line == "fusion" else line
            width = spec.hidden[int(source[1:].partition("_")[0])]
            every.append(StateRows(stage, after, before, source, slice(0, rows[after]), width))
    return every

"""Which graphs there are, and what each reads and writes: decided by its kind and the spec alone. Needs no ONNX.

The emitter writes exactly these edges, and a manifest that says otherwise describes no graph of the network.
"""

from __future__ import annotations

from typing import Protocol

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, Emission, Form, Precision, TensorInfo, style_of
from drnn_models.spec import ModelSpec, Tokens

INPUT, OUTPUT = "input", "output"
Shapes = dict[str, tuple[int, ...]]
Edges = tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]


class GraphKind(Protocol):
    """What decides the edges of a graph, of one that is asked for and of one of a bundle; see `GraphInfo`."""

    @property
    def form(self) -> Form:
        """Whole sequences, chunks or single steps."""

    @property
    def emission(self) -> Emission:
        """How the network is written as nodes."""

    @property
    def steps(self) -> int:
        """Time steps of one run."""

    @property
    def batch(self) -> int | None:
        """Sequences of one run; None for any number."""

    @property
    def precision(self) -> Precision:
        """Of matrix products."""

    @property
    def ring(self) -> bool:
        """Whether only what changes of a delay line goes in and out."""

    @property
    def block(self) -> int | None:
        """The most unrolled steps of a block (emission blocked), else None."""


def check_kind(graph: GraphKind) -> None:
    """Check that there is such a graph.

    Raises:
        InputError: Its values contradict each other.
    """
    if graph.steps < 1 or (graph.batch is not None and graph.batch < 1):
        raise InputError(f"steps and batch must be at least 1, got {graph.steps} and {graph.batch}", "Count from 1.")
    if graph.batch is None and graph.emission in ("unrolled", "mixed", "blocked"):
        if reason := PRECISIONS[graph.precision].refused.get("fused"):
            what = f"a graph of precision {graph.precision} cannot take a dynamic batch: {reason[0]}"
            raise InputError(what, "Ask for one fixed batch, or for precision fp16.")
        raise InputError(
            f"a graph of style {graph.emission} has static shapes and cannot take a dynamic batch",
            f"Ask for style {style_of('fused')}, or for one fixed batch.",
        )
    if graph.emission == "skewed" and (graph.form != "step" or graph.ring):
        raise InputError("style pipelined is for form step with whole delay lines", "Ask for --form step --no-ring.")
    if graph.emission == "plugin" and graph.ring:
        raise InputError("style plugin has whole delay lines", "Ask for --no-ring.")
    if graph.emission == "blocked" and graph.form != "sequence":
        raise InputError("style blocked is for form sequence", "Ask for style unrolled.")
    if (graph.emission == "blocked") != (graph.block is not None) or (2 if graph.block is None else graph.block) < 2:
        raise InputError(f"blocks have 2 steps or more, of style blocked alone, got {graph.block}")
    if reason := PRECISIONS[graph.precision].refused.get(graph.emission):
        raise InputError(*reason)
    if graph.form == "step" and graph.steps != 1:
        raise InputError(f"form step has one step, got {graph.steps}", "Ask for form chunk.")
    if graph.form == "sequence" and graph.ring:
        raise InputError("form sequence has no state, and so no rings", "Ask for form chunk or step.")


def state_name(name: str) -> str:
    """The graph input of a state of `state_shapes`."""
    return f"state_{name}"


def next_state_name(name: str) -> str:
    """The graph output of a state."""
    return f"next_state_{name}"


def delay_of(spec: ModelSpec, graph: GraphKind) -> int:
    """Steps between an input and its output.

    Args:
        spec: The network.
        graph: The kind of the graph.
    """
    return spec.layers - 1 if graph.emission == "skewed" else 0


def state_shapes(spec: ModelSpec, graph: GraphKind) -> Shapes:
    """The states that go in and out.

    Args:
        spec: The network.
        graph: The graph.

    Returns:
        Name -> (B, rows, H), with -1 for a dynamic B. With `ring`, a delay line longer than the chunk has its
        oldest `steps` rows only. Emission `skewed` packs all delay lines into one state.
    """
    if graph.form == "sequence":
        return {}
    batch = -1 if graph.batch is None else graph.batch
    if graph.emission == "skewed":
        return packed_shapes(spec, batch)
    shapes = spec.state_shapes(batch)
    if graph.ring:
        for name, (_, length, hidden) in shapes.items():
            if name != "fusion":
                shapes[name] = (batch, min(length, graph.steps), hidden)
    return shapes


def packed_shapes(spec: ModelSpec, batch: int) -> Shapes:
    """The states of emission `skewed`.

    Args:
        spec: The network.
        batch: B.

    Returns:
        Name -> shape: `lines_h` (and `lines_c`), the delay lines of all layers one after the other, (B, sum of
        dilations, widest H); `started` (B, layers, 1), 1 for layers that the sequence has reached, else 0; `fusion`.
    """
    rows = (batch, sum(spec.dilations), max(spec.hidden))
    shapes: Shapes = {f"lines_{part}": rows for part in spec.cell_states}
    shapes["started"] = (batch, spec.layers, 1)
    return shapes | {name: shape for name, shape in spec.state_shapes(batch).items() if name == "fusion"}


def edges(spec: ModelSpec, graph: GraphKind) -> Edges:
    """The inputs and the outputs of a graph, states last, with -1 for a dynamic batch.

    Args:
        spec: The network.
        graph: The kind of the graph.
    """
    batch = -1 if graph.batch is None else graph.batch
    tokens, head = isinstance(spec.input, Tokens), spec.head
    given = (batch, graph.steps) if tokens else (batch, graph.steps, spec.input.width)
    steps = () if head.kind == "last" else (head.output_steps(graph.steps),)
    inputs = [TensorInfo(INPUT, "int64" if tokens else "float32", given)]
    outputs = [TensorInfo(OUTPUT, "float32", (batch, *steps, head.outputs))]
    for name, shape in state_shapes(spec, graph).items():
        inputs.append(TensorInfo(state_name(name), "float32", shape))
        outputs.append(TensorInfo(next_state_name(name), "float32", shape))
    return tuple(inputs), tuple(outputs)


def state_pairs(spec: ModelSpec, graph: GraphKind) -> tuple[tuple[str, str], ...]:
    """Names of (input, output) pairs that carry the state.

    Args:
        spec: The network.
        graph: The kind of the graph.
    """
    return tuple((state_name(name), next_state_name(name)) for name in state_shapes(spec, graph))

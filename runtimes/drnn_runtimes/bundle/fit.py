"""Whether what a bundle says fits together: its spec, its graphs, its golden data, and what running them would take.

The schema says what a manifest looks like; this says what it means. Readers and writers both ask: what cannot be read
is not written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from drnn_core.bounds import shown_bytes
from drnn_core.errors import InputError
from drnn_core.memory import available_memory
from drnn_core.types import TensorInfo
from drnn_models.spec import ModelSpec, Tokens
from drnn_runtimes.bundle.cost import MOST_STEPS, cost_of, least_memory
from drnn_runtimes.bundle.graph_kind import check_kind, delay_of, edges, state_pairs
from drnn_runtimes.bundle.infos import EngineInfo, GraphInfo, KernelInfo

_MOST_GRAPHS = 256
_MOST_SEQUENCES = 1 << 20  # of a golden case


class Stored(Protocol):
    """The type and shape of an array, whether it is read already or not."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Its type."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""


def check_manifest(
    spec: ModelSpec,
    graphs: Sequence[GraphInfo],
    engines: Sequence[EngineInfo],
    kernels: Sequence[KernelInfo] = (),
) -> None:
    """Check that graphs and engines are ones that the network can have, and that this machine can run the graphs.

    Args:
        spec: The network.
        graphs: The bundle's graphs.
        engines: The bundle's engines.
        kernels: The bundle's images of the CUDA kernel.

    Raises:
        InputError: They contradict the spec or each other, or would take too much. The message names the entry.
    """
    if len(graphs) > _MOST_GRAPHS:
        raise InputError(f"graphs: {len(graphs):,} of them are more than the {_MOST_GRAPHS} that a bundle has")
    for index, graph in enumerate(graphs):
        for entry, wrong in _contradictions(spec, graph):
            raise InputError(f"graphs[{index}].{entry}: {wrong}")
    for name, values in (
        ("graphs: two have the file", [graph.file for graph in graphs]),
        ("graphs: two have the name", [graph.name for graph in graphs]),
        ("engines: two have the file", [name for engine in engines for name in (engine.file, engine.sidecar)]),
        ("engines: two are of", [f"{engine.runtime} and {engine.graph}" for engine in engines]),
        ("kernels: two have the file", [kernel.file for kernel in kernels]),
    ):
        if twice := _first_twice(values):
            raise InputError(f"{name} {twice!r:.80}")
    files = {graph.file for graph in graphs}
    for index, engine in enumerate(engines):
        if engine.graph not in files:
            raise InputError(f"engines[{index}].graph: there is no graph {engine.graph!r:.80}")


def check_case(
    name: str,
    spec: ModelSpec,
    graphs: Sequence[GraphInfo],
    inputs: Stored,
    outputs: Stored,
    targets: Stored | None,
    *,
    stream: bool,
) -> None:
    """Check the types and shapes of a golden case, before its arrays are read.

    Args:
        name: Its name.
        spec: The network.
        graphs: The graphs that are checked on it.
        inputs: What goes in.
        outputs: What float64 makes of it.
        targets: The true answers, or None.
        stream: Whether it is for graphs with state.

    Raises:
        InputError: It is no case of the network, or too short or long for a graph.
    """
    where = f"golden case {name!r:.80}"
    tokens = isinstance(spec.input, Tokens)
    kind, width = ("int64", ()) if tokens else ("float32", (spec.input.width,))
    if str(inputs.dtype) != kind or len(inputs.shape) < 2 or inputs.shape[2:] != width:
        read = f"{kind} of shape (N, T{', C' * bool(width)})"
        raise InputError(f"{where}: the inputs are {_kind(inputs)}, and the network reads {read}")
    rows, steps = inputs.shape[:2]
    if not (1 <= rows <= _MOST_SEQUENCES and 1 <= steps <= MOST_STEPS):
        raise InputError(f"{where}: {rows:,} sequences of {steps:,} steps are none that the reference takes")
    head = spec.head
    answered = () if head.kind == "last" and not stream else (steps if stream else head.output_steps(steps),)
    if str(outputs.dtype) != "float64" or outputs.shape != (rows, *answered, head.outputs):
        wanted = f"float64 of shape {(rows, *answered, head.outputs)}"
        raise InputError(f"{where}: the outputs are {_kind(outputs)}, and the network's are {wanted}")
    if targets is not None and (targets.dtype.kind not in "if" or targets.shape[:1] != (rows,)):
        raise InputError(f"{where}: the targets are {_kind(targets)}, for {rows:,} sequences")
    for graph in graphs:
        if bool(graph.states) == stream and not (steps >= graph.steps if stream else steps == graph.steps):
            suits = f"its {steps:,} steps do not suit graph {graph.name}, which takes {graph.steps:,}"
            raise InputError(f"{where}: {suits}")


def check_values(name: str, spec: ModelSpec, inputs: NDArray[np.generic], outputs: NDArray[np.float64]) -> None:
    """Check the values of a golden case whose shapes are right.

    Args:
        name: Its name.
        spec: The network.
        inputs: What goes in.
        outputs: What float64 makes of it.

    Raises:
        InputError: A token is none of the vocabulary, or a number is not finite.
    """
    where = f"golden case {name!r:.80}"
    if isinstance(spec.input, Tokens):
        if not 0 <= inputs.min() <= inputs.max() < spec.input.vocabulary:
            raise InputError(f"{where}: the inputs hold tokens outside of 0 to {spec.input.vocabulary - 1:,}")
    elif not np.isfinite(inputs).all():
        raise InputError(f"{where}: the inputs hold NaN or infinity")
    if not np.isfinite(outputs).all():
        raise InputError(f"{where}: the outputs hold NaN or infinity")


def _kind(array: Stored) -> str:
    return f"{array.dtype!s:.80} of shape {array.shape!s:.80}"


def _contradictions(spec: ModelSpec, graph: GraphInfo) -> Iterator[tuple[str, str]]:
    """(entry, what is wrong with it) of a graph that the network cannot have; an entry may rely on those before it."""
    try:
        check_kind(graph)
    except InputError as error:
        yield "form", error.message
    if graph.steps + sum(spec.dilations) > MOST_STEPS:
        total = f"{graph.steps:,} steps and the dilations {sum(spec.dilations):,}"
        yield "steps", f"{total} sum to more than the {MOST_STEPS:,} that the reference takes"
    if graph.pruned and graph.form != "sequence":
        yield "pruned", f"form {graph.form} computes every step"
    if graph.profile is not None and (graph.batch is not None or list(graph.profile) != sorted(graph.profile)):
        yield "profile", f"it says {list(graph.profile)}, ascending sizes of a free batch, and batch {graph.batch}"
    if graph.profile is None and graph.batch is None:
        yield "profile", "a free batch needs a smallest, usual and largest size"
    if graph.delay != delay_of(spec, graph):
        yield "delay", f"it says {graph.delay:,}, and emission {graph.emission} has {delay_of(spec, graph)}"
    for side, found, wanted in zip(
        ("inputs", "outputs"), (graph.inputs, graph.outputs), edges(spec, graph), strict=True
    ):
        if found != wanted:
            yield side, f"they are {_shown(found)}, and the network's are {_shown(wanted)}"
    if graph.states != (pairs := state_pairs(spec, graph)):
        yield "states", f"they are {list(graph.states)!r:.200}, and the network's are {list(pairs)!r:.200}"
    batch, available = graph.largest_batch, available_memory()
    if (least := least_memory(spec, graph, batch)) > available:
        taken = f"a run of {batch:,} sequences takes at least {shown_bytes(least)} of memory"
        yield "batch", f"{taken}; this machine has {shown_bytes(available)} free"
    if graph.nodes > (most := cost_of(spec, graph, batch).nodes):
        yield "nodes", f"{graph.nodes:,} are more than the {most:,} that the network can take"


def _shown(tensors: Sequence[TensorInfo]) -> str:
    text = ", ".join(f"{tensor.name:.80} {tensor.dtype} {list(tensor.shape)}" for tensor in tensors[:4])
    return f"{text:.300}{', ...' if len(tensors) > 4 else ''}"


def _first_twice(values: Collection[str]) -> str:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return ""

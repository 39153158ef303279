"""A graph that other tools made of a bundle's: simplified, quantised, optimised, or of another version of ONNX.

It takes the place of the bundle's own graphs and is held against the same float64 reference. It is read with the
bounds of a bundle's graphs (`drnn_runtimes.bundle.graph_file`): operators of ONNX itself, without bodies but those of
bounded loops, that take no more than the network does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from drnn_core.errors import InputError
from drnn_core.files import sha256
from drnn_core.types import TensorInfo
from drnn_export.onnx_surgery import tensor_infos
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.bodies import every_node
from drnn_runtimes.bundle.cost import most_graph_bytes
from drnn_runtimes.bundle.functions import inlined
from drnn_runtimes.bundle.graph_file import parse_graph, refusal
from drnn_runtimes.bundle.writer import write_weights

RUNTIMES = ("onnxruntime-cpu",)  # which run it, unless others are named: what a tool writes for one, others may refuse
_FILE = "graph.onnx"
_FIX = (
    "Graphs of ONNX's own operators are run. ONNX Runtime keeps to those with ORT_ENABLE_BASIC, and quantizes with "
    "them: quantize_dynamic(..., op_types_to_quantize=['MatMul', 'Gemm'])."
)
_EDGES_FIX = "Keep the inputs and outputs of the bundle's graph, float32 and of the same sizes; --rename A=B renames."
Edges = dict[str, TensorInfo]


def read_renames(pairs: Sequence[str]) -> dict[str, str]:
    """Read `A=B`: the tensor A of the graph is called B in the bundle.

    Args:
        pairs: What was typed.

    Returns:
        A -> B.

    Raises:
        InputError: One is no such pair, or two have one name.
    """
    renames: dict[str, str] = {}
    for pair in pairs:
        old, _, new = pair.rpartition("=")  # names of other tools may hold =, those of bundles do not
        if not old or not new:
            raise InputError(f"{pair!r:.100} is not A=B", "Type for example --rename x=input --rename logits=output")
        if old in renames or new in renames.values():
            raise InputError(f"--rename {pair:.100} names a tensor that another --rename names", "Name each once.")
        renames[old] = new
    return renames


@contextlib.contextmanager
def with_other_graph(bundle: Bundle, path: Path, renames: Mapping[str, str]) -> Iterator[Bundle]:
    """Put a graph from elsewhere in the place of a bundle's.

    Args:
        bundle: An open bundle, with the graphs that it may have been made of.
        path: The ONNX file.
        renames: Names of its inputs and outputs -> those of the bundle's graphs.

    Yields:
        A bundle of this graph alone, for as long as the context lasts.

    Raises:
        InputError: The file is no graph that could be one of the bundle's. The message says what differs.
    """
    model = _parsed(bundle, path)
    _rename(model, path, renames)
    graph = _as_one_of(bundle, model, path)
    if reason := refusal(model, bundle.spec, graph):
        raise InputError(f"{path} is not run: {reason}", _FIX)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / _FILE).write_bytes(model.SerializeToString())
        write_weights(folder, bundle.weights)
        files = {**bundle.files, _FILE: sha256(folder / _FILE)}
        yield dataclasses.replace(bundle, folder=folder, graphs=(graph,), engines=(), files=files)


def _parsed(bundle: Bundle, path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file", "Give the path of an .onnx file.")
    largest = max(bundle.graphs, key=lambda graph: most_graph_bytes(bundle.spec, graph))
    try:
        model = parse_graph(path, bundle.spec, largest)
    except InputError as error:
        raise InputError(error.message, _FIX) from error
    try:
        return inlined(model)  # as runtimes do
    except InputError as error:
        raise InputError(f"{path} is not run: {error.message}", _FIX) from error


def _rename(model: onnx.ModelProto, path: Path, renames: Mapping[str, str]) -> None:
    """Rename inputs and outputs, everywhere in the model: bodies read them, too."""
    graph, nodes = model.graph, list(every_node(model.graph.node))
    edges = {value.name for value in (*graph.input, *graph.output)}
    named = {*edges, *(name for node in nodes for name in (*node.input, *node.output))}
    named |= {tensor.name for tensor in graph.initializer}
    for old, new in renames.items():
        if old not in edges:
            shown = ", ".join(sorted(edges))
            raise InputError(f"{path} has no input or output {old!r:.80}", f"It has: {shown:.300}.")
        if new in named and new not in renames:
            raise InputError(f"{path} has a tensor {new!r:.80} already", f"Leave --rename {old}={new} out.")
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = renames.get(value.name, value.name)
    for node in nodes:
        for names in (node.input, node.output):
            names[:] = [renames.get(name, name) for name in names]


def _as_one_of(bundle: Bundle, model: onnx.ModelProto, path: Path) -> GraphInfo:
    """The bundle's graph with the same inputs and outputs, which the model then has in the same order."""
    constants = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in constants]
    try:
        inputs, outputs = ({t.name: t for t in tensor_infos(side)} for side in (given, model.graph.output))
    except InputError as error:
        raise InputError(f"{path}: the input or output {error.message}", _EDGES_FIX) from error
    alike = [graph for graph in bundle.graphs if (inputs, outputs) == _edges(graph)]
    if not alike:
        raise _other_edges(bundle, path, inputs, outputs)
    nodes = len(model.graph.node)
    graph = min(alike, key=lambda graph: (graph.emission == "plugin", abs(graph.nodes - nodes)))
    _reorder(model.graph.input, graph.inputs)
    _reorder(model.graph.output, graph.outputs)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    return dataclasses.replace(graph, file=_FILE, opset=opset, nodes=nodes)


def _reorder(side: Any, tensors: Sequence[TensorInfo]) -> None:
    """Bring a model's inputs or outputs into this order; constants among them go."""
    values = {value.name: onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in side}
    del side[:]
    side.extend(values[tensor.name] for tensor in tensors)


def _edges(graph: GraphInfo) -> tuple[Edges, Edges]:
    return {tensor.name: tensor for tensor in graph.inputs}, {tensor.name: tensor for tensor in graph.outputs}


def _other_edges(bundle: Bundle, path: Path, inputs: Edges, outputs: Edges) -> InputError:
    """What to say of a graph that has the edges of none of the bundle's; how to rename them where that is all."""
    has = f"{path} reads {_shown(inputs)} and gives {_shown(outputs)}"
    for graph in bundle.graphs:
        pairs = [
            pair for own, wanted in zip((inputs, outputs), _edges(graph), strict=True) for pair in _pairs(own, wanted)
        ]
        if pairs and all(pair is not None for pair in pairs):
            renamed = [f"{pair[0]}={pair[1]}" for pair in pairs if pair and pair[0] != pair[1]]
            told = " ".join(f"--rename {shlex.quote(pair)}" for pair in renamed)
            return InputError(f"{has}, under other names than {graph.name} of {bundle.folder}", f"Type: {told}")
    graph = bundle.graphs[0]
    wanted = " and gives ".join(map(_shown, _edges(graph)))
    return InputError(f"{has}; {graph.name} of {bundle.folder} reads {wanted}", _EDGES_FIX)


def _pairs(own: Edges, wanted: Edges) -> list[tuple[str, str] | None]:
    """Which tensor is which, by type and shape where the names differ; None where that is not certain."""
    left = {name: tensor for name, tensor in wanted.items() if name not in own}
    pairs: list[tuple[str, str] | None] = []
    for name, tensor in own.items():
        if name in wanted:
            pairs.append((name, name) if wanted[name] == tensor else None)
            continue
        alike = [n for n, other in left.items() if (other.dtype, other.shape) == (tensor.dtype, tensor.shape)]
        pairs.append((name, alike[0]) if len(alike) == 1 else None)
    return pairs if len(own) == len(wanted) and len({pair[1] for pair in pairs if pair}) == len(pairs) else [None]


def _shown(tensors: Edges) -> str:
    told = ", ".join(f"{tensor.name:.60} {tensor.dtype} {tensor.shape!s:.60}" for tensor in list(tensors.values())[:3])
    return f"{told}{', ...' if len(tensors) > 3 else ''}"

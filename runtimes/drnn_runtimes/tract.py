"""tract on the CPU as a runtime: a small library in Rust for devices.

It ends the whole process where its code fails (a Rust panic), be it on a graph or on an index. So a graph is first
loaded and run by a child process, and one in which numbers could become an index is not run at all.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.files import sha256
from drnn_core.types import Availability
from drnn_core.worker_process import ChildError, answer, ask
from drnn_models.spec import ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.functions import NO_FUNCTIONS
from drnn_runtimes.bundle.graph_file import read_graph
from drnn_runtimes.packages import imported
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession

if TYPE_CHECKING:
    import onnx

MOST_NODES = 1000  # its time to load a graph grows with the third power of them: 7 to 16 s at 1,140, 74 s at 2,262
_SECONDS = 120.0  # that the child process may take
_OPERATORS = frozenset(  # of the emitter: which index they compute with is fixed, or a token
    [
        "Add",
        "Cast",
        "Concat",
        "DequantizeLinear",
        "GRU",
        "Gather",
        "Gemm",
        "LSTM",
        "MatMul",
        "Mul",
        "OneHot",
        "Pad",
        "RNN",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Slice",
        "Split",
        "Sub",
        "Tanh",
        "Transpose",
    ]
)
_INDEX = {"Gather": 1, "OneHot": 0}  # operator -> which of its inputs
_LOOP = 4  # steps from which it computes a GRU operator in another way


class TractRuntime(StreamingRuntime):
    """Runs a bundle's ONNX graphs through tract."""

    name = "tract"
    reads_graph = True

    def __init__(self) -> None:
        self._rehearsed: dict[tuple[str, str], str] = {}  # sha256 of a graph's file, the trial -> why it does not run

    def availability(self) -> Availability:
        """Whether the package is here."""
        tract = imported("tract", "tract", "'drnn-deploy[tract]'")
        if isinstance(tract, Availability):
            return tract
        return Availability(True, f"tract {tract.version()}, CPU")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        """What tract 0.23 is known to refuse or to compute wrongly, and what its trial run in a child process shows."""
        if graph.emission == "plugin":
            return f"tract {NO_FUNCTIONS}"
        if graph.precision == "bf16":
            return "tract has no bfloat16"
        if graph.batch is None and not graph.states:
            return "tract begins a sequence from zeros only where the graph says how many there are: a fixed batch"
        if graph.nodes > MOST_NODES:
            return f"{graph.nodes:,} nodes are more than the {MOST_NODES:,} that it loads in reasonable time"
        try:
            model = read_graph(bundle.path(graph.file), bundle.spec, graph)
        except InputError:
            return ""  # which `load` raises
        if reason := _strange_operator(model) or _refused_operator(model, graph):
            return reason
        return self._rehearse(bundle.path(graph.file), graph, bundle.spec)

    def _rehearse(self, path: Path, graph: GraphInfo, spec: ModelSpec) -> str:
        """What happens to zeros in every input, and to the last token of the vocabulary."""
        sizes = [graph.batch] if graph.batch else [1, 2]
        tokens = [0, spec.input.vocabulary - 1] if isinstance(spec.input, Tokens) else [0]
        feeds = [
            [(t.dtype, (size, *t.shape[1:]), token if t.dtype == "int64" else 0) for t in graph.inputs]
            for size, token in itertools.product(sizes, tokens)
        ]
        trial = sha256(path), repr(feeds)
        if trial not in self._rehearsed:
            try:
                reason = ask(__name__, {"path": str(path), "feeds": feeds}, _SECONDS)["reason"]
            except ChildError as error:
                reason = f"tract ended the process in which it was tried: {error.how.splitlines()[0]}"
            self._rehearsed[trial] = reason
        return self._rehearsed[trial]

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[TractSession]:
        """Raises InputError where the graph is damaged."""
        path = bundle.path(graph.file)
        if not bundle.checked:
            read_graph(path, bundle.spec, graph)
        yield TractSession(_load(path), graph, bundle.spec)


class TractSession(CopyingSession):
    """See `drnn_runtimes.session.Session`."""

    def __init__(self, model: Any, graph: GraphInfo, spec: ModelSpec) -> None:
        self._model, self._graph, self._spec = model, graph, spec

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Outputs in float32."""
        try:
            outputs = _run(self._model, [inputs[tensor.name] for tensor in self._graph.inputs])
        except Exception as error:  # tract's, which this module knows only once it is imported
            raise InputError(f"tract cannot run {self._graph.name}: {_reason(error)}") from error
        return {tensor.name: value for tensor, value in zip(self._graph.outputs, outputs, strict=True)}


def _load(path: Path) -> Any:
    import tract

    try:
        return tract.onnx().load(str(path)).into_model().into_runnable()
    except tract.TractError as error:
        raise InputError(f"{path} cannot be loaded: {_reason(error)}") from error


def _run(model: Any, inputs: Sequence[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    return [value.to_numpy() for value in model.run(list(inputs))]


def _reason(error: Exception) -> str:
    """Tract's own words in one line, without the stack that it adds where RUST_BACKTRACE is set."""
    return "; ".join(line.strip() for line in str(error).partition("Stack backtrace")[0].splitlines() if line.strip())


def _strange_operator(model: onnx.ModelProto) -> str:
    """Why numbers could become an index, or a divisor, that ends the process; "" where they cannot."""
    from onnx import TensorProto

    fixed = {tensor.name for tensor in model.graph.initializer}
    fixed |= {value.name for value in model.graph.input if value.type.tensor_type.elem_type == TensorProto.INT64}
    for node in model.graph.node:
        if node.op_type == "Loop":
            return "tract has no Loop operator"
        if node.op_type not in _OPERATORS:
            return f"tract might end the process at a {node.op_type}, which no graph of this package holds"
        if node.op_type in ("Reshape", "Transpose") and node.input[0] in fixed:
            fixed.update(node.output)
        if node.op_type in _INDEX and node.input[_INDEX[node.op_type]] not in fixed:
            return f"tract might end the process at a {node.op_type} of computed places"
    return ""


def _refused_operator(model: onnx.ModelProto, graph: GraphInfo) -> str:
    """Why tract does not run an operator of the graph, or ""; the file says the shapes that count."""
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    for node in model.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if "activations" in attributes and b"Relu" in attributes["activations"].strings:
            return "tract computes every RNN operator with tanh, and this one has relu"
        if node.op_type not in ("RNN", "GRU", "LSTM"):
            continue
        half = graph.precision == "fp16"
        if half and len(node.input) < 6:
            return f"tract begins the {node.op_type} operator of a float16 graph with float32 zeros"
        steps, _, width = (*shapes.get(node.input[0], ()), 0, 0, 0)[:3]
        after = "linear_before_reset" in attributes and attributes["linear_before_reset"].i
        if node.op_type == "GRU" and after and steps >= _LOOP and (half or width == 1):
            what = "in float16" if half else "on one feature"
            return f"tract fails at a GRU operator {what} that resets after the product, from {_LOOP} steps on"
    return ""


def _try(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The child's side: load a graph and run it on each feed."""
    try:
        model = _load(Path(request["path"]))
        for feed in request["feeds"]:
            _run(model, [np.full(shape, value, dtype) for dtype, shape, value in feed])
    except InputError as error:
        return {"reason": error.message}
    except Exception as error:
        return {"reason": f"tract fails: {_reason(error)}"}
    return {"reason": ""}


if __name__ == "__main__":
    answer(_try)

"""A Triton model repository for a graph with state: NVIDIA's server keeps each sequence's state, and the clients none.

NAME/config.pbtxt   sequence batching with one implicit state per delay line, zero at the start of a sequence
NAME/1/model.onnx   the bundle's graph, run by Triton's ONNX Runtime backend

Sources: Triton's model_config.proto (ModelSequenceBatching.State) and its documentation of implicit state management.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from drnn_core.errors import InputError
from drnn_core.folders import replacing_folder
from drnn_core.types import TensorInfo
from drnn_deploy.exporter.options import ExportOptions
from drnn_runtimes.bundle import Bundle, GraphInfo

MAX_BATCH = 64
_IDLE_MICROSECONDS = 60_000_000
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
_CONFIG, _MODEL = "config.pbtxt", "1/model.onnx"
_EXPORT = "Type: drnn-export model.pt --form chunk --batch dynamic --no-ring --triton DIR"


def servable_graph(bundle: Bundle) -> GraphInfo:
    """The first graph that Triton can batch and keep the state of.

    The batch must be free, and the states whole delay lines: Triton has no place for the rest of a ring.

    Raises:
        InputError: The bundle has no such graph.
    """
    for graph in bundle.graphs:
        if graph.states and graph.batch is None and not graph.ring:
            return graph
    raise InputError(f"{bundle.folder} has no graph with state, dynamic batch and whole delay lines", _EXPORT)


def check_options(options: ExportOptions) -> ExportOptions:
    """The options with whole delay lines in place of rings.

    Raises:
        InputError: Triton could serve no graph of these options.
    """
    if options.batch is not None or not {"chunk", "step"} & set(options.forms or ()) or options.ring:
        raise InputError("Triton needs a form with state, a dynamic batch and whole delay lines", _EXPORT)
    return dataclasses.replace(options, ring=False)


def write_repository(bundle: Bundle, folder: Path, name: str, *, max_batch: int = MAX_BATCH) -> Path:
    """Write a model into a Triton model repository, whole or not at all.

    Args:
        bundle: The bundle with the graph.
        folder: The model repository, with a folder for each model.
        name: The name of the model.
        max_batch: The most sequences that Triton runs together.

    Returns:
        The model's folder.

    Raises:
        InputError: The bundle has no fitting graph, or the name is not a plain file name.
    """
    graph = servable_graph(bundle)
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot be a model's name in Triton", "Use letters, digits, - and _.")
    place = folder / name
    if place.is_dir() and any(place.iterdir()) and not (place / _CONFIG).is_file():
        raise InputError(f"{place} is not empty and not a Triton model", "Choose another repository.")
    with replacing_folder(place, lambda _: (_CONFIG, _MODEL)) as draft:
        (draft / _CONFIG).write_text(model_config(graph, name, max_batch), encoding="utf-8")
        (draft / _MODEL).parent.mkdir()
        shutil.copyfile(bundle.path(graph.file), draft / _MODEL)
    return place


def model_config(graph: GraphInfo, name: str, max_batch: int = MAX_BATCH) -> str:
    """Write config.pbtxt. Dimensions leave out the batch, as a `max_batch_size` above 0 asks for.

    Args:
        graph: A graph that `servable_graph` gives.
        name: The name of the model.
        max_batch: The most sequences that Triton runs together.

    Returns:
        The text.
    """
    states = {before for before, _ in graph.states} | {after for _, after in graph.states}
    lines = [f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {max_batch}"]
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        lines += [f"{kind} {{", *_tensor([t for t in tensors if t.name not in states]), "}"]
    lines += ["sequence_batching {", f"  max_sequence_idle_microseconds: {_IDLE_MICROSECONDS}"]
    lines += ["  oldest {", f"    max_candidate_sequences: {max_batch}", "  }"]
    shapes = {tensor.name: tensor for tensor in graph.inputs}
    for before, after in graph.states:
        lines += _state(before, after, shapes[before])
    return "\n".join([*lines, "}", *_delay(graph), ""])


def _delay(graph: GraphInfo) -> Iterator[str]:
    """What a client must know of a skewed graph, which Triton itself has no word for."""
    if graph.delay:
        yield f"# an answer is that of the input {graph.delay} requests before it; the first {graph.delay} mean nothing"
        yield f'parameters {{ key: "delay" value {{ string_value: "{graph.delay}" }} }}'


def _tensor(tensors: Sequence[TensorInfo]) -> Iterator[str]:
    (tensor,) = tensors
    yield f'  name: "{tensor.name}"'
    yield f"  data_type: {_TYPES[tensor.dtype]}"
    yield from (f"  dims: {size}" for size in tensor.shape[1:])


def _state(before: str, after: str, tensor: TensorInfo) -> list[str]:
    dims = [f"dims: {size}" for size in tensor.shape[1:]]
    kind = f"data_type: {_TYPES[tensor.dtype]}"
    return [
        "  state {",
        f'    input_name: "{before}"',
        f'    output_name: "{after}"',
        *(f"    {line}" for line in (kind, *dims)),
        "    initial_state {",
        '      name: "zero"',
        *(f"      {line}" for line in (kind, *dims)),
        "      zero_data: true",
        "    }",
        "  }",
    ]

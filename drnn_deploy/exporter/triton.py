"""A Triton model repository: NVIDIA's server batches requests and keeps each sequence's state, and the clients none.

NAME/config.pbtxt            with state: sequence batching, with one implicit state per delay line, zero at the start of
                             a sequence. Without: dynamic batching of whole sequences
NAME/1/model.onnx            the bundle's graph, run by Triton's ONNX Runtime backend
NAME-tensorrt/1/model.plan   the same as TensorRT's engine, where the bundle has one; with a config.pbtxt of its own

Sources: Triton's model_config.proto (ModelSequenceBatching.State) and its documentation of implicit state management.
Triton pairs states by the order of their names, inputs and outputs each for themselves (its issue 8586), so the two
orders must be one, which a test holds.
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
from drnn_runtimes.trt.sidecar import Sidecar

MAX_BATCH = 64
_IDLE_MICROSECONDS = 60_000_000
_QUEUE_MICROSECONDS = 500  # that a whole sequence waits for others to run with it
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
_FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}  # Triton's backend -> what it reads
_CONFIG = "config.pbtxt"
_EXPORT = "Type: drnn-export model.pt --form chunk --batch dynamic --no-ring --triton DIR"


def servable_graph(bundle: Bundle) -> GraphInfo:
    """The first graph that Triton can batch and keep the state of, else the first of whole sequences.

    The batch must be free, and the states whole delay lines: Triton has no place for the rest of a ring, and knows no
    plugin.

    Raises:
        InputError: The bundle has no such graph.
    """
    free = [graph for graph in bundle.graphs if graph.batch is None and not graph.ring and graph.emission != "plugin"]
    for graph in sorted(free, key=lambda graph: not graph.states):
        return graph
    raise InputError(f"{bundle.folder} has no graph with a dynamic batch, and whole delay lines if any", _EXPORT)


def check_options(options: ExportOptions, folder: Path, name: str) -> ExportOptions:
    """The options with whole delay lines in place of rings.

    Args:
        options: Of an export.
        folder: The model repository.
        name: The name of the model.

    Raises:
        InputError: Triton could serve no graph of these options, or no model of this name, or other files are there.
    """
    _check_place(folder, name)
    if options.batch is not None or options.ring:
        raise InputError("Triton needs a dynamic batch, and with state whole delay lines", _EXPORT)
    stated = options.goal != "sequence" or {"chunk", "step"} & set(options.forms or ())
    return dataclasses.replace(options, ring=False if stated else None)


def write_repository(bundle: Bundle, folder: Path, name: str, *, max_batch: int = MAX_BATCH) -> list[Path]:
    """Write models into a Triton model repository, each whole or not at all.

    Args:
        bundle: The bundle with the graph.
        folder: The model repository, with a folder for each model.
        name: The name of the model.
        max_batch: The most sequences that Triton runs together; less where a graph or engine takes less.

    Returns:
        The models' folders: that of the graph, then that of TensorRT's engine of it, if the bundle has one.

    Raises:
        InputError: The bundle has no fitting graph, or the name is not a plain file name.
    """
    graph = servable_graph(bundle)
    most = min(max_batch, graph.profile[2]) if graph.profile else max_batch
    places = [_write_model(folder, name, graph, "onnxruntime", bundle.path(graph.file), most)]
    for engine in bundle.engines:
        if engine.graph == graph.file and engine.runtime == "tensorrt":  # Triton has no backend for TensorRT-RTX
            taken = Sidecar.read(bundle.path(engine.sidecar)).batch
            largest = min(most, taken[2]) if taken else most
            places.append(
                _write_model(folder, f"{name}-tensorrt", graph, "tensorrt", bundle.path(engine.file), largest)
            )
            break
    return places


def _write_model(folder: Path, name: str, graph: GraphInfo, backend: str, file: Path, max_batch: int) -> Path:
    place, model = _check_place(folder, name), f"1/{_FILES[backend]}"
    with replacing_folder(place, lambda _: (_CONFIG, model)) as draft:
        (draft / _CONFIG).write_text(model_config(graph, name, max_batch, backend), encoding="utf-8")
        (draft / model).parent.mkdir()
        shutil.copyfile(file, draft / model)
    return place


def _check_place(folder: Path, name: str) -> Path:
    """Where the model goes."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot be a model's name in Triton", "Rename the file: letters, digits, - and _.")
    place = folder / name
    if place.is_dir() and any(place.iterdir()) and not (place / _CONFIG).is_file():
        raise InputError(f"{place} is not empty and not a Triton model", "Choose another repository.")
    return place


def model_config(graph: GraphInfo, name: str, max_batch: int = MAX_BATCH, backend: str = "onnxruntime") -> str:
    """Write config.pbtxt. Dimensions leave out the batch, as a `max_batch_size` above 0 asks for.

    Args:
        graph: A graph that `servable_graph` gives.
        name: The name of the model.
        max_batch: The most sequences that Triton runs together.
        backend: Triton's backend, "onnxruntime" or "tensorrt".

    Returns:
        The text.
    """
    states = {before for before, _ in graph.states} | {after for _, after in graph.states}
    lines = [f'name: "{name}"', f'backend: "{backend}"', f"max_batch_size: {max_batch}"]
    for kind, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        lines += [f"{kind} {{", *_tensor([t for t in tensors if t.name not in states]), "}"]
    batching = _sequence_batching(graph, max_batch) if graph.states else _dynamic_batching()
    return "\n".join([*lines, *batching, *_delay(graph), ""])


def _dynamic_batching() -> list[str]:
    return ["dynamic_batching {", f"  max_queue_delay_microseconds: {_QUEUE_MICROSECONDS}", "}"]


def _sequence_batching(graph: GraphInfo, max_batch: int) -> Iterator[str]:
    """Sequences that have a next chunk run together, whichever they are."""
    yield from ("sequence_batching {", f"  max_sequence_idle_microseconds: {_IDLE_MICROSECONDS}")
    yield from ("  oldest {", f"    max_candidate_sequences: {max_batch}", "  }")
    shapes = {tensor.name: tensor for tensor in graph.inputs}
    for before, after in graph.states:
        yield from _state(before, after, shapes[before])
    yield "}"


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

"""A Triton model repository: NVIDIA's server batches requests and keeps each sequence's state, and the clients none.

NAME/config.pbtxt            with state: sequence batching, with one implicit state per delay line, zero at the start of
                             a sequence. Without: dynamic batching of whole sequences
NAME/1/model.onnx            the bundle's graph, run by Triton's ONNX Runtime backend
NAME-tensorrt/1/model.plan   the same as TensorRT's engine, where the bundle has one; with a config.pbtxt of its own

What an earlier export wrote there is replaced, and NAME-tensorrt is removed where the bundle has no such engine: it
would go on serving the earlier weights.

Sources: Triton's model_config.proto (ModelSequenceBatching.State) and its documentation of implicit state management.
Triton pairs states by the order of their names, inputs and outputs each for themselves (its issue 8586), so the two
orders must be one, which a test holds.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from drnn_core.bounds import open_file
from drnn_core.errors import InputError
from drnn_core.files import explained
from drnn_core.folders import check_replaceable, replacing_folder
from drnn_core.types import TensorInfo
from drnn_deploy.exporter.options import ExportOptions
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.trt.sidecar import Sidecar

MAX_BATCH = 64
_IDLE_MICROSECONDS = 60_000_000
_QUEUE_MICROSECONDS = 500  # that a whole sequence waits for others to run with it
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_TYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
_FILES = {"onnxruntime": "1/model.onnx", "tensorrt": "1/model.plan"}  # Triton's backend -> what it reads
_SUFFIXES = {"onnxruntime": "", "tensorrt": "-tensorrt"}  # of the model's name
_CONFIG = "config.pbtxt"
_MARK = "# written by drnn-export, which replaces this model\n"


@dataclasses.dataclass(frozen=True)
class Served:
    """What `write_repository` did.

    Attributes:
        models: The models' folders: that of the graph, then that of TensorRT's engine of it, if the bundle has one.
        removed: The folder of an earlier bundle's engine; None where there was none, or another took its place.
    """

    models: tuple[Path, ...]
    removed: Path | None


def servable_graph(bundle: Bundle) -> GraphInfo:
    """The first graph that Triton can batch and keep the state of, else the first of whole sequences.

    The batch must be free from one sequence up, as Triton runs a request alone where no other comes in time, and the
    states whole delay lines: Triton has no place for the rest of a ring, and knows no plugin.

    Raises:
        InputError: The bundle has no such graph.
    """
    alone = [graph for graph in bundle.graphs if graph.profile and graph.profile[0] == 1]
    whole = [graph for graph in alone if not graph.ring and graph.emission != "plugin"]
    for graph in sorted(whole, key=lambda graph: not graph.states):
        return graph
    form = bundle.graphs[0].form
    words = f"--form {form} --batch dynamic{'' if form == 'sequence' else ' --no-ring'} --triton DIR"
    what = f"{bundle.folder} has no graph with a dynamic batch from 1 up, and whole delay lines if any"
    raise InputError(what, f"Type: drnn-export model.pt {words}")


def check_options(options: ExportOptions, folder: Path, name: str) -> ExportOptions:
    """The options with whole delay lines in place of rings.

    Args:
        options: Of an export.
        folder: The model repository.
        name: The name of the model.

    Raises:
        InputError: Triton could serve no graph of these options, or no model of this name, or other files are there.
    """
    _check_places(folder, name)
    lacking = ["--batch dynamic"] * (options.batch is not None) + ["--no-ring"] * bool(options.ring)
    if lacking:
        what = "Triton needs a dynamic batch, and with state whole delay lines"
        raise InputError(what, f"Type: {' '.join(lacking)}")
    least, usual, most = options.profile
    if least > 1:
        what = f"Triton runs a request alone where no other comes in time, and the smallest batch would be {least}"
        raise InputError(what, f"Type: --batch 1:{usual}:{most}")
    stated = options.goal != "sequence" or {"chunk", "step"} & set(options.forms or ())
    return dataclasses.replace(options, ring=False if stated else None)


def write_repository(bundle: Bundle, folder: Path, name: str, *, max_batch: int = MAX_BATCH) -> Served:
    """Write models into a Triton model repository, each whole or not at all.

    Args:
        bundle: The bundle with the graph.
        folder: The model repository, with a folder for each model.
        name: The name of the model.
        max_batch: The most sequences that Triton runs together; less where a graph or engine takes less.

    Returns:
        The models that are served now, and what is not any more.

    Raises:
        InputError: The bundle has no fitting graph, the name is not a plain file name, or other files are there.
    """
    graph = servable_graph(bundle)
    _check_places(folder, name)
    assert graph.profile is not None
    most = min(max_batch, graph.profile[2])
    models = [_write_model(folder, name, graph, "onnxruntime", bundle.path(graph.file), most)]
    for engine in bundle.engines:
        if engine.graph == graph.file and engine.runtime == "tensorrt":  # Triton has no backend for TensorRT-RTX
            taken = Sidecar.read(bundle.path(engine.sidecar)).batch
            largest = min(most, taken[2]) if taken else most
            models.append(_write_model(folder, name, graph, "tensorrt", bundle.path(engine.file), largest))
            return Served(tuple(models), None)
    return Served(tuple(models), _remove_model(folder, name, "tensorrt"))


def _write_model(folder: Path, name: str, graph: GraphInfo, backend: str, file: Path, max_batch: int) -> Path:
    place, model = folder / f"{name}{_SUFFIXES[backend]}", _FILES[backend]
    with replacing_folder(place, _ours, "--triton") as draft:
        (draft / _CONFIG).write_text(model_config(graph, place.name, max_batch, backend), encoding="utf-8")
        (draft / model).parent.mkdir()
        shutil.copyfile(file, draft / model)
    return place


def _remove_model(folder: Path, name: str, backend: str) -> Path | None:
    """Remove what an earlier export wrote, and give its folder, if there is one."""
    place = folder / f"{name}{_SUFFIXES[backend]}"
    if not place.exists():
        return None
    with explained(place, place):
        check_replaceable(place, _ours, "--triton")
        shutil.rmtree(place.resolve())
        place.unlink(missing_ok=True)  # the link, where it was one
    return place


def _check_places(folder: Path, name: str) -> None:
    """Refuse names that are none of Triton's, and places with files of others."""
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} cannot be a model's name in Triton", "Rename the file: letters, digits, - and _.")
    for backend, suffix in _SUFFIXES.items():
        place = folder / f"{name}{suffix}"
        check_replaceable(place, _ours, "--triton")
        if others := [file for of, file in _FILES.items() if of != backend and (place / file).is_file()]:
            what = f"{place} is another model: it has {others[0]}, and this export has that name for one of {backend}"
            raise InputError(what, "Rename the file that is exported, or choose another folder with --triton.")


def _ours(place: Path) -> Collection[str]:
    """The files that an export wrote into a model's folder."""
    if not (place / _CONFIG).is_file():
        return ()
    with open_file(place / _CONFIG) as file:
        return (_CONFIG, *_FILES.values()) if file.read(len(_MARK)) == _MARK.encode() else ()


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
    lines = [_MARK.rstrip(), f'name: "{name}"', f'backend: "{backend}"', f"max_batch_size: {max_batch}"]
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

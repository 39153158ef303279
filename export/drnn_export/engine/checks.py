"""What is checked of a graph before it is built, and of its engine afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from drnn_core.bounds import TooLargeError, read_bytes
from drnn_core.errors import EngineError, InputError
from drnn_core.types import PRECISIONS, Precision, TensorInfo
from drnn_export.engine.kernels import Kernels
from drnn_export.engine.process import EXPORT, OTHER_FORM
from drnn_runtimes.bundle.bodies import kept_elsewhere
from drnn_runtimes.trt.sidecar import Sidecar

if TYPE_CHECKING:
    import onnx as onnx_module

    from drnn_export.lint.tables import LintTarget


_MOST_BYTES = 2**31 - 1  # of one protobuf message


def read_onnx(path: Path) -> tuple[onnx_module.ModelProto, str]:
    """Read the graph to build.

    Args:
        path: The graph's file.

    Returns:
        The model, and the sha256 of the file.

    Raises:
        InputError: The file cannot be read, is no ONNX model, or keeps weights in other files: the digest is of all.
    """
    from drnn_export.lint.graph_view import parse_graph

    fix = f"Export it again: {EXPORT}"
    try:
        data = read_bytes(path, _MOST_BYTES)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}", fix) from error
    except TooLargeError as error:
        raise InputError(f"{path} is no ONNX file: {error}", fix) from error
    model = parse_graph(data, str(path), fix)
    if (elsewhere := kept_elsewhere(model)) is not None:
        raise InputError(f"{path} keeps weights in another file ({elsewhere.name!r:.80})", fix)
    return model, hashlib.sha256(data).hexdigest()


def inputs_of(path: Path, model: onnx_module.ModelProto) -> tuple[TensorInfo, ...]:
    """The inputs of a graph to build.

    Args:
        path: The graph's file, for messages.
        model: The graph.

    Raises:
        InputError: An input or output is no tensor of a type that engines could have.
    """
    from drnn_export.onnx_surgery import tensor_infos

    try:
        inputs, _ = tensor_infos(model.graph.input), tensor_infos(model.graph.output)
    except InputError as error:
        fix = f"Give the network tensors of numbers only, or export it again: {EXPORT}"
        raise InputError(f"{path}: the input or output {error.message}", fix) from error
    return inputs


def check_batch(path: Path, inputs: Sequence[TensorInfo], batch: tuple[int, int, int] | None) -> None:
    """Check the batch sizes to build for.

    Args:
        path: The graph's file, for messages.
        inputs: The graph's inputs.
        batch: The smallest, usual and largest batch, or None.

    Raises:
        InputError: The graph needs batch sizes and has none, has them and takes none, or they are out of order.
    """
    free = sorted(tensor.name for tensor in inputs if -1 in tensor.shape)
    if free and batch is None:
        what = f"{path} takes any batch (input {free[0]!r})"
        raise InputError(what, "Give the smallest, usual and largest batch that the engine is for.")
    if batch is not None and not free:
        what = f"{path} has a fixed batch, so batch sizes {batch} have no meaning"
        raise InputError(what, "Leave the batch sizes out, or export the graph with a free batch.")
    if batch is not None and not 1 <= batch[0] <= batch[1] <= batch[2]:
        raise InputError(f"batch sizes must be smallest <= usual <= largest, from 1 up, got {batch}")


def check_graph(path: Path, model: onnx_module.ModelProto, target: LintTarget, capabilities: Sequence[str]) -> None:
    """Check a graph before it is built. What NVIDIA's parser refuses, it says best itself.

    Args:
        path: The graph's file.
        model: The graph.
        target: The lint table.
        capabilities: The compute capabilities to build for.

    Raises:
        EngineError: NVIDIA's parser would misread the graph in silence, a GPU generation lacks what it needs, or that
            cannot be checked within the limits of a check.
    """
    from drnn_export.lint.graph_view import without_large_weights
    from drnn_export.lint.linter import MISREAD, UNBUILDABLE, lint_model

    try:
        findings = lint_model(without_large_weights(model), target, path.parent, capabilities)
    except InputError as error:
        raise EngineError(f"{path.name} is not built unchecked, and {error.message}", OTHER_FORM) from error
    for finding in findings:
        if finding.rule in MISREAD | UNBUILDABLE:
            where = f"node {finding.node!r} ({finding.operator}) " if finding.node else ""
            raise EngineError(f"{path.name}: {where}{finding.what}", f"{finding.fix}, or export it again: {EXPORT}")


def check_edges(path: Path, model: onnx_module.ModelProto, sidecar: Sidecar) -> None:
    """Check the inputs and outputs of an engine.

    Args:
        path: The graph's file, for messages.
        model: The graph.
        sidecar: The engine's sidecar.

    Raises:
        EngineError: They are not those that the graph declares.
    """
    from drnn_export.onnx_surgery import tensor_infos

    declared = tensor_infos([*model.graph.input, *model.graph.output])
    built = {tensor.name: tensor for tensor in (*sidecar.inputs, *sidecar.outputs)}
    for tensor in declared:
        if built.get(tensor.name) != tensor:
            what = f"{path.name}: the graph declares {tensor}, TensorRT makes {built.get(tensor.name)}"
            raise EngineError(what, OTHER_FORM)


def check_kernels(path: Path, model: onnx_module.ModelProto, kernels: Kernels | None) -> None:
    """Check the kernels of an engine.

    Args:
        path: The graph's file, for messages.
        model: The graph, whose metadata say its precision.
        kernels: The kernels, or None where the builder did not list them.

    Raises:
        EngineError: The kernels are of another precision than the graph.
    """
    said = {entry.key: entry.value for entry in model.metadata_props}.get("drnn.precision")
    if kernels is None or said not in PRECISIONS:
        return
    if wrong := kernels.mismatch(cast(Precision, said)):
        raise EngineError(f"{path.name} was built in another precision than {said}: {wrong}", OTHER_FORM)

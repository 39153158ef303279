"""What a bundle holds besides engines: graphs, weights, golden data, the network in C, the manifest."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drnn_core.errors import InputError
from drnn_core.folders import replacing_folder
from drnn_core.plain_data import read_json
from drnn_core.steps import Notify
from drnn_deploy.exporter.native import NativeSources
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.parity.cases import CaseInputs
from drnn_deploy.parity.edges import edge_precision, is_for
from drnn_deploy.parity.known_answers import ComputedAnswers
from drnn_export.emitter.emit import emit, estimate
from drnn_export.emitter.range import largest_input
from drnn_export.emitter.request import GraphRequest
from drnn_export.emitter.revision import EMITTER_REVISION
from drnn_export.onnx_surgery import tensor_infos
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import (
    GOLDEN,
    MANIFEST,
    NATIVE,
    PARITY,
    WEIGHTS,
    Bundle,
    EngineInfo,
    GoldenCase,
    GraphInfo,
    KernelInfo,
)
from drnn_runtimes.bundle.bodies import count_nodes
from drnn_runtimes.bundle.golden import write_golden
from drnn_runtimes.bundle.graph_kind import state_pairs
from drnn_runtimes.bundle.writer import write_manifest, write_weights


def write_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    requests: Sequence[GraphRequest],
    golden: Sequence[GoldenCase],
    options: ExportOptions,
    *,
    notify: Notify = lambda _: None,
) -> Bundle:
    """Write a bundle of exactly these graphs with golden data that is there already, without engines and unchecked.

    Args:
        checkpoint: The network.
        folder: The bundle's folder.
        requests: The graphs to emit.
        golden: The golden cases, which must fit the graphs; see `golden_cases`.
        options: Only `node_budget` and `profile` matter.
        notify: Gets a line on what is done at the moment.

    Returns:
        The bundle.

    Raises:
        InputError: A graph is over the node budget, or the folder cannot be written.
    """
    with replacing_folder(folder, replaceable) as draft:
        graphs = put_networks(draft, checkpoint, requests, options, notify)
        graphs = [with_range(checkpoint, graph, golden) for graph in graphs]
        write_golden(draft / GOLDEN, checkpoint.dilated, graphs, golden)
        put_manifest(draft, checkpoint, graphs)
    return Bundle.open(folder, verify=False)


def known_answers(checkpoint: Checkpoint, requests: Sequence[GraphRequest]) -> ComputedAnswers:
    """What is right for graphs: on the standard cases, and on the checkpoint's examples as the case `task`.

    Args:
        checkpoint: The network.
        requests: All graphs that are checked.
    """
    return ComputedAnswers(checkpoint.dilated, checkpoint.weights, requests, task_inputs(checkpoint))


def task_inputs(checkpoint: Checkpoint) -> list[CaseInputs]:
    """The checkpoint's examples as the case `task`, where it has some.

    Args:
        checkpoint: The network.
    """
    if (examples := checkpoint.examples) is None:
        return []
    return [CaseInputs("task", examples.inputs, examples.classes, examples.source)]


def golden_cases(answers: ComputedAnswers, requests: Sequence[GraphRequest]) -> list[GoldenCase]:
    """The cases of the graphs of a bundle, each once: its golden data.

    Args:
        answers: What `known_answers` gives, of these graphs or more.
        requests: The graphs of the bundle.
    """
    every = {case.name: case for request in requests for case in answers.cases(request)}
    return [case for case in every.values() if not case.stream] + [case for case in every.values() if case.stream]


def with_range(checkpoint: Checkpoint, graph: GraphInfo, cases: Sequence[GoldenCase]) -> GraphInfo:
    """The graph with the range of relu cells, whose numbers nothing else bounds: that of its own cases.

    Args:
        checkpoint: The network.
        graph: One of its graphs.
        cases: The bundle's golden cases.
    """
    own = [case for case in cases if case.stream == bool(graph.states) and is_for(case.name, graph.precision)]
    if checkpoint.dilated.activation != "relu" or not any(edge_precision(case.name) for case in own):
        return graph
    return dataclasses.replace(graph, largest_input=float(max(np.abs(case.inputs).max() for case in own)))


def put_manifest(
    draft: Path,
    checkpoint: Checkpoint,
    graphs: Sequence[GraphInfo],
    engines: Sequence[EngineInfo] = (),
    kernels: Sequence[KernelInfo] = (),
) -> None:
    """Write the manifest of what lies in a folder.

    Args:
        draft: The bundle's folder while it is made.
        checkpoint: The network.
        graphs: Its graphs.
        engines: Their engines.
        kernels: The images of the CUDA kernel.
    """
    write_manifest(draft, checkpoint.dilated, checkpoint.task, graphs, engines, kernels, emitter=EMITTER_REVISION)


def put_networks(
    draft: Path, checkpoint: Checkpoint, requests: Sequence[GraphRequest], options: ExportOptions, notify: Notify
) -> list[GraphInfo]:
    """Write the graphs, and the weights that the reference and torch run.

    Args:
        draft: The bundle's folder while it is made.
        checkpoint: The network.
        requests: The graphs to emit.
        options: Only `node_budget` and `profile` matter.
        notify: Gets a line on what is done at the moment.

    Returns:
        What the manifest says of each graph.

    Raises:
        InputError: A graph is over the node budget.
    """
    write_weights(draft, checkpoint.weights)
    return [_put_graph(draft, checkpoint, request, index, options, notify) for index, request in enumerate(requests)]


def put_native(draft: Path, native: NativeSources) -> None:
    """Write the network in C.

    Args:
        draft: The bundle's folder while it is made.
        native: Its files.
    """
    (draft / NATIVE).mkdir()
    for name, content in native.files.items():
        (draft / NATIVE / name).parent.mkdir(exist_ok=True)
        (draft / NATIVE / name).write_bytes(content)
        if name.endswith("/selftest"):
            (draft / NATIVE / name).chmod(0o755)


def _put_graph(
    draft: Path, checkpoint: Checkpoint, request: GraphRequest, index: int, options: ExportOptions, notify: Notify
) -> GraphInfo:
    size = estimate(checkpoint.dilated, request)
    notify(f"emitting {request.kind}/{request.emission}: {size.nodes:,} nodes, about {size.file_bytes / 1e6:.2g} MB")
    model = emit(checkpoint.dilated, checkpoint.weights, request, node_budget=options.node_budget)
    file = "model.onnx" if index == 0 else f"{request.name.replace('/', '-')}.onnx"
    (draft / file).write_bytes(model.SerializeToString(deterministic=True))
    return GraphInfo(
        file=file,
        form=request.form,
        emission=request.emission,
        pruned=request.prune,
        steps=request.steps,
        batch=request.batch,
        precision=request.precision,
        opset=model.opset_import[0].version,
        nodes=count_nodes(model),
        inputs=tensor_infos(model.graph.input),
        outputs=tensor_infos(model.graph.output),
        states=state_pairs(checkpoint.dilated, request),
        ring=request.ring,
        delay=request.delay(checkpoint.dilated),
        profile=options.profile if request.batch is None else None,
        largest_input=largest_input(checkpoint.dilated, checkpoint.weights, request.precision),
        block=request.block,
    )


def replaceable(folder: Path) -> set[str]:
    """The files of a folder that an export may replace: an earlier bundle's.

    Args:
        folder: Where a bundle is to be written, not empty.

    Raises:
        InputError: The folder is no bundle.
    """
    if not (folder / MANIFEST).is_file():
        raise InputError(
            f"{folder} is not empty and not a bundle; exporting there would delete what it holds",
            "Choose another folder with --output.",
        )
    try:
        listed = set(read_json(folder / MANIFEST)["files"])
    except (OSError, ValueError, KeyError, TypeError):  # damaged: it may be replaced, and what else is there not
        listed = set()
    return {MANIFEST, GOLDEN, WEIGHTS, PARITY, *map(str, listed)}

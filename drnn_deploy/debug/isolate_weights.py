"""Every layer by itself through a runtime that runs the weights: a network of one layer, whose head changes nothing."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import DeployError
from drnn_core.types import TensorInfo
from drnn_deploy.debug.explanation import StageResult
from drnn_deploy.debug.stage_errors import Expected, measure_stage
from drnn_deploy.debug.stages import Stage
from drnn_deploy.debug.taps import BatchRuns
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle import WEIGHTS, Bundle, GraphInfo
from drnn_runtimes.runtime import Runtime

_SWAP_ONLY = "this runtime shows no values inside: each layer ran as a network of its own, on whole sequences"


def isolate_layers(runtime: Runtime, bundle: Bundle, expected: Expected) -> tuple[tuple[StageResult, ...], str]:
    """Run every layer on the reference's values.

    Does not raise `DeployError`: a layer that the runtime refuses was not seen, and the sentence says why.

    Args:
        runtime: The runtime, which runs the weights.
        bundle: The open bundle that was checked.
        expected: What is right.

    Returns:
        What every layer gives, and a sentence on what this cannot show.
    """
    notes, results = [_SWAP_ONLY], []
    for layer in range(expected.spec.layers):
        below = expected.trace["input" if layer == 0 else f"l{layer - 1}_h"].astype(np.float32)
        spec, weights = one_layer(expected.spec, bundle.weights, layer)
        stage = Stage(f"layer {layer}", "output", f"l{layer}_h", spec.hidden[0], np.arange(below.shape[1]), 0, 0)
        try:
            outputs = _run(runtime, bundle, expected.graph, spec, weights, below)
            rows = np.arange(len(below))
            batch = BatchRuns(rows, len(rows), {0: {"output": outputs.transpose(1, 0, 2)}})
            results.append(StageResult(stage.name, "", measure_stage(expected, stage, [batch]), None))
        except DeployError as error:
            notes.append(f"{stage.name} does not run: {error.message}")
    return tuple(results), "; ".join(notes)


def one_layer(spec: ModelSpec, weights: Weights, layer: int) -> tuple[ModelSpec, Weights]:
    """Make a network of one layer.

    Args:
        spec: The whole network.
        weights: Its weights.
        layer: The number of the layer.

    Returns:
        The spec and weights of a network that gives for inputs (B, T, C) the layer's outputs (B, T, H).
    """
    hidden = spec.hidden[layer]
    alone = dataclasses.replace(
        spec,
        hidden=(hidden,),
        dilations=(spec.dilations[layer],),
        input=Continuous(spec.layer_inputs()[layer]),
        head=Head("sequence", hidden),
        fusion=False,
    )
    own = f"layers.{layer}."
    kept = {f"layers.0.{name.removeprefix(own)}": value for name, value in weights.items() if name.startswith(own)}
    return alone, {**kept, "head.weight": np.eye(hidden, dtype=np.float32), "head.bias": np.zeros(hidden, np.float32)}


def _run(
    runtime: Runtime, bundle: Bundle, graph: GraphInfo, spec: ModelSpec, weights: Weights, inputs: NDArray[np.float32]
) -> NDArray[np.generic]:
    """The outputs (B, T, H) of a network without states, for a batch of any size."""
    from safetensors.numpy import save

    shape = inputs.shape
    whole = dataclasses.replace(
        graph,
        form="sequence",
        steps=shape[1],
        batch=None,
        pruned=False,
        states=(),
        ring=False,
        inputs=(TensorInfo("input", "float32", (-1, *shape[1:])),),
        outputs=(TensorInfo("output", "float32", (-1, shape[1], spec.head.outputs)),),
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / WEIGHTS).write_bytes(save(weights))
        alone = dataclasses.replace(bundle, folder=Path(folder), spec=spec, graphs=(whole,))
        with runtime.load(alone, whole) as session:
            return session.run({"input": np.ascontiguousarray(inputs)})["output"]

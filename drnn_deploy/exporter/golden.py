"""Golden data: the inputs that every runtime is checked on, and what float64 makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Precision
from drnn_models.baseline_modules import Network
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Head, ModelSpec, Tokens
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.reference.low_precision import rounding_noise

_SEQUENCES = 4  # of each synthetic case
_STREAMS = 2
_LARGE = 30.0  # saturates every gate
_AGREEMENT = 1e-9  # of the two float64 implementations, relative to the largest output
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def make_golden(
    checkpoint: Checkpoint, length: int, precisions: Sequence[Precision] = (), *, seed: int = 0
) -> list[GoldenCase]:
    """Make the golden cases of whole sequences: zeros, normal, large and ramp inputs, and the checkpoint's examples.

    The outputs come from the NumPy loop, and the torch module confirms them in float64. The noise is the larger of two
    float32 computations', torch's and the loop's, which sum in different orders: on inputs with few different outputs,
    such as zeros, one alone may have been lucky.

    Args:
        checkpoint: The network. Its examples are a case where they have this length.
        length: The time steps of the sequences.
        precisions: The graphs' precisions besides fp32. Their noise is that of the loop with the same roundings
            (`drnn_runtimes.reference.low_precision`).
        seed: The seed of the random inputs.

    Returns:
        The cases; inputs (N, T, C) float32 or (N, T) int64, outputs float64.

    Raises:
        InputError: The network's outputs are beyond float32.
    """
    inputs = _synthetic(checkpoint.dilated, length, seed)
    cases = [_case(checkpoint, name, x, precisions) for name, x in inputs.items()]
    examples = checkpoint.examples
    if examples is not None and examples.inputs.shape[1] == length:
        cases.append(_case(checkpoint, "task", examples.inputs, precisions, examples.classes, examples.source))
    return cases


def make_stream(
    checkpoint: Checkpoint, length: int, precisions: Sequence[Precision] = (), *, seed: int = 0
) -> GoldenCase:
    """Make the golden case of graphs with state: normal inputs, with what the head makes of every step.

    Args:
        checkpoint: The network. Where it reads tokens, one sequence is a ramp, so that many different tokens occur.
        length: The time steps of the stream.
        precisions: The graphs' precisions besides fp32.
        seed: The seed of the random inputs.

    Returns:
        The case; outputs (N, T, outputs) float64.

    Raises:
        InputError: The network's outputs are beyond float32.
    """
    spec = checkpoint.dilated
    every = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs))
    made = _synthetic(spec, length, seed)
    inputs = made["normal"][:_STREAMS]
    if isinstance(spec.input, Tokens):
        inputs[-1] = made["ramp"][0]
    case = _case(dataclasses.replace(checkpoint, spec=every), "stream", inputs, precisions)
    return dataclasses.replace(case, stream=True)


def _synthetic(spec: ModelSpec, length: int, seed: int) -> dict[str, NDArray[np.generic]]:
    random = np.random.default_rng(seed)
    if isinstance(spec.input, Tokens):
        shape, symbols = (_SEQUENCES, length), spec.input.vocabulary
        return {
            "zeros": np.zeros(shape, np.int64),
            "normal": random.integers(0, symbols, shape, dtype=np.int64),
            "large": np.full(shape, symbols - 1, np.int64),
            "ramp": (np.arange(_SEQUENCES * length, dtype=np.int64) % symbols).reshape(shape),  # all that have room
        }
    full = (_SEQUENCES, length, spec.input.features)
    ramp = np.linspace(-1.0, 1.0, length, dtype=np.float32)[None, :, None]
    slopes = np.linspace(0.25, 1.0, _SEQUENCES, dtype=np.float32)[:, None, None]
    return {
        "zeros": np.zeros(full, np.float32),
        "normal": random.standard_normal(full, dtype=np.float32),
        "large": (_LARGE * random.standard_normal(full, dtype=np.float32)).astype(np.float32),
        "ramp": np.broadcast_to(slopes * ramp, full).astype(np.float32),
    }


def _case(
    checkpoint: Checkpoint,
    name: str,
    inputs: NDArray[np.generic],
    precisions: Sequence[Precision],
    targets: NDArray[np.int64] | None = None,
    source: str = "generated",
) -> GoldenCase:
    model = checkpoint.network()
    with np.errstate(over="ignore", invalid="ignore"):
        reference = run_reference(checkpoint.dilated, checkpoint.weights, inputs)
        confirmed = _run_torch(model.double(), inputs)
        by_numpy = run_reference(checkpoint.dilated, checkpoint.weights, inputs, precision=np.float32).outputs
        noise = max(reference.noise(outputs) for outputs in (_run_torch(model.float(), inputs), by_numpy))
    largest = float(np.max(np.abs(reference.outputs)))
    if not (largest <= _FLOAT32_MAX and np.isfinite(noise)):
        raise InputError(
            f"the network's outputs grow beyond float32 on {name} inputs of {inputs.shape[1]} steps",
            "Its recurrence is unstable: train it with a smaller gain (relu cells need small recurrent weights).",
        )
    if not np.allclose(confirmed, reference.outputs, rtol=0, atol=_AGREEMENT * max(1.0, largest)):
        raise AssertionError("the float64 NumPy loop and the float64 torch module disagree: a defect in drnn-deploy")
    spec, weights = checkpoint.dilated, checkpoint.weights
    narrow: dict[str, float] = {
        precision: max(noise, rounding_noise(spec, weights, inputs, reference, precision)) for precision in precisions
    }
    return GoldenCase(name, inputs, reference.outputs.astype(np.float64), noise, targets, source, narrow_noise=narrow)


def _run_torch(model: Network, inputs: NDArray[np.generic]) -> NDArray[np.float64]:
    x = torch.from_numpy(inputs)
    if x.is_floating_point():
        x = x.to(model.head.weight.dtype)
    with torch.inference_mode():
        return model(x).double().numpy()  # type: ignore[no-any-return]

"""Golden data: the inputs that every runtime is checked on, and what float64 makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import FLOAT64, Precision
from drnn_deploy.parity.compare import judge, with_answer
from drnn_deploy.parity.tolerance import Tolerance
from drnn_models.baseline_modules import Network
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Head, ModelSpec, Tokens
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.reference.noise import answer

_SEQUENCES = 4  # of each synthetic case
_STREAMS = 2
_LARGE = 30.0  # saturates every gate
_AGREEMENT = Tolerance(1000.0)  # of the two float64 implementations: both round, each in its own way
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def make_golden(
    checkpoint: Checkpoint, length: int, precisions: Sequence[Precision] = (), *, seed: int = 0
) -> list[GoldenCase]:
    """Make the golden cases of whole sequences: zeros, normal, large and ramp inputs, and the checkpoint's examples.

    The outputs come from the NumPy loop, and the torch module confirms them in float64, as far as float64's own
    rounding lets the two agree.

    Args:
        checkpoint: The network. Its examples are a case where they have this length.
        length: The time steps of the sequences.
        precisions: The graphs' precisions besides fp32.
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
        cases.append(_case(checkpoint, "task", examples.inputs, precisions, examples.targets, examples.source))
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
    found = answer(checkpoint.dilated, checkpoint.weights, inputs, precisions)
    if not found.magnitude <= _FLOAT32_MAX:
        raise InputError(
            f"the network's outputs grow beyond float32 on {name} inputs of {inputs.shape[1]} steps",
            "Its recurrence is unstable: train it with a smaller gain (relu cells need small recurrent weights).",
        )
    for precision, noise in found.noises.items():
        if not np.isfinite(noise).all():
            raise InputError(
                f"{name} inputs of {inputs.shape[1]} steps lead to numbers beyond what {precision} holds",
                "Export it with a wider --precision.",
            )
    case = with_answer(GoldenCase(name, inputs, found.outputs, 0.0, targets, source), found)
    confirmed = _run_torch(checkpoint.network().double(), inputs)
    if judge(case.judged_as(FLOAT64), confirmed, _AGREEMENT).verdict == "failed":
        raise AssertionError("the float64 NumPy loop and the float64 torch module disagree: a defect in drnn-deploy")
    return case


def _run_torch(model: Network, inputs: NDArray[np.generic]) -> NDArray[np.float64]:
    x = torch.from_numpy(inputs)
    if x.is_floating_point():
        x = x.to(model.head.weight.dtype)
    with torch.inference_mode():
        return model(x).double().numpy()  # type: ignore[no-any-return]

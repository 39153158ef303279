"""Known answers: what float64 makes of a case's inputs, and the noise of narrower arithmetic. Needs no torch."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Precision
from drnn_deploy.parity.cases import CaseInputs
from drnn_models.spec import Head, ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.reference.low_precision import rounding_noise

if TYPE_CHECKING:
    from drnn_models.dilated_rnn import DilatedRNN

_AGREEMENT = 1e-9  # of the two float64 implementations, relative to the largest output
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def known_answer(spec: ModelSpec, weights: Weights, case: CaseInputs, precisions: Sequence[Precision]) -> GoldenCase:
    """Compute what float64 makes of a case, and the noise of its outputs.

    The outputs come from the NumPy loop, and the torch module, where torch is, confirms them in float64. The noise is
    the largest of the float32 computations', torch's and the loop's, which sum in different orders: on inputs with few
    different outputs, such as zeros, one alone may have been lucky.

    Args:
        spec: The network.
        weights: Its weights.
        case: The inputs. Of a stream, the head answers every step, whatever it is.
        precisions: Precisions of graphs. The noise of those other than fp32 is that of the loop with the same roundings
            (`drnn_runtimes.reference.low_precision`).

    Returns:
        The case; outputs float64.

    Raises:
        InputError: The network's outputs are beyond float32.
    """
    if case.stream:
        spec = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs))
    inputs, steps = case.inputs, case.inputs.shape[1]
    model = _module(spec, weights) if torch_is_here() else None
    with np.errstate(over="ignore", invalid="ignore"):
        reference = run_reference(spec, weights, inputs)
        confirmed = reference.outputs if model is None else _run_torch(model.double(), inputs)
        singles = [run_reference(spec, weights, inputs, precision=np.float32).outputs]
        singles += [] if model is None else [_run_torch(model.float(), inputs)]
        noise = max(reference.noise(outputs) for outputs in singles)
    largest = float(np.max(np.abs(reference.outputs)))
    if not (largest <= _FLOAT32_MAX and np.isfinite(noise)):
        raise InputError(
            f"the network's outputs grow beyond float32 on {case.name} inputs of {steps} steps",
            "Its recurrence is unstable: train it with a smaller gain (relu cells need small recurrent weights).",
        )
    if not np.allclose(confirmed, reference.outputs, rtol=0, atol=_AGREEMENT * max(1.0, largest)):
        raise AssertionError("the float64 NumPy loop and the float64 torch module disagree: a defect in drnn-deploy")
    narrow: dict[str, float] = {
        precision: max(noise, rounding_noise(spec, weights, inputs, reference, precision))
        for precision in sorted({*precisions} - {"fp32"})
    }
    outputs = reference.outputs.astype(np.float64)
    return GoldenCase(case.name, inputs, outputs, noise, case.targets, case.source, case.stream, narrow)


def torch_is_here() -> bool:
    """Whether PyTorch confirms the answers."""
    return importlib.util.find_spec("torch") is not None


def _module(spec: ModelSpec, weights: Weights) -> DilatedRNN:
    import torch

    from drnn_models.dilated_rnn import DilatedRNN

    model = DilatedRNN(spec)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model.eval()


def _run_torch(model: DilatedRNN, inputs: NDArray[np.generic]) -> NDArray[np.float64]:
    import torch

    x = torch.from_numpy(inputs)
    if x.is_floating_point():
        x = x.to(model.head.weight.dtype)
    with torch.inference_mode():
        return model(x).double().numpy()  # type: ignore[no-any-return]

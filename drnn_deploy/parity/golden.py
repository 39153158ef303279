"""Known answers: what float64 makes of a case's inputs, and the noise of narrower arithmetic. Needs no torch."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import FLOAT64, Precision
from drnn_deploy.parity.cases import CaseInputs
from drnn_deploy.parity.compare import judge, with_answer
from drnn_deploy.parity.tolerance import Tolerance
from drnn_models.spec import Head, ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.reference.noise import Answer, answers

if TYPE_CHECKING:
    from drnn_models.dilated_rnn import DilatedRNN

_AGREEMENT = Tolerance(1000.0)  # of the two float64 implementations: both round, each in its own way
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def known_answer(spec: ModelSpec, weights: Weights, case: CaseInputs, precisions: Sequence[Precision]) -> GoldenCase:
    """Compute what float64 makes of a case, and the noise of its outputs.

    Args:
        spec: The network.
        weights: Its weights.
        case: The inputs.
        precisions: The precisions of graphs, besides fp32.

    Returns:
        What `known_answers` returns of one case.
    """
    return known_answers(spec, weights, [case], precisions)[0]


def known_answers(
    spec: ModelSpec, weights: Weights, cases: Sequence[CaseInputs], precisions: Sequence[Precision]
) -> list[GoldenCase]:
    """Compute what float64 makes of cases, and the noise of their outputs.

    The outputs come from the NumPy loop, and the torch module, where torch is, confirms them in float64, as far as
    float64's own rounding lets the two agree.

    Args:
        spec: The network.
        weights: Its weights.
        cases: The inputs, of as many steps each; all are streams or none is. Of a stream, the head answers every step,
            whatever it is.
        precisions: The precisions of graphs, besides fp32.

    Returns:
        The cases, with outputs in float64 and the noise of every precision.

    Raises:
        InputError: The network's numbers are beyond what a precision holds.
    """
    if cases[0].stream:
        spec = dataclasses.replace(spec, head=Head("sequence", spec.head.outputs))
    computed = answers(spec, weights, [case.inputs for case in cases], precisions)
    known = [_checked(case, answer) for case, answer in zip(cases, computed, strict=True)]
    if torch_is_here():
        module = _module(spec, weights).double()
        for case in known:
            confirmed = _run_torch(module, case.inputs)
            if judge(case.judged_as(FLOAT64), confirmed, _AGREEMENT).verdict == "failed":
                raise AssertionError("the loop and the torch module disagree in float64: a defect in drnn-deploy")
    return known


def _checked(case: CaseInputs, answer: Answer) -> GoldenCase:
    """The case with its answer, whose numbers all precisions hold."""
    told = f"{case.name} inputs of {case.inputs.shape[1]} steps"
    if not (answer.magnitude <= _FLOAT32_MAX and np.isfinite(answer.noises["fp32"]).all()):
        raise InputError(
            f"the network's outputs grow beyond float32 on {told}",
            "Its recurrence is unstable: train it with a smaller gain (relu cells need small recurrent weights).",
        )
    for precision, noise in answer.noises.items():
        if not np.isfinite(noise).all():
            raise InputError(
                f"{told} lead to numbers beyond what {precision} holds", "Export it with a wider --precision."
            )
    bare = GoldenCase(case.name, case.inputs, answer.outputs, 0.0, case.targets, case.source, case.stream)
    return with_answer(bare, answer)


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

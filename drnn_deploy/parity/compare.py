"""One runtime's output beside float64's: its errors, whether they are within the tolerance, and what that can tell."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.parity.results import CaseResult
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.bundle.golden import Noise
from drnn_runtimes.reference.noise import Answer

# A wrong network of the same size is off by about as much as the outputs are large, and by more somewhere.
LARGEST_SHARE = 0.25
_ALIKE = 1e-3  # of the largest number: sequences that differ by less need not have outputs that parity can tell apart
_CURVE_POINTS = 16


def judge(case: GoldenCase, outputs: NDArray[np.generic], tolerance: Tolerance = DEFAULT) -> CaseResult:
    """Compare one output with the reference's. A missing row, another shape, NaN or infinity fails.

    Args:
        case: The inputs with the reference's outputs, (N, outputs) or (N, k, outputs) float64, and their noise.
        outputs: The outputs of a runtime, of any type.
        tolerance: Which errors pass.

    Returns:
        The errors, the predictions that agree, and whether the case passed, failed or could not be compared.
    """
    noise, limit = _by_step(case, np.asarray(case.noise)), _by_step(case, tolerance.limit(case))
    told, telling = comparable(case, tolerance), telling_outputs(case, tolerance)
    counted = told if told.any() else np.ones_like(told)
    largest = float(noise[counted].max()), float(limit[counted].max())
    share, first = float(told.mean()), _first(~told)
    if outputs.shape != case.outputs.shape:
        return CaseResult(case.name, None, None, None, *largest, False, 0, (), 0.0, None, share, first, case.horizon)
    error = _by_step(case, np.abs(outputs.astype(np.float64) - case.outputs).max(axis=0))
    error[~np.isfinite(error)] = np.inf
    accuracy = None
    predictions = outputs.argmax(axis=-1)
    if case.targets is not None and case.targets.shape == predictions.shape:
        accuracy = float(np.mean(predictions == case.targets))
    worst, scale = float(error[counted | np.isinf(error)].max()), float(np.abs(case.outputs).max())
    bad = (told & ~(error <= limit)) | np.isinf(error)
    points = np.linspace(0, len(error) - 1, min(len(error), _CURVE_POINTS)).astype(int)
    in_noise, of_limit = _share(error, noise), _share(error, limit)
    at = np.unravel_index(np.where(counted | np.isinf(error), of_limit, -1.0).argmax(), error.shape)
    return CaseResult(
        case=case.name,
        absolute=_finite(worst),
        relative=_finite(worst / scale) if scale else _finite(worst),
        in_noise=_finite(float(in_noise[counted | np.isinf(error)].max())),
        noise=largest[0],
        limit=largest[1],
        passed=not bad.any() and bool(told.all() or telling.any()),
        first_bad_step=_first(bad),
        growth=tuple(_finite(float(value)) for value in error.max(axis=1)[points]),
        agreement=float(np.mean(predictions == case.outputs.argmax(axis=-1))),
        accuracy=accuracy,
        compared=share,
        first_uncompared_step=first,
        horizon=case.horizon,
        limits=tuple(float(value) for value in limit.max(axis=1)[points]),
        worst=None if np.isinf(worst) else (float(error[at]), float(limit[at])),
        tells=bool(telling.any()),
    )


def severity(result: CaseResult) -> tuple[bool, bool, bool, float]:
    """By which the worst of several results of one case is chosen: failed, then passed, then not compared.

    Args:
        result: One of the results.

    Returns:
        What is larger for the worse of two; of two alike, one that tells something, with the larger error in units of
        noise.
    """
    error = np.inf if result.in_noise is None else result.in_noise
    return result.verdict == "failed", result.verdict == "passed", result.tells, error


def comparable(case: GoldenCase, tolerance: Tolerance = DEFAULT) -> NDArray[np.bool_]:
    """Where an error within the limit says that a graph is right: where a wrong graph's would be larger.

    Args:
        case: The case, with the noise of the graph's precision.
        tolerance: Which errors pass.

    Returns:
        Of each output step and output, (k, outputs). With a limit of the user's own that is everywhere.
    """
    limit = _by_step(case, tolerance.limit(case))
    if not tolerance.by_noise:
        return np.ones(limit.shape, np.bool_)
    signal = (
        np.abs(case.outputs).reshape(-1, case.outputs.shape[-1]).max(axis=0) if case.signal is None else case.signal
    )
    told: NDArray[np.bool_] = limit <= LARGEST_SHARE * signal
    return told


def telling_outputs(case: GoldenCase, tolerance: Tolerance = DEFAULT) -> NDArray[np.bool_]:
    """Where an output within the limit says that the inputs were heeded: where other inputs have other outputs.

    Zeros show no weight of an input, and where no bias is, no recurrent one either. One sequence alone is believed, and
    so are several that are nearly the same.

    Args:
        case: The case, with the noise of the graph's precision.
        tolerance: Which errors pass.

    Returns:
        Of each output step and output, (k, outputs): some of those that `comparable` gives.
    """
    told = comparable(case, tolerance)
    if not tolerance.by_noise:
        return told
    alike = _ALIKE * np.abs(case.inputs).max(initial=0) if case.inputs.dtype.kind == "f" else 0
    if np.ptp(case.inputs, axis=0).max(initial=0) <= alike:
        return told & bool(case.inputs.any())
    apart = _by_step(case, np.ptp(case.outputs, axis=0))
    return told & (apart > _by_step(case, tolerance.limit(case)))


def with_answer(case: GoldenCase, answer: Answer) -> GoldenCase:
    """A case with what is right for its inputs, and with what that can be compared by.

    Args:
        case: The inputs; its outputs and noise count for nothing.
        answer: The reference's outputs for them, and the noise of each precision.
    """
    every = dataclasses.replace(
        case, outputs=np.zeros((1, *answer.every_noise.shape)), noise=answer.every_noise, signal=answer.every_signal
    )
    others: dict[str, Noise] = {name: noise for name, noise in answer.noises.items() if name != "fp32"}
    return dataclasses.replace(
        case,
        outputs=answer.outputs,
        noise=answer.noises["fp32"],
        narrow_noise=others,
        narrow_outputs=answer.narrow_outputs,
        signal=answer.signal,
        horizon=_first(~comparable(every)),
    )


def _by_step(case: GoldenCase, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values like one sequence's outputs, or one for all of them, as (k, outputs)."""
    return np.array(np.broadcast_to(values, case.outputs.shape[1:])).reshape(-1, case.outputs.shape[-1])


def _share(error: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0, 0.0, error / of)


def _first(steps: NDArray[np.bool_]) -> int | None:
    """The first step with a value that is true."""
    where = steps.any(axis=1)
    return int(where.argmax()) if where.any() else None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None

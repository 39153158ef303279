"""One runtime's output beside float64's: its errors and whether they are within the tolerance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drnn_deploy.parity.results import CaseResult
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_runtimes.bundle import GoldenCase

_CURVE_POINTS = 16


def judge(case: GoldenCase, outputs: NDArray[np.generic], tolerance: Tolerance = DEFAULT) -> CaseResult:
    """Compare one output with the reference's. A missing row, another shape, NaN or infinity fails.

    Args:
        case: The inputs with the reference's outputs, (N, outputs) or (N, k, outputs) float64, and their noise.
        outputs: The outputs of a runtime, of any type.
        tolerance: Which errors pass.

    Returns:
        The errors, the predictions that agree, and whether the case passed.
    """
    limit = tolerance.limit(case)
    accuracy = None
    if outputs.shape != case.outputs.shape:
        return CaseResult(case.name, None, None, None, case.noise, limit, False, 0, (), 0.0, None)
    error = np.abs(outputs.astype(np.float64) - case.outputs)
    error[~np.isfinite(error)] = np.inf
    by_step = error.max(axis=(0, 2)) if error.ndim == 3 else error.max(axis=(0, 1))[None]
    predictions = outputs.argmax(axis=-1)
    if case.targets is not None and case.targets.shape == predictions.shape:
        accuracy = float(np.mean(predictions == case.targets))
    worst, scale = float(by_step.max()), float(np.abs(case.outputs).max())
    bad = np.flatnonzero(~(by_step <= limit) | ~np.isfinite(by_step))
    points = np.linspace(0, len(by_step) - 1, min(len(by_step), _CURVE_POINTS)).astype(int)
    return CaseResult(
        case=case.name,
        absolute=_finite(worst),
        relative=_finite(worst / scale) if scale else _finite(worst),
        in_noise=_finite(worst / case.noise) if case.noise else 0.0 if worst == 0 else None,
        noise=case.noise,
        limit=limit,
        passed=not len(bad),
        first_bad_step=int(bad[0]) if len(bad) else None,
        growth=tuple(_finite(float(value)) for value in by_step[points]),
        agreement=float(np.mean(predictions == case.outputs.argmax(axis=-1))),
        accuracy=accuracy,
    )


def severity(result: CaseResult) -> tuple[bool, float]:
    """By which the worst of several results of one case is chosen: failed before passed, then the larger error."""
    return not result.passed, np.inf if result.in_noise is None else result.in_noise


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None

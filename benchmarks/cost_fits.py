"""Non-negative least squares on relative errors, and the errors of measurements that a fit has not seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

FOLDS = 5
Matrix = NDArray[np.float64]


def fit(features: Matrix, values: Matrix) -> Matrix:
    """Non-negative coefficients with the smallest squared relative error."""
    scale = features.max(axis=0)
    scale[scale == 0] = 1
    coefficients, _ = nnls(features / scale / values[:, None], np.ones(len(values)))
    fitted: Matrix = coefficients / scale
    return fitted


def spread(features: Matrix, values: Matrix) -> float:
    """Factor within which nine of ten unseen measurements are of their estimates."""
    factors = []
    for fold in range(FOLDS):
        unseen = np.arange(len(values)) % FOLDS == fold
        estimates = features[unseen] @ fit(features[~unseen], values[~unseen])
        factors += list(np.exp(np.abs(np.log(np.maximum(estimates, 1e-9) / values[unseen]))))
    return float(np.quantile(factors, 0.9))


def rounded(values: Matrix) -> list[float]:
    """Coefficients to four digits."""
    return [float(f"{value:.4g}") for value in values]

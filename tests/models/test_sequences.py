"""Whatever a user brings becomes what the graphs read, or is refused with the fix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from drnn_core.errors import InputError
from drnn_models.sequences import as_sequences
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens

REAL = ModelSpec("gru", (4,), (1,), Continuous(2), Head("last", 3))
WORDS = ModelSpec("gru", (4,), (1,), Tokens(7), Head("last", 3))
X = np.arange(12.0).reshape(2, 3, 2)
T = np.arange(6).reshape(2, 3)


@pytest.mark.parametrize("given", [
    X, X.astype(np.float16), X.astype(np.uint8), X.tolist(), torch.from_numpy(X), np.asfortranarray(X), X[::1, ::1],
], ids=lambda given: type(given).__name__)  # fmt: skip
def test_numbers_become_float32(given: Any) -> None:
    made = as_sequences(REAL, "x", given)
    assert (made.dtype, made.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(made, X)


@pytest.mark.parametrize("given", [T, T.astype(np.uint8), T.tolist(), torch.from_numpy(T)])
def test_tokens_become_int64(given: Any) -> None:
    made = as_sequences(WORDS, "x", given)
    assert (made.dtype, made.flags.c_contiguous) == (np.int64, True)
    np.testing.assert_array_equal(made, T)


@pytest.mark.parametrize("spec, given, says, fix", [
    (REAL, X[0], "is float64 of shape (3, 2)", "x[None]"),
    (REAL, X[:, :, :1], "takes (sequences, steps, 2) of numbers", "The axes are"),
    (REAL, X[:0], "shape (0, 3, 2)", "The axes are"),
    (REAL, X * np.nan, "NaN or infinity", "numpy.isfinite"),
    (REAL, X * 1e300, "beyond float32", "Scale"),
    (REAL, X > 1, "is bool", "The axes are"),
    (REAL, X.astype(complex), "is complex128", "The axes are"),
    (REAL, None, "is object", "The axes are"),
    (REAL, "x.npy", "is <U5", "The axes are"),
    (REAL, [[1, 2], [3]], "cannot be made an array", "NumPy array"),
    (REAL, torch.ones(1, 2, 2, requires_grad=True), "cannot be made an array", "x.detach().cpu().numpy()"),
    (WORDS, T.astype(float), "takes (sequences, steps) of whole numbers", "The axes are"),
    (WORDS, T[0], "of shape (3,)", "x[None]"),
    (WORDS, T + 2, "tokens outside 0 to 6", "vocabulary"),
    (WORDS, T - 1, "tokens outside 0 to 6", "vocabulary"),
])  # fmt: skip
def test_what_the_network_does_not_read_is_refused(spec: ModelSpec, given: Any, says: str, fix: str) -> None:
    with pytest.raises(InputError) as refused:
        as_sequences(spec, "x", given)
    assert says in refused.value.message
    assert fix in refused.value.fix

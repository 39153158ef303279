"""Known answers that were computed on this machine before, so that a second check of a bundle is fast.

An entry is a golden file of one case. Its name is a digest of all that decides the answer: the network, its weights,
the inputs, and the code that computes it. It is read like any file: one that is damaged, or not of the same inputs, is
computed again. `drnn_core.cache` has the limit.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from drnn_core.cache import shrink, touch
from drnn_core.errors import InputError
from drnn_core.types import Precision
from drnn_deploy.parity.cases import CaseInputs
from drnn_deploy.parity.golden import torch_is_here
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.bundle.golden import read_golden, write_golden

# Whole packages, though not each file decides what an answer is: a list of files would lack one some day.
_CODE = "drnn_core", "drnn_models", "drnn_runtimes.reference", "drnn_deploy.parity"


def weights_digest(weights: Weights) -> str:
    """The digest of names, shapes and values of weights."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].shape} {weights[name].dtype};".encode())
        digest.update(np.ascontiguousarray(weights[name]).tobytes())
    return digest.hexdigest()


def answer_key(spec: ModelSpec, weights: str, case: CaseInputs, precisions: Sequence[Precision]) -> str:
    """The name of an answer.

    Args:
        spec: The network.
        weights: What `weights_digest` gives.
        case: The inputs.
        precisions: The precisions whose noise the answer holds.
    """
    identity = [spec.to_json(), weights, case.name, case.stream, case.source, sorted(precisions), _code_digest()]
    digest = hashlib.sha256(json.dumps([*identity, torch_is_here(), np.__version__], sort_keys=True).encode())
    for array in (case.inputs, case.targets):
        if array is not None:
            digest.update(f"{array.shape} {array.dtype};".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def kept_answer(cache: Path, key: str, spec: ModelSpec, case: CaseInputs) -> GoldenCase | None:
    """Take an answer out of the cache.

    Args:
        cache: The cache's folder.
        key: What `answer_key` gives.
        spec: The network.
        case: The inputs.

    Returns:
        The answer; None where none is there, or one that is damaged or of other inputs.
    """
    entry = cache / f"{key}.npz"
    if not entry.is_file():
        return None
    try:
        (answer,) = read_golden(entry, spec, ())
    except (InputError, ValueError):
        return None
    same = (answer.name, answer.stream) == (case.name, case.stream) and np.array_equal(answer.inputs, case.inputs)
    touch(entry)
    return answer if same else None


def keep_answer(cache: Path, key: str, spec: ModelSpec, answer: GoldenCase) -> None:
    """Put an answer into the cache. A folder that cannot be written to is left alone.

    Args:
        cache: The cache's folder.
        key: What `answer_key` gives.
        spec: The network.
        answer: The answer.
    """
    with contextlib.suppress(InputError, OSError):
        write_golden(cache / f"{key}.npz", spec, (), [answer])
        shrink(cache, "references")


@functools.cache
def _code_digest() -> str:
    digest = hashlib.sha256()
    for package in _CODE:
        for file in sorted(resources.files(package).iterdir(), key=lambda file: file.name):
            if file.name.endswith(".py"):
                digest.update(file.read_bytes())
    return digest.hexdigest()

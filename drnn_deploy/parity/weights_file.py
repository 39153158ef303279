"""A bundle's network beside the checkpoint that it is said to be from: `drnn-parity --against`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from drnn_deploy.parity.results import FileResult
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle import WEIGHTS, Bundle


def check_against(bundle: Bundle, spec: ModelSpec, weights: Weights) -> FileResult:
    """Compare a bundle's spec and weights with a checkpoint's, value by value.

    Args:
        bundle: The bundle.
        spec: The checkpoint's network.
        weights: Its weights.

    Returns:
        What differs. Whether the graphs are made of the bundle's weights is another question, which
        `drnn_deploy.parity.graph_file` answers.
    """
    findings = (*_other_spec(spec.to_json(), bundle.spec.to_json()), *_other_weights(weights, bundle.weights))
    return FileResult(WEIGHTS, not findings, findings)


def _other_spec(wanted: dict[str, Any], there: dict[str, Any]) -> Iterator[str]:
    for name in sorted({*wanted, *there}):
        if wanted.get(name) != there.get(name):
            yield f"the network's {name} is {there.get(name)}, the checkpoint's is {wanted.get(name)}"


def _other_weights(wanted: Weights, there: Weights) -> Iterator[str]:
    for name in sorted({*wanted, *there}):
        if name not in there or name not in wanted:
            yield f"{name} is not in {'the bundle' if name in wanted else 'the checkpoint'}"
        elif wanted[name].shape != there[name].shape:
            yield f"{name} has the shape {there[name].shape}, the checkpoint's {wanted[name].shape}"
        elif count := int(np.count_nonzero(wanted[name] != there[name])):
            yield f"{name} differs from the checkpoint's in {count:,} of {wanted[name].size:,} values"

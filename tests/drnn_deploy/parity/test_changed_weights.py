"""Mistakes of a part in a thousand, or in one unit alone, in any kind of weight: each fails on some golden case."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from drnn_deploy.parity.compare import judge
from drnn_models.cells import CELLS
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import GoldenCase
from tests.networks import golden_cases, random_weights

Array = NDArray[np.float32]
PARTS = (
    "layers.0.weight_ih_l0",
    "layers.1.weight_hh_l0",
    "layers.2.weight_hh_l0",
    "layers.1.bias_hh_l0",
    "head.weight",
)
CHANGES: dict[str, Callable[[Array], Array]] = {
    "x 1.001": lambda value: value * np.float32(1.001),
    "x 0.9999": lambda value: value * np.float32(0.9999),
    "one row x 1.01": lambda value: np.concatenate([value[:1] * np.float32(1.01), value[1:]]),
    "one weight + 0.01": lambda value: value + 0.01 * (np.arange(value.size) == value.size // 2).reshape(value.shape),
    "bfloat16": lambda value: torch.from_numpy(value).bfloat16().float().numpy(),
}


@functools.cache
def right(cell: str) -> tuple[Checkpoint, list[GoldenCase]]:
    spec = ModelSpec(cell, (8, 9, 10), (1, 2, 4), Continuous(2), Head("last", 3))  # type: ignore[arg-type]
    checkpoint = Checkpoint(spec, random_weights(spec, 7))
    golden = golden_cases(checkpoint, 60)
    assert {judge(case, outputs).passed for case, outputs in _outputs(checkpoint, golden)} == {True}
    return checkpoint, golden


def _outputs(checkpoint: Checkpoint, golden: list[GoldenCase]) -> list[tuple[GoldenCase, Array]]:
    """Each case with what torch makes of its inputs."""
    network = checkpoint.network()
    with torch.inference_mode():
        return [(case, network(torch.from_numpy(case.inputs)).numpy()) for case in golden]


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", CHANGES)
def test_each_is_seen(cell: str, part: str, change: str) -> None:
    checkpoint, golden = right(cell)
    wrong = {**checkpoint.weights, part: CHANGES[change](checkpoint.weights[part]).astype(np.float32)}
    changed = Checkpoint(checkpoint.dilated, wrong)
    assert "failed" in [judge(case, outputs).verdict for case, outputs in _outputs(changed, golden)]

"""Comparisons that a wrong network would pass as well are refused, also where only part of the outputs is compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import InputError
from drnn_deploy.importing.compare import compare_with_original
from drnn_models.spec import ModelSpec
from drnn_runtimes.reference.loop import run_reference
from tests.drnn_deploy.importing.test_compare import SPEC, network
from tests.networks import random_inputs, random_weights


def test_steps_that_rounding_drowns_prove_nothing_of_a_dilation(tmp_path: Path) -> None:
    """Neither the right one, which nobody can see, nor another."""
    spec, random = ModelSpec("rnn", (16, 16), (1, 64), SPEC.input, SPEC.head), np.random.default_rng(0)
    weights = random_weights(spec, 0)
    weights["layers.0.weight_hh_l0"] = 1.5 * random.standard_normal((16, 16), np.float32)
    inputs = random_inputs(spec, 2, 129, 1)
    np.savez(tmp_path / "o.npz", inputs=inputs, outputs=run_reference(spec, weights, inputs).outputs)
    for dilation in (64, 80, 100):
        found = dataclasses.replace(network(dataclasses.replace(spec, dilations=(1, dilation))), weights=weights)
        with pytest.raises(InputError, match=r"hardly depend on 'layers\.1\.weight_hh_l0'.*rounding drowns"):
            compare_with_original(found, tmp_path / "o.npz")


def test_a_head_of_zeros_proves_nothing(tmp_path: Path) -> None:
    zeros = {name: value * (not name.startswith("head")) for name, value in network().weights.items()}
    inputs = random_inputs(SPEC, 2, 12, 1)
    np.savez(tmp_path / "o.npz", inputs=inputs, outputs=run_reference(SPEC, zeros, inputs).outputs)
    with pytest.raises(InputError, match=r"hardly depend on 'layers\.0"):
        compare_with_original(dataclasses.replace(network(), weights=zeros), tmp_path / "o.npz")

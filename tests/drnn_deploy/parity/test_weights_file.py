"""A bundle beside the checkpoint that it is said to be from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from drnn_deploy.parity.weights_file import check_against
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Head
from drnn_runtimes.bundle import Bundle


def test_bundle_is_of_the_checkpoint_that_it_was_exported_from(pristine: Path, network: Checkpoint) -> None:
    assert check_against(Bundle.open(pristine), network.dilated, network.weights).passed


def test_every_weight_counts(pristine: Path, network: Checkpoint) -> None:
    bundle = Bundle.open(pristine)
    for name, value in network.weights.items():
        other = value.copy()
        other.flat[-1] = np.nextafter(other.flat[-1], np.float32(9))
        result = check_against(bundle, network.dilated, {**network.weights, name: other})
        assert result.findings == (f"{name} differs from the checkpoint's in 1 of {value.size:,} values",)


def test_another_network_is_named(pristine: Path, network: Checkpoint) -> None:
    bundle = Bundle.open(pristine)
    spec = dataclasses.replace(network.dilated, dilations=(1, 3), head=Head("last", 2))
    weights = {name: value for name, value in network.weights.items() if name != "head.bias"}
    weights |= {"head.weight": network.weights["head.weight"][:2]}
    result = check_against(bundle, spec, weights)
    assert not result.passed
    told = "\n".join(result.findings)
    assert "the network's dilations is [1, 2], the checkpoint's is [1, 3]" in told
    assert "head.bias is not in the checkpoint" in told
    assert "head.weight has the shape (3, 5), the checkpoint's (2, 5)" in told

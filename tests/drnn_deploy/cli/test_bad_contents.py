"""Checkpoints whose contents contradict themselves, or ask for too much: one message, exit code 2."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from drnn_core.plain_data import MAX_DEPTH
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Tokens
from tests.drnn_deploy.cli.spoiled import Contents, plain, refused, repickled, saved
from tests.drnn_deploy.conftest import Command
from tests.networks import random_weights
from tests.nightly import combinations


def _set(*path: str, to: Any) -> Callable[[Contents], Contents]:
    def change(contents: Contents) -> Contents:
        at: Any = contents
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = to(at.get(path[-1])) if callable(to) else to
        return contents

    return change


def _without(*path: str) -> Callable[[Contents], Contents]:
    def change(contents: Contents) -> Contents:
        at: Any = contents
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]
        return contents

    return change


WEIGHT = "layers.1.weight_hh_l0"
CHANGES: dict[str, tuple[Callable[[Contents], Any], str]] = {
    "wrong format": (_set("format", to="drnn-deploy/2"), "found format 'drnn-deploy/2'"),
    "plain state dict": (lambda contents: contents["state_dict"], "is a state dict"),
    "a list": (lambda contents: [contents], "found a list"),
    "a tensor": (lambda contents: contents["state_dict"]["head.bias"], "found a Tensor"),
    "no spec": (_without("spec"), "spec: must be an object"),
    "no state dict": (_without("state_dict"), "'state_dict' must map names to tensors"),
    "state dict of numbers": (_set("state_dict", to={"head.bias": 1.0}), "'state_dict' must map names to tensors"),
    "task of the wrong type": (_set("task", to=[8]), "'task' must be an object"),
    "task with a tensor": (_set("task", "length", to=torch.ones(1)), "'task' must hold JSON types"),
    "task with NaN": (_set("task", "rate", to=math.nan), "'task' must hold JSON types"),
    # weights
    "NaN": (_set("state_dict", WEIGHT, to=lambda w: w.index_fill(0, torch.tensor(1), math.nan)), WEIGHT),
    "infinite weight": (_set("state_dict", "head.bias", to=torch.tensor([0.0, math.inf, 0.0])), "'head.bias' holds 1"),
    "beyond float32": (
        _set("state_dict", "head.bias", to=torch.full((3,), 1e300, dtype=torch.float64)),
        "'head.bias' holds 3",
    ),
    "missing weight": (_without("state_dict", WEIGHT), f"lack {WEIGHT!r}"),
    "extra weight": (_set("state_dict", "layers.9.bias", to=torch.ones(1)), "hold 'layers.9.bias'"),
    "wrong shape": (
        _set("state_dict", WEIGHT, to=torch.ones(15, 4)),
        f"{WEIGHT!r} has shape (15, 4), the spec says (15, 5)",
    ),
    "transposed": (_set("state_dict", WEIGHT, to=lambda w: w.T), f"{WEIGHT!r} has shape (5, 15)"),
    "integer weights": (_set("state_dict", "head.bias", to=torch.ones(3, dtype=torch.int32)), "type int32"),
    "complex weights": (_set("state_dict", "head.bias", to=torch.ones(3, dtype=torch.complex64)), "type complex64"),
    "float8 weights": (_set("state_dict", "head.bias", to=torch.ones(3).to(torch.float8_e5m2)), "float8_e5m2"),
    "sparse weights": (_set("state_dict", "head.bias", to=torch.ones(3).to_sparse()), "must be a dense tensor"),
    "weights on no device": (_set("state_dict", "head.bias", to=torch.ones(3, device="meta")), "'head.bias'"),
    # a spec that the weights contradict
    "another cell": (_set("spec", "cell", to="lstm"), "the spec says (16, 2)"),
    "another width": (_set("spec", "hidden", to=[4, 6]), "the spec says (18, 4)"),
    "a layer more": (
        _set("spec", to=lambda spec: {**spec, "hidden": [4, 5, 6], "dilations": [1, 2, 4]}),
        "lack 'layers.2",
    ),
    "a layer less": (_set("spec", to=lambda spec: {**spec, "hidden": [4], "dilations": [1]}), "hold 'layers.1"),
    "other inputs": (_set("spec", "input", "features", to=3), "the spec says (12, 3)"),
    "other outputs": (_set("spec", "head", "outputs", to=4), "the spec says (4, 5)"),
    "fusion without weights for it": (
        _set("spec", to=lambda spec: {**spec, "dilations": [2, 4], "fusion": True}),
        "the spec says (3, 10)",
    ),
    # a spec that contradicts itself
    "unknown field": (_set("spec", "dropout", to=0.1), "spec: unknown field 'dropout'"),
    "unknown field of the head": (_set("spec", "head", "bias", to=True), "spec.head: unknown field 'bias'"),
    "field left out": (_without("spec", "hidden"), "spec: missing field 'hidden'"),
    "unknown cell": (_set("spec", "cell", to="transformer"), "spec.cell: must be one of rnn, gru, lstm"),
    "dilation 0": (_set("spec", "dilations", to=[1, 0]), "spec.dilations[1]"),
    "negative dilation": (_set("spec", "dilations", to=[-1, 2]), "spec.dilations[0]"),
    "dilation of another type": (_set("spec", "dilations", to=[1, "2"]), "spec.dilations[1]"),
    "dilation that is a float": (_set("spec", "dilations", to=[1, 2.0]), "spec.dilations[1]"),
    "dilation that is true": (_set("spec", "dilations", to=[True, 2]), "spec.dilations[0]"),
    "dilation beyond bounds": (_set("spec", "dilations", to=[1, 1 << 60]), "spec.dilations[1]"),
    "dilation of 30 digits": (_set("spec", "dilations", to=[1, 10**30]), "spec.dilations[1]"),
    "dilation of 600 digits": (_set("spec", "dilations", to=[1, 10**600]), "a whole number of more than 128 bits"),
    "dilation too few": (_set("spec", "dilations", to=[1]), "spec.dilations: 1 dilations for 2 layers"),
    "no layers": (_set("spec", to=lambda spec: {**spec, "hidden": [], "dilations": []}), "spec.hidden"),
    "65 layers": (_set("spec", "hidden", to=[1] * 65), "spec.hidden: must be a list of 1 to 64"),
    # examples
    "examples without targets": (_without("examples", "targets"), "'examples' must hold"),
    "examples of a number": (_set("examples", to=3), "'examples' must hold"),
    "examples of a list": (_set("examples", "inputs", to=[[1.0]]), "'examples.inputs' must be a dense tensor"),
    "examples with other features": (_set("examples", "inputs", to=torch.ones(3, 8, 5)), "'examples' has inputs"),
    "examples without steps": (_set("examples", "inputs", to=torch.ones(3, 0, 2)), "'examples' has inputs"),
    "examples of another type": (_set("examples", "inputs", to=lambda x: x.double()), "'examples' has inputs float64"),
    "tokens for a continuous input": (
        _set("examples", "inputs", to=torch.ones(3, 8, dtype=torch.int64)),
        "'examples' has inputs int64",
    ),
    "examples with NaN": (_set("examples", "inputs", to=lambda x: x * math.nan), "'examples' has inputs that are NaN"),
    "more examples than targets": (_set("examples", "targets", to=torch.tensor([0, 1])), "'examples' has targets"),
    "targets that are float64": (_set("examples", "targets", to=torch.ones(3).double()), "has targets float64"),
    "targets that are NaN": (_set("examples", "targets", to=torch.ones(3) * math.nan), "targets that are NaN"),
    "a source that is no text": (_set("examples", "source", to=3), "must say its source"),
    "one target for all": (_set("examples", "targets", to=torch.tensor(1)), "'examples' has targets"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_contents_that_contradict_themselves(command: Command, model: Path, change: str) -> None:
    edit, says = CHANGES[change]
    model.write_bytes(saved(edit(plain(model))))
    refused(command, model, says)


@pytest.mark.parametrize(
    ("path", "levels"),
    combinations(
        [("spec", "dilations"), ("spec", "cell"), ("provenance", "seed"), ("unknown",)],
        [MAX_DEPTH, 400, 5000, 100_000],
        by_day=5,
    ),
)
def test_lists_nested_deeper_than_any_checkpoint(
    command: Command, model: Path, path: tuple[str, ...], levels: int
) -> None:
    """On every Python the same message, however deep it recurses."""
    contents = _set(*path, to="DEEP")({"provenance": {}, **plain(model)})
    deep = b"]" * levels + b"a" * (levels - 1)  # the pickle of [[[...]]], which Python itself cannot write
    model.write_bytes(repickled(saved(contents), lambda part: part.replace(b"X\x04\0\0\0DEEP", deep)))
    refused(command, model, f"nested deeper than {MAX_DEPTH} levels")


def test_lists_that_are_one_list_in_very_many_places(command: Command, model: Path) -> None:
    laughs: Any = ["ha"]
    for _ in range(40):
        laughs = [laughs, laughs]  # a few bytes of pickle, 2**40 words of JSON
    model.write_bytes(saved(_set("provenance", to={"note": laughs})(plain(model))))
    refused(command, model, "more than 2,000,000 values")


def test_long_values_make_no_long_message(command: Command, model: Path) -> None:
    model.write_bytes(saved(_set("spec", "hidden", to=[1] * 10_000)(plain(model))))
    assert len(refused(command, model)) < 1000


def test_few_bytes_seen_as_a_large_weight_are_refused_before_memory_is_taken(command: Command, model: Path) -> None:
    huge = torch.zeros(1).expand(1 << 20, 1 << 20)
    model.write_bytes(saved(_set("state_dict", WEIGHT, to=huge)(plain(model))))
    assert model.stat().st_size < 100_000
    refused(command, model, WEIGHT, "is not stored whole")


@pytest.mark.parametrize("token", [-1, 7])
def test_example_tokens_outside_the_vocabulary(command: Command, model: Path, network: Checkpoint, token: int) -> None:
    spec = dataclasses.replace(network.spec, input=Tokens(7))
    save_checkpoint(model, Checkpoint(spec, random_weights(spec, 0)))
    tokens = torch.zeros(3, 8, dtype=torch.int64)
    tokens[1, 2] = token
    examples = {"inputs": tokens, "targets": torch.zeros(3, dtype=torch.int64), "source": "made up"}
    model.write_bytes(saved({**plain(model), "examples": examples}))
    refused(command, model, "tokens outside 0 to 6")


@pytest.mark.parametrize("dilations", [(1, 1 << 24), (1 << 20, 1)])
def test_dilation_that_would_take_the_reference_hours(
    command: Command, model: Path, network: Checkpoint, dilations: tuple[int, int]
) -> None:
    spec = dataclasses.replace(network.spec, dilations=dilations, fusion=False)
    save_checkpoint(model, Checkpoint(spec, network.weights, {"length": 8}))
    ran = command(model, "--output", model.parent / "bundle", "--engine", "none")
    assert ran.code == 2
    assert "length and spec.dilations sum to" in ran.err
    assert sorted(path.name for path in model.parent.iterdir()) == ["model.pt"]


@pytest.mark.parametrize("recurrent, head", [(1e30, 1.0), (30.0, 1e-30)], ids=["float64 too", "float32 alone"])
def test_network_whose_numbers_grow_beyond_float32(
    command: Command, model: Path, network: Checkpoint, recurrent: float, head: float
) -> None:
    """With a small head the float64 outputs are in range, and only float32 has infinities on the way to them."""
    spec = dataclasses.replace(network.spec, cell="rnn", activation="relu", hidden=(4, 5), dilations=(1, 1))
    weights = {name: np.full(shape, 1.0, np.float32) for name, shape in spec.weight_shapes().items()}
    for name in weights:
        weights[name] *= recurrent if "hh" in name else head if "head" in name else 1.0  # type: ignore[assignment]
    save_checkpoint(model, Checkpoint(spec, weights))
    ran = command(model, "--output", model.parent / "bundle", "--engine", "none", "--length", 24)
    assert ran.code == 2
    assert "grow beyond float32" in ran.err
    assert "Warning" not in ran.err
    assert sorted(path.name for path in model.parent.iterdir()) == ["model.pt"]

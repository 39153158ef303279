"""Hostile and damaged checkpoints: one message, exit code 2, nothing executed, nothing left behind."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from drnn_models.checkpoint import Checkpoint
from tests.bomb import Bomb
from tests.drnn_deploy.cli.spoiled import plain, refused, repickled, saved
from tests.drnn_deploy.conftest import Command


class Thing:
    """An object of somebody's own class."""


def test_missing_checkpoint(command: Command, tmp_path: Path) -> None:
    refused(command, tmp_path / "model.pt", "does not exist")


def test_folder_in_place_of_a_checkpoint(command: Command, tmp_path: Path) -> None:
    (tmp_path / "model.pt").mkdir()
    refused(command, tmp_path / "model.pt", "is not a file")


def test_empty_file(command: Command, model: Path) -> None:
    model.write_bytes(b"")
    refused(command, model, "is empty")


@pytest.mark.parametrize("share", [0.0003, 0.01, 0.3, 0.6, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoint_that_was_cut_short(command: Command, model: Path, share: float, legacy: bool) -> None:
    whole = saved(plain(model), legacy=legacy)
    model.write_bytes(whole[: math.ceil(share * (len(whole) - 1))])
    assert "damaged, cut short or of another kind" in refused(command, model, "cannot be read")


@pytest.mark.parametrize("content", [b"hello\n", b"\0" * 2000, b"\x80\x02", b"PK\x03\x04", b"\x93NUMPY" + b"\1" * 99])
def test_file_of_another_kind(command: Command, model: Path, content: bytes) -> None:
    model.write_bytes(content)
    assert "weights_only" not in refused(command, model, "cannot be read")


def test_flipped_bit_in_a_weight(command: Command, model: Path, network: Checkpoint) -> None:
    content = bytearray(model.read_bytes())
    content[content.index(network.weights["layers.1.weight_ih_l0"].tobytes()) + 3] ^= 1
    model.write_bytes(content)
    refused(command, model, "cannot be read")


def pickled(protocol: int) -> Callable[[object], bytes]:
    return lambda thing: pickle.dumps(thing, protocol)


def _in_a_torch_zip(thing: object) -> bytes:
    return saved({"format": "drnn-deploy/1", "spec": thing})


PACKINGS: dict[str, Callable[[object], bytes]] = {
    "pickle": pickled(2),
    "newer pickle": pickled(pickle.HIGHEST_PROTOCOL),
    "torch zip": _in_a_torch_zip,
    "torch zip with another pickle": lambda thing: repickled(saved({}), lambda _: pickle.dumps(thing, 2)),
    "legacy torch file": lambda thing: saved({"spec": thing}, legacy=True),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_pickle_that_runs_code_is_refused_and_not_run(command: Command, model: Path, packing: str) -> None:
    marker = model.parent / "marker"
    model.write_bytes(PACKINGS[packing](Bomb(marker)))
    assert "save_checkpoint" in refused(command, model, "Python objects", "was not loaded", "any code")
    assert not marker.exists()


def test_the_bomb_would_have_gone_off(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("make", [lambda: torch.nn.Linear(2, 2), Thing], ids=["module", "class"])
def test_pickled_objects(command: Command, model: Path, make: Callable[[], object]) -> None:
    model.write_bytes(saved(make()))
    refused(command, model, "Python objects")

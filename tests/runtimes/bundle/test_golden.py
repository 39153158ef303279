"""Golden data that the manifest vouches for: what is damaged is refused, and nothing in it is run."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drnn_runtimes.bundle import Bundle
from tests.bomb import Bomb
from tests.sealing import reseal


def golden(bundle: Path, **changes: Any) -> None:
    """Replace arrays of golden.npz, or remove those that are None, and vouch for it."""
    with np.load(bundle / "golden.npz") as arrays:
        content = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    with (bundle / "golden.npz").open("wb") as file:
        np.savez(file, **content)
    reseal(bundle)


INDEXED = {"name": "zeros", "noise": 1e-7, "narrow_noise": {}, "source": "", "labelled": False, "stream": False}


def index(**changes: Any) -> Any:
    return np.array(json.dumps([{**INDEXED, **changes}]))


def test_pickled_arrays_are_refused_and_not_unpickled(
    bundle: Path, refused: Callable[..., None], tmp_path: Path
) -> None:
    golden(bundle, **{"zeros.inputs": np.array([Bomb(tmp_path / "marker")], dtype=object)})
    refused("golden.npz", "Object arrays cannot be loaded", "Export it again")
    assert not (tmp_path / "marker").exists()


def test_pickle_in_place_of_the_archive_is_not_unpickled(
    bundle: Path, refused: Callable[..., None], tmp_path: Path
) -> None:
    np.array([Bomb(tmp_path / "marker")], dtype=object).dump(bundle / "golden.npz")
    reseal(bundle)
    refused("golden.npz")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["noise.fp32", "signal"])
@pytest.mark.parametrize("kind", ["complex128", "bool", "float32", "U9", "int64"])
def test_noise_and_signal_are_float64(bundle: Path, refused: Callable[..., None], name: str, kind: str) -> None:
    with np.load(bundle / "golden.npz") as arrays:
        values = arrays[f"zeros.{name}"]
    golden(bundle, **{f"zeros.{name}": values.astype(kind)})
    refused("noise of golden case 'zeros'", "not float64")


GOLDEN: dict[str, dict[str, Any]] = {
    "no index": {"index": None},
    "index that is no JSON": {"index": np.array("zeros")},
    "index of a number": {"index": np.array("3")},
    "no cases": {"index": np.array("[]")},
    "entry without a name": {"index": np.array("[{}]")},
    "case that is not there": {"index": index(name="other")},
    "targets that are not there": {"index": index(labelled=True)},
    "noise that is text": {"index": index(noise="small")},
    "noise NaN": {"index": index(noise=float("nan"))},
    "noise that lets everything pass": {"index": index(noise=float("inf"))},
    "negative noise": {"index": index(noise=-1e-7)},
    "outputs missing": {"zeros.outputs": None},
    "outputs in float32": {"zeros.outputs": np.zeros((4, 3), np.float32)},
    "outputs NaN": {"zeros.outputs": np.full((4, 3), np.nan)},
    "outputs of fewer sequences": {"zeros.outputs": np.zeros((3, 3))},
    "outputs without a class": {"zeros.outputs": np.zeros((4, 0))},
    "outputs flat": {"zeros.outputs": np.zeros(4)},
    "inputs flat": {"zeros.inputs": np.zeros(())},
}


def test_golden_data_replaced_by_whole_data_is_read(bundle: Path) -> None:
    golden(bundle, index=index())
    assert [case.name for case in Bundle.open(bundle).golden] == ["zeros"]


@pytest.mark.parametrize("change", GOLDEN)
def test_golden_data_damaged(bundle: Path, refused: Callable[..., None], change: str) -> None:
    golden(bundle, **GOLDEN[change])
    refused("golden.npz", "Export it again")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_golden_data_cut_short(bundle: Path, refused: Callable[..., None], share: float) -> None:
    whole = (bundle / "golden.npz").read_bytes()
    (bundle / "golden.npz").write_bytes(whole[: int(share * len(whole))])
    reseal(bundle)
    refused("golden.npz")


def test_golden_data_that_would_unpack_to_more_than_memory(bundle: Path, refused: Callable[..., None]) -> None:
    """By what the archive's directory says: nothing is unpacked."""
    with zipfile.ZipFile(bundle / "golden.npz", "a") as archive:
        archive.writestr("more.npy", bytes(1 << 10))
        archive.getinfo("more.npy").file_size = 1 << 32
    reseal(bundle)
    refused("golden.npz: it unpacks to 4.29 GB, more than")


def test_golden_data_with_a_wrong_checksum(bundle: Path, refused: Callable[..., None]) -> None:
    buffer = io.BytesIO()
    with np.load(bundle / "golden.npz") as arrays:
        np.savez(buffer, **arrays)
    content = bytearray(buffer.getvalue())
    with zipfile.ZipFile(buffer) as archive:
        content[archive.getinfo("normal.outputs.npy").header_offset + 400] ^= 1
    (bundle / "golden.npz").write_bytes(content)
    reseal(bundle)
    refused("golden.npz")

"""Pickles that cost more than they are long, or name what no state dict has, are refused before torch sees them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_models.plain_files import load_plain

HERE = b"X\x04\0\0\0HERE"  # the pickle of "HERE"
DATA = {"weights": torch.arange(6.0), "x": "HERE"}


def whole_number(value: int) -> bytes:
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def called(module: str, name: str, *arguments: bytes) -> bytes:
    """The pickle of a call."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def new_format(path: Path, pickle: bytes, *, compress: int = zipfile.ZIP_STORED) -> None:
    buffer = io.BytesIO()
    torch.save(DATA, buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", compress) as new:
        for name in old.namelist():
            content = old.read(name)
            assert not name.endswith("data.pkl") or HERE in content
            new.writestr(name, content.replace(HERE, pickle))


def old_format(path: Path, pickle: bytes) -> None:
    buffer = io.BytesIO()
    torch.save(DATA, buffer, _use_new_zipfile_serialization=False)
    path.write_bytes(buffer.getvalue().replace(HERE, pickle))


ALIKE = [number * ((1 << 61) - 1) for number in range(10_001)]
FORMATS = (new_format, old_format)
COSTLY = {
    "bytes": (called("builtins", "bytearray", whole_number(10**10)), "Python objects"),
    "copies": (called("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"), "must be a dense tensor"),
    "numbers that hash alike": (b"(" + b"".join(map(whole_number, ALIKE)) + b"t", "more values"),
    "empty sets": (b"(" + b"\x8f" * 2_000_001 + b"t", "more values"),
}


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("name", COSTLY)
def test_few_bytes_that_cost_much(tmp_path: Path, write: Callable[[Path, bytes], None], name: str) -> None:
    pickle, says = COSTLY[name]
    write(tmp_path / "model.pt", pickle)
    with pytest.raises(InputError, match=says):
        load_plain(tmp_path / "model.pt")


@pytest.mark.parametrize("write", FORMATS)
def test_what_state_dicts_hold_is_read(tmp_path: Path, write: Callable[[Path, bytes], None]) -> None:
    write(tmp_path / "model.pt", HERE)
    assert load_plain(tmp_path / "model.pt")["x"] == "HERE"
    network = torch.nn.Linear(2, 3).to(torch.bfloat16)
    network.weight.note = "an attribute"  # type: ignore[assignment]
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(2, dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    kinds = [torch.float32, torch.float16, torch.float64, torch.int8, torch.uint8, torch.bool]
    kinds += [torch.uint16] * (write is new_format)  # torch reads no such old files
    data = {
        "parts": [
            network.state_dict(),
            dict(network.named_parameters()),
            optimizer.state_dict(),
            schedule.state_dict(),
        ],
        "kinds": [torch.zeros(2, dtype=kind) for kind in kinds],
        "plain": [torch.Size([1]), torch.float32, torch.device("cpu"), {1, 2}, b"bytes", None, True, 1 << 40],
    }
    torch.save(data, tmp_path / "all.pt", _use_new_zipfile_serialization=write is new_format)
    assert load_plain(tmp_path / "all.pt")["plain"] == data["plain"]


def test_archive_that_unpacks_to_more_than_a_network_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zeros are never unpacked; tests/hostile has one of four gigabytes."""
    new_format(tmp_path / "model.pt", HERE)
    with zipfile.ZipFile(tmp_path / "model.pt", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/1", bytes(2 << 20))
    assert (tmp_path / "model.pt").stat().st_size < 100_000
    load_plain(tmp_path / "model.pt")
    monkeypatch.setattr(bounds, "UNPACKED", 1 << 20)
    with pytest.raises(InputError, match=r"unpacks to 2\.1 MB, more than 1\.05 MB"):
        load_plain(tmp_path / "model.pt")


@pytest.mark.parametrize("start", [b"", b"PK\3\4", b"\x80\2"])
def test_file_of_a_hundred_gigabytes(tmp_path: Path, start: bytes) -> None:
    with (tmp_path / "model.pt").open("wb") as file:
        file.write(start)
        file.truncate(100 << 30)
    with pytest.raises(InputError, match="it is 107 GB long"):
        load_plain(tmp_path / "model.pt")

"""Pickles that cost more than they are long, or name what no state dict has, are refused before torch sees them."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_models import pickle_rehearsal
from drnn_models.plain_files import load_plain, save_plain

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


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def in_dict(key: bytes, value: bytes) -> bytes:
    return b"}" + key + value + b"s"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def twice(value: bytes) -> bytes:
    """A pair of one tuple."""
    return b"(" + value + b"q\xfah\xfat"


ONE, HALF = b"K\x01", b"G" + struct.pack(">d", 0.5)
STORAGE = b"(" + text("storage") + named("torch", "FloatStorage") + text("0") + text("cpu") + b"K\x06tQ"
MANY = called("torch._utils", "_rebuild_tensor_v2", STORAGE, b"K\0", b"(J\0\0\0\x7ft", b"(K\0t", b"\x89", b"}")
TEXTS = text("A" * 4000)
for _ in range(40):
    TEXTS = called("_codecs", "encode", TEXTS, text("hex"))
TUPLES = b")"
for _ in range(60):
    TUPLES = twice(TUPLES)
ORDERED = named("collections", "OrderedDict") + b")R"
UNUSUAL = {
    "texts that double": TEXTS,
    "a set of one number seen as two billion": called("builtins", "set", MANY),
    "a count of it": called("collections", "Counter", MANY),
    "a size of it": called("torch", "Size", MANY),
    "a dictionary of it": called("collections", "OrderedDict", MANY),
    "memory that nobody wrote": called("torch", "FloatTensor", b"J\0\0\0\x7f"),
    "a storage that nobody wrote": called("torch.storage", "UntypedStorage", b"J\0\0\0\x7f"),
    "a call within a tensor": called(
        "torch._tensor", "_rebuild_from_type_v2", named("builtins", "set"), named("torch", "Tensor"), MANY + b"\x85",
        b"N",
    ),
    "a key of tuples within tuples": in_dict(TUPLES, ONE),
    "keys of tuples within tuples": b"}(" + TUPLES + ONE + b"u",
    "a set of tuples within tuples": called("builtins", "set", b"]" + TUPLES + b"a"),
    **{f"{kind} as a {place}": write(key) for kind, key in {
        "a pair": b"(" + ONE + HALF + b"t", "a shape": called("torch", "Size", b"(" + ONE + b"t"), "a float": HALF,
    }.items() for place, write in {
        "key": lambda key: in_dict(key, ONE),
        "key among others": lambda key: b"}(" + text("a") + ONE + key + ONE + b"u",
        "member": lambda key: called("builtins", "set", b"](" + ONE + key + b"e"),
        "key in order": lambda key: called("collections", "OrderedDict", b"](" + key + ONE + b"ta"),
    }.items()},
    "a text in a thousand calls": b"(" + text("A" * 900_000) + b"q\xfa" + b"".join(
        called("_codecs", "encode", b"h\xfa", text("latin1")) for _ in range(100)
    ) + b"t",
    "a dictionary's method that is a number": ORDERED + in_dict(text("items"), ONE) + b"b",
    "a tensor's method that is a number": called(
        "torch._tensor", "_rebuild_from_type_v2", named("torch._utils", "_rebuild_tensor_v2"), named("torch", "Tensor"),
        b"(" + STORAGE + b"K\0(K\x01t(K\x01t\x89}t", in_dict(text("numel"), ONE),
    ),
}  # fmt: skip


@pytest.mark.parametrize("write", FORMATS)
@pytest.mark.parametrize("name", UNUSUAL)
def test_calls_that_torch_save_does_not_write(tmp_path: Path, write: Callable[[Path, bytes], None], name: str) -> None:
    write(tmp_path / "model.pt", UNUSUAL[name])
    with pytest.raises(InputError, match=r"is not read: (its pickle|the plain data)|Python objects"):
        load_plain(tmp_path / "model.pt")


def test_tensors_of_more_elements_than_any_network(tmp_path: Path) -> None:
    storage = STORAGE.replace(text("0"), text("new")).replace(b"K\x06", b"\x8a\x05" + bytes(4) + ONE[1:])
    for write in FORMATS:
        write(tmp_path / "model.pt", storage)
        with pytest.raises(InputError, match=r"its tensors have 4,294,967,\d\d\d elements"):
            load_plain(tmp_path / "model.pt")


def test_old_file_with_an_archive_behind_it(tmp_path: Path) -> None:
    """`zipfile` looks at the end of a file, torch at its start."""
    old_format(tmp_path / "model.pt", called("builtins", "bytearray", whole_number(10**10)))
    with (tmp_path / "model.pt").open("ab") as file:
        zipfile.ZipFile(file, "w").close()
    with pytest.raises(InputError, match="Python objects"):
        load_plain(tmp_path / "model.pt")


def test_archive_behind_another_is_read_as_it_was_checked(tmp_path: Path) -> None:
    new_format(tmp_path / "one.pt", HERE)
    new_format(tmp_path / "two.pt", text("THERE"))
    both = tmp_path / "both.pt"
    both.write_bytes((tmp_path / "one.pt").read_bytes() + (tmp_path / "two.pt").read_bytes())
    assert load_plain(both)["x"] == "THERE"


def test_parts_of_one_name(tmp_path: Path) -> None:
    new_format(tmp_path / "model.pt", HERE)
    with zipfile.ZipFile(tmp_path / "model.pt", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(archive.namelist()[0], b"")
    with pytest.raises(InputError, match="BadZipFile"):
        load_plain(tmp_path / "model.pt")


def test_old_file_without_the_keys_of_its_storages(tmp_path: Path) -> None:
    """torch would hand out memory as it finds it; a text of tuples within tuples is never at its end."""
    old_format(tmp_path / "model.pt", HERE)
    content = (tmp_path / "model.pt").read_bytes()
    with io.BytesIO(content) as file:
        for _ in range(4):
            list(pickletools.genops(file))
        start = content[: file.tell()]
    for keys in (pickle.dumps([], 2), b"\x80\2]" + TUPLES + b"a.", b"\x80\2" + TUPLES + b"."):
        (tmp_path / "model.pt").write_bytes(start + keys)
        with pytest.raises(InputError, match="cannot be read"):
            load_plain(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "data",
    [
        {"times": [2**40 + number for number in range(10_001)]},
        {str(key): key for key in range(7_000)},
        {(0,): 1},
        frozenset("a"),
    ],
    ids=["long numbers", "a large dict", "tuples as keys", "a frozen set"],
)
def test_nothing_is_saved_that_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: object) -> None:
    monkeypatch.setattr(pickle_rehearsal, "_MOST_OPERATIONS", 20_000)
    with pytest.raises(InputError, match="would not be read again"):
        save_plain(tmp_path / "model.pt", data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["archive/DATA.PKL", "archive/Data.pkl", "archive/more/data.pkl"])
def test_torch_does_not_look_at_capitals(tmp_path: Path, name: str) -> None:
    new_format(tmp_path / "model.pt", HERE)
    with zipfile.ZipFile(tmp_path / "model.pt", "a") as archive:
        archive.writestr(name, b"\x80\x02" + called("_codecs", "encode", text("a"), text("utf-8")) + b".")
    with pytest.raises(InputError, match="BadZipFile"):
        load_plain(tmp_path / "model.pt")


def test_a_pickle_of_another_spelling_is_checked(tmp_path: Path) -> None:
    new_format(tmp_path / "right.pt", called("builtins", "set", MANY))
    with zipfile.ZipFile(tmp_path / "right.pt") as old, zipfile.ZipFile(tmp_path / "model.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name.replace("data.pkl", "DATA.PKL"), old.read(name))
    with pytest.raises(InputError, match="calls set"):
        load_plain(tmp_path / "model.pt")


@pytest.mark.parametrize("operation", [b"(" + TUPLES + b"\x91", b"(" + TUPLES + ONE + b"d", b"\x8b\1\0\0\0\1"])
def test_operations_that_torch_does_not_read_are_not_tried(tmp_path: Path, operation: bytes) -> None:
    for write in FORMATS:
        write(tmp_path / "model.pt", operation)
        with pytest.raises(InputError, match=r"cannot be read|Python objects"):
            load_plain(tmp_path / "model.pt")


def test_unusual_but_plain(tmp_path: Path) -> None:
    """Keys and attributes that torch reads, and nothing here calls."""
    tensor, ordered = torch.zeros(2), OrderedDict(a=1)
    tensor.mean = 1.0  # type: ignore[method-assign, assignment]
    ordered.note = "an attribute"  # type: ignore[attr-defined]
    data = {
        None: tensor,
        torch.float32: 1,
        torch.device("cpu"): 2,
        "set": {torch.int8, torch.bool},
        "o": ordered,
    }
    for new in (True, False):
        torch.save(data, tmp_path / "model.pt", _use_new_zipfile_serialization=new)
        found = load_plain(tmp_path / "model.pt")
        assert found[None].equal(torch.zeros(2))
        assert found[torch.float32] == 1

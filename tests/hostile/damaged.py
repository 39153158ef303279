"""Makes hostile checkpoints, weights, states and recipes out of right ones, from random numbers."""

from __future__ import annotations

import io
import json
import random
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.bomb import Bomb

BOMB = 3 << 30  # bytes that an archive of a few megabytes unpacks to
NUMBERS = (0, -1, 1, 2, 3, 1 << 24, (1 << 24) + 1, 1 << 31, 1 << 63, 10**30, 1.5, 1e300, float("nan"), float("inf"))
TEXTS = (
    "",
    "x",
    "[/red]",
    "\x1b[2J",
    "\ud800",
    "../../x",
    "/etc/passwd",
    "a" * 5000,
    "rnn",
    "{{7*7}}",
    "$(touch marker)",
)
ONE = b"K\x01"  # the pickle of 1


def anything(draw: random.Random, depth: int = 0) -> Any:
    """A value that a reader may not expect."""
    kind = draw.randrange(9 if depth < 3 else 6)
    if kind < 2:
        return draw.choice(NUMBERS)
    if kind < 4:
        return draw.choice(TEXTS)
    if kind == 4:
        return draw.choice([None, True, False])
    if kind == 5:
        return draw.choice([[], {}, [[]] * 3])
    if kind < 8:
        return [anything(draw, depth + 1) for _ in range(draw.randrange(5))]
    return {draw.choice(TEXTS[:4]): anything(draw, depth + 1) for _ in range(draw.randrange(4))}


def tensor(draw: random.Random) -> Any:
    """A tensor that no reader wants: of another type, shape, layout or device, or not stored whole."""
    shape = [draw.choice([0, 1, 2, 3, 7]) for _ in range(draw.randrange(4))]
    dtypes = [torch.float64, torch.int64, torch.bool, torch.complex64, torch.float16, torch.bfloat16, torch.float8_e5m2]
    return draw.choice([
        lambda: torch.zeros(shape).to(draw.choice(dtypes)),
        lambda: torch.zeros(shape) * float("nan"),
        lambda: torch.zeros(1).expand(1 << 20, 1 << 20),
        lambda: torch.zeros(1 << 16).expand(1 << 12, 1 << 16),
        lambda: torch.zeros(3, 4).to_sparse(),
        lambda: torch.zeros(2, 2, device="meta"),
        lambda: torch.zeros(4, 4)[::2, ::2],
    ])()  # fmt: skip


def change_one(draw: random.Random, data: Any) -> None:
    """Replace, take out or add one value, at any depth."""
    at: Any = data
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = draw.choice(keys)
        if not isinstance(at[key], (dict, list)) or draw.random() < 0.3:
            break
        at = at[key]
    kind = draw.randrange(6)
    if kind == 0:
        del at[key]
    elif isinstance(at[key], torch.Tensor) and kind < 4:
        at[key] = tensor(draw)
    elif kind == 1 and isinstance(at, dict):
        at[draw.choice((*TEXTS, *NUMBERS))] = at[key]
    else:
        at[key] = anything(draw)


def damage_bytes(draw: random.Random, path: Path) -> None:
    """Flip, cut, repeat or insert bytes."""
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 1, 2, 10])):
        start = draw.randrange(max(1, len(content)))
        end = min(len(content), start + draw.choice([1, 4, 100, 10_000]))
        kind = draw.randrange(4)
        if kind == 0 and content:
            content[start] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del content[start:end]
        elif kind == 2:
            content[start:start] = content[start:end]
        else:
            content[start:start] = draw.randbytes(draw.choice([1, 4, 100]))
    path.write_bytes(content)


def damage_members(draw: random.Random, path: Path) -> None:
    """Rewrite an archive: members renamed, doubled, left out, packed, cut, or holding gigabytes."""
    if not zipfile.is_zipfile(path):
        damage_bytes(draw, path)
        return
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        warnings.simplefilter("ignore")  # of a name that is there twice
        names = old.namelist()
        chosen, kind = draw.choice(names), draw.randrange(8)
        for name in names:
            content = old.read(name)
            if name == chosen and kind == 0:
                name = draw.choice(["x", "../x", "/tmp/x", name.upper(), f"{name}.npy"])
            elif name == chosen and kind == 1:
                continue
            elif name == chosen and kind == 2:
                content = content[: draw.randrange(len(content) + 1)]
            elif name == chosen and kind == 3:
                content = content * draw.randrange(2, 50)
            elif name == chosen and kind == 4:
                content = draw.randbytes(100)
            elif name == chosen and kind == 5:
                new.writestr(name, content, draw.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED]))
                continue
            elif name == chosen and kind == 6:
                content = content.replace(b"(", b"(9", 1) if name.endswith(".npy") else content[::-1]
            new.writestr(name, content)
        if kind == 7:
            _write_bomb(new, chosen if draw.random() < 0.5 else "archive/data/99")
    path.write_bytes(buffer.getvalue())


def _write_bomb(archive: zipfile.ZipFile, name: str) -> None:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(entry, "w", force_zip64=True) as member:
        for _ in range(BOMB >> 24):
            member.write(bytes(1 << 24))


def _number(value: int) -> bytes:
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def _call(module: str, name: str, *arguments: bytes) -> bytes:
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


SPLICES: tuple[Callable[[random.Random, Path], bytes], ...] = (
    lambda draw, marker: _call("builtins", "bytearray", _number(draw.choice([10, 10**9, 10**10]))),
    lambda draw, marker: _call("torch", "Tensor", _number(draw.choice([10, 10**9, 10**10]))),
    lambda draw, marker: _call("torch.storage", "UntypedStorage", _number(10**10)),
    lambda draw, marker: _call("torch", "FloatStorage", _number(10**10)),
    lambda draw, marker: _call("os", "mkdir", b"X" + len(str(marker)).to_bytes(4, "little") + str(marker).encode()),
    lambda draw, marker: _call("builtins", "eval", b"X\x04\0\0\x001+1 "[:9]),
    lambda draw, marker: _call("builtins", draw.choice(["getattr", "exec", "open", "print", "range"]), ONE),
    lambda draw, marker: _call("collections", "Counter", b"]"),
    lambda draw, marker: _call("_codecs", "encode", b"X\x01\0\0\0a", b"X\x05\0\0\0utf-8"),
    lambda draw, marker: _call("torch._utils", "_rebuild_device_tensor_from_cpu_tensor", ONE, ONE, ONE, ONE),
    lambda draw, marker: _call("torch._utils", "_rebuild_tensor_v2", ONE, ONE, ONE, ONE, ONE, ONE),
    lambda draw, marker: b"(" + b"".join(_number(n * ((1 << 61) - 1)) for n in range(200_000)) + b"t",
    lambda draw, marker: b"]" * 100_000 + b"a" * 99_999,
    lambda draw, marker: b"(" + b"]" * 3_000_000 + b"l",
    lambda draw, marker: b"X\xff\xff\xff\x7f" + b"a" * 100,
    lambda draw, marker: b"h\xff",
    lambda draw, marker: b"Q",
    lambda draw, marker: draw.randbytes(20),
)


def splice_pickle(draw: random.Random, path: Path, marker: Path) -> None:
    """Put something else in the place of a number of the pickle, in either of torch's formats."""
    content = path.read_bytes()
    piece = draw.choice(SPLICES)(draw, marker)
    if not zipfile.is_zipfile(path):
        path.write_bytes(content.replace(b"X\x04\0\0\0HERE", piece))
        return
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, part.replace(b"X\x04\0\0\0HERE", piece) if name.endswith("data.pkl") else part)
    path.write_bytes(buffer.getvalue())


def damage_checkpoint(draw: random.Random, path: Path, marker: Path) -> None:
    """Make a hostile file of a right checkpoint, training state or state dict."""
    kind = draw.randrange(8)
    if kind < 3:
        data = torch.load(path, weights_only=True)
        for _ in range(draw.choice([1, 1, 2, 5])):
            change_one(draw, data)
        if draw.random() < 0.1:
            data["object"] = Bomb(marker)
        torch.save(data, path, _use_new_zipfile_serialization=draw.random() < 0.7)
    elif kind < 5:
        data = torch.load(path, weights_only=True)
        data[draw.choice(["task", "x", "provenance"])] = {"x": "HERE"}
        torch.save(data, path, _use_new_zipfile_serialization=draw.random() < 0.7)
        splice_pickle(draw, path, marker)
    elif kind < 7:
        damage_bytes(draw, path)
    else:
        damage_members(draw, path)


def damage_safetensors(draw: random.Random, path: Path) -> None:
    """Change the header of a safetensors file, or its bytes."""
    if draw.random() < 0.3:
        damage_bytes(draw, path)
        return
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    for _ in range(draw.choice([1, 1, 3])):
        change_one(draw, header)
    if draw.random() < 0.1:
        header |= {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(100_000)}
    text = json.dumps(header).encode()
    told = draw.choice([len(text)] * 6 + [0, 1, 1 << 20, 99 << 20, 1 << 62])
    path.write_bytes(told.to_bytes(8, "little") + text + content[8 + size :])


def damage_state(draw: random.Random, path: Path) -> None:
    """Make a hostile file of a stream's right state."""
    kind = draw.randrange(6)
    if kind == 0:
        damage_bytes(draw, path)
        return
    if kind == 1:
        damage_members(draw, path)
        return
    arrays = dict(np.load(path))
    about = json.loads(str(arrays["about"]))
    for _ in range(draw.choice([1, 1, 2])):
        name = draw.choice([name for name in arrays if name != "about"])
        array = arrays[name]
        if draw.random() < 0.4:
            change_one(draw, about)
        elif draw.random() < 0.5:
            shape = tuple(draw.choice([0, 1, 2, 5, 8]) for _ in range(draw.randrange(5)))
            arrays[name] = np.ones(shape, draw.choice(["f4", "f8", "i8", "c8", "U3", "b1", ">f4", "f2", "V3"]))
        elif array.size and array.dtype == np.float32:
            array.flat[draw.randrange(array.size)] = draw.choice([np.nan, np.inf, -np.inf, 1e38])
    arrays["about"] = np.array(json.dumps(about))
    np.savez(path, **arrays)


def damage_text(draw: random.Random, text: str) -> str:
    """Change lines of a TOML or JSON file: other values, lines doubled, left out or new, brackets, and very much."""
    lines = text.splitlines()
    for _ in range(draw.choice([1, 1, 2, 4])):
        at, kind = draw.randrange(len(lines)), draw.randrange(8)
        if kind < 4:
            before, sign, _ = re.split(r"([=:]|$)", lines[at], maxsplit=1)
            lines[at] = f"{before}{sign} {json.dumps(anything(draw))}{',' * lines[at].endswith(',')}"
        elif kind == 4:
            del lines[at]
            lines = lines or ["x"]
        elif kind == 5:
            lines.insert(at, lines[draw.randrange(len(lines))])
        elif kind == 6:
            lines.insert(
                at, draw.choice(["[[", "]", "x = ", 'a."b".c = 1', "[training]", "\0", "x = 'y", f"{'a.' * 80}b=1"])
            )
        else:
            much = draw.choice(["x=[" + "[" * 50_000, "#" * (2 << 20), "1" * 100_000, "a=" + "{a=" * 20_000, "é" * 10])
            lines.insert(at, much)
    return "\n".join(lines)

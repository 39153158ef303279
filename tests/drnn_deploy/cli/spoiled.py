"""Checkpoints that are spoiled on purpose, and how an export of them is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.drnn_deploy.conftest import Command

Contents = dict[str, Any]


def plain(model: Path) -> Contents:
    contents: Contents = torch.load(model, weights_only=True)
    return contents


def saved(data: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(data, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def refused(command: Command, model: Path, *says: str, options: tuple[str, ...] = ()) -> str:
    """Export, and check the refusal: exit code 2, a message that names the file, advice, and no other file anywhere."""
    before = sorted(model.parent.rglob("*"))
    ran = command(model, "--output", model.parent / "bundle", "--engine", "none", *options)
    assert ran.code == 2
    message, *advice = ran.err.strip().splitlines()
    assert message.startswith(f"drnn-export: {model}")
    assert advice
    for words in says:
        assert words in message
    assert sorted(model.parent.rglob("*")) == before
    return str(ran.err)


def repickled(content: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A torch zip with another pickle in it."""
    source, target = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            part = source.read(name)
            archive.writestr(name, change(part) if name.endswith("data.pkl") else part)
    return target.getvalue()

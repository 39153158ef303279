"""Changes of a bundle that its manifest vouches for, as somebody would make who wants damage to pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drnn_core.files import sha256
from drnn_runtimes.bundle import MANIFEST, manifest_checksum

Change = Callable[[dict[str, Any]], object]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The entries of a bundle's manifest."""
    entries: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return entries


def edit_manifest(folder: Path, change: Change) -> None:
    """Change entries of a manifest, and its checksum with them."""
    entries = read_manifest(folder)
    change(entries)
    whole = {**entries, "checksum": manifest_checksum(entries)}
    (folder / MANIFEST).write_text(json.dumps(whole), encoding="utf-8")


def reseal(folder: Path, change: Change = lambda _: None) -> None:
    """Say of every file what it is now; then change entries."""

    def seal(entries: dict[str, Any]) -> None:
        for name, entry in entries["files"].items():
            entry |= {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
        change(entries)

    edit_manifest(folder, seal)

"""The network of the bundle that tests damage, and changes that its manifest vouches for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import manifest_checksum

SPEC = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
FILES = ("model.onnx", "weights.safetensors", "golden.npz", "parity.json")


def manifest(bundle: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return content


def edit(bundle: Path, **changes: Any) -> None:
    """Change entries of the manifest, and its checksum with them."""
    entries = {**manifest(bundle), **changes}
    (bundle / "manifest.json").write_text(
        json.dumps({**entries, "checksum": manifest_checksum(entries)}), encoding="utf-8"
    )


def vouch_for(bundle: Path, name: str) -> None:
    """Write a file's sha256 into the manifest, as somebody would who wants the damage to pass."""
    files = manifest(bundle)["files"]
    files[name]["sha256"] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    edit(bundle, files=files)

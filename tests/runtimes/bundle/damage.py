"""The network of the bundle that tests damage, and changes that its manifest vouches for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drnn_models.spec import Continuous, Head, ModelSpec
from tests.sealing import edit_manifest

SPEC = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
FILES = ("model.onnx", "weights.safetensors", "golden.npz", "parity.json")


def edit(bundle: Path, **changes: Any) -> None:
    """Change entries of the manifest, and its checksum with them."""
    edit_manifest(bundle, lambda entries: entries.update(changes))

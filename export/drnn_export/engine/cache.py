"""Engines that were built before, so that the same export builds once.

An entry is an engine with its sidecar, KEY.engine and KEY.engine.json; the key is a digest of everything that decides
what the builder makes. An entry is used only if its own description and bytes are what they should be; a damaged or
foreign one is removed, and the engine is built again. `drnn_core.cache` has the limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drnn_core.cache import shrink, touch
from drnn_core.errors import DeployError, InputError
from drnn_core.files import replacing, sha256
from drnn_runtimes.trt.sidecar import Sidecar, sidecar_path


def cache_key(identity: Mapping[str, Any]) -> str:
    """The digest of what the builder, the graph and the machine are, in plain JSON types."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def take(cache: Path, key: str, onnx_sha256: str, engine: Path) -> Sidecar | None:
    """Copy an engine out of the cache.

    Args:
        cache: The cache's folder.
        key: What `cache_key` gives.
        onnx_sha256: The digest of the graph, which must be the sidecar's.
        engine: The file to copy to.

    Returns:
        The engine's sidecar, or None where the cache has no good entry. A damaged entry is removed.
    """
    entry = cache / f"{key}.engine"
    if not entry.is_file():
        return None
    try:
        sidecar = Sidecar.read(sidecar_path(entry))
        shutil.copyfile(entry, engine)  # and then look at the copy: another process may replace the entry
        if sidecar.onnx_sha256 == onnx_sha256 and sidecar.engine_sha256 == sha256(engine):
            touch(entry)
            return sidecar
        engine.unlink()
    except (DeployError, OSError):
        pass  # as good as another engine's: see below
    _remove(entry)
    return None


def keep(cache: Path, key: str, engine: Path, sidecar: Sidecar) -> None:
    """Add an engine, unless the cache cannot be written to.

    Args:
        cache: The cache's folder.
        key: What `cache_key` gives.
        engine: The engine's file.
        sidecar: Its sidecar.
    """
    entry = cache / f"{key}.engine"
    with contextlib.suppress(InputError, OSError):
        with replacing(sidecar_path(entry)) as described:
            sidecar.write(described)
        with replacing(entry) as copy:
            shutil.copyfile(engine, copy)
        shrink(cache, "engines")


def _remove(entry: Path) -> None:
    with contextlib.suppress(OSError):
        entry.unlink(missing_ok=True)
        sidecar_path(entry).unlink(missing_ok=True)

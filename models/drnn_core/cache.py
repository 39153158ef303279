"""The folder in which what was compiled on this machine waits to be used again. Needs neither torch nor NumPy."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$DRNN_CACHE`, or a folder in the user's cache."""
    import platformdirs

    chosen = os.environ.get("DRNN_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("drnn-deploy")) / "engines"

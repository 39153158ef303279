"""The version of drnn-deploy, also where its source tree runs without having been installed."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

_DISTRIBUTION = "drnn-deploy"


def package_version() -> str:
    """For example "0.1.0": of the installed distribution, else of the `pyproject.toml` of the tree this file is in."""
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
        return str(project["project"]["version"])

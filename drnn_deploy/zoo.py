"""Where the zoo is: trained networks, recipes, experiments and their results."""

from __future__ import annotations

from pathlib import Path

import drnn_models


def zoo() -> Path:
    """The zoo's folder, beside `drnn_models`: installed as `drnn_zoo`, and `zoo` in the source tree."""
    beside = Path(drnn_models.__file__).resolve().parents[1]
    installed = beside / "drnn_zoo"
    return (installed if installed.is_dir() else beside / "zoo").resolve()

"""A pickle that does something: what must never be unpickled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Bomb:
    """Unpickled without care, it makes the folder `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)

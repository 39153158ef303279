"""The options of a quick export, and the files of a folder."""

from __future__ import annotations

from pathlib import Path

QUICK = ("--engine", "none", "--runtime", "reference", "--runtime", "torch", "--runtime", "onnxruntime-cpu")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))

"""Packages that a runtime needs: imported, or why they cannot be, in the words of every runtime."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from drnn_core.types import Availability


def imported(name: str, title: str, requirement: str) -> ModuleType | Availability:
    """Import a package.

    Args:
        name: Of the package and its module.
        title: What its makers call it.
        requirement: What pip installs it by.

    Returns:
        The module; or that it is not usable, and what to do.
    """
    if importlib.util.find_spec(name) is None:
        return Availability(False, f"{title} is not installed", f"pip install {requirement}")
    try:
        return importlib.import_module(name)
    except Exception as error:  # its libraries do not load: an OSError, or whatever the package makes of it
        return broken(name, title, str(error))


def broken(name: str, title: str, reason: str) -> Availability:
    """That a package is here and does not work.

    Args:
        name: Of the package.
        title: What its makers call it.
        reason: What it says.
    """
    said = next(iter(reason.strip().splitlines()), "it does not say why")
    return Availability(False, f"{title} cannot be imported: {said}", f"pip install --force-reinstall {name}")

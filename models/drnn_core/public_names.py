"""The public names of a package: each is imported when it is used (PEP 562), so the package itself costs nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def public_names(
    package: str, modules: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make the `__getattr__` and `__dir__` of a package.

    Args:
        package: The package's `__name__`.
        modules: Module -> the names that the package takes from it. The package gets `__version__` besides.

    Returns:
        What the package assigns to `__getattr__` and `__dir__`.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def import_name(name: str) -> Any:
        if name == "__version__":
            from drnn_core.environment import package_version

            return package_version()
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return import_name, lambda: sorted([*homes, "__version__"])

"""Environment variables that have other values for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def setting_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Inside, environment variables have other values, also for processes that are started there.

    Args:
        values: Name -> value.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

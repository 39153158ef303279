"""Environment variables that have other values for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def setting_variables(values: Mapping[str, str | None]) -> Iterator[None]:
    """Inside, environment variables have other values, also for processes that are started there.

    Args:
        values: Name -> value, None for a variable that is not set.
    """
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

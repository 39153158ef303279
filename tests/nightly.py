"""What runs at night alone (`make nightly`): the bulk of what the ordinary run does on less."""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Sequence
from typing import Any

import pytest

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


def combinations(*axes: Sequence[Any], by_day: int) -> list[Any]:
    """Parameters of a test: every combination of the axes, of which the ordinary run takes every `by_day`-th.

    Each value of each axis must be among those.
    """
    every = list(itertools.product(*axes))
    taken = every[::by_day]
    for axis, values in zip(axes, zip(*taken, strict=True), strict=True):
        assert all(value in values for value in axis), f"not all of {axis} are in every {by_day}th combination"
    return [
        pytest.param(*each, marks=() if each in taken else pytest.mark.nightly, id="-".join(map(_shown, each)))
        for each in every
    ]


def some_by_day(names: Collection[Any], by_day: int) -> list[Any]:
    """Parameters of a test: the names, of which the ordinary run takes every `by_day`-th."""
    return [
        pytest.param(name, marks=pytest.mark.nightly if place % by_day else (), id=str(name))
        for place, name in enumerate(names)
    ]


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)

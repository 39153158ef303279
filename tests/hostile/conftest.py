"""Commands that hostile files are given to, with what the worst of them took in the log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.hostile.measured import Commands


@pytest.fixture(scope="session")
def forks() -> Iterator[Commands]:
    with contextlib.closing(Commands()) as commands:
        yield commands


@pytest.fixture
def commands(
    forks: Commands, request: pytest.FixtureRequest, record_property: Callable[[str, str], None]
) -> Iterator[Commands]:
    forks.outcomes.clear()
    yield forks
    record_property(f"hostile {request.node.name.removeprefix('test_').replace('_', ' ')}", forks.figures)

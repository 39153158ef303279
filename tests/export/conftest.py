"""NVIDIA's builder in one process for many builds, where a test is not about that process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from drnn_core.worker_process import Child, Row
from drnn_export.engine import process
from drnn_runtimes.plugin.library_path import plugin_environment

Ask = Callable[..., Row]


@pytest.fixture(scope="session")
def kept_builder() -> Iterator[Ask]:
    """In the place of `ask`: a child that answers one request after the other, begun again where it has ended."""
    with contextlib.ExitStack() as open_, plugin_environment() as environment:
        children: list[Child] = []

        def ask(module: str, request: Mapping[str, Any], time_limit: float, _: Mapping[str, str] | None) -> Row:
            if not children or children[-1].ended:
                children.append(open_.enter_context(contextlib.closing(Child(module, environment))))
            return children[-1].ask(request, time_limit)

        yield ask


@pytest.fixture
def one_builder(kept_builder: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """For `usefixtures`: the start of a builder takes many times longer than it takes to build a small graph."""
    monkeypatch.setattr(process, "ask", kept_builder)

"""A bundle with graphs of three chunk lengths, and the network and samples of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from drnn_runtimes.bundle import Bundle
from tests.networks import Case, make_case
from tests.runtimes.streaming.streams import SPEC, bundle_of, request


@pytest.fixture
def case() -> Case:
    return make_case(SPEC, 2, 24)


@pytest.fixture
def bundle(case: Case, tmp_path: Path) -> Bundle:
    (tmp_path / "bundle").mkdir()
    return bundle_of(tmp_path / "bundle", case, request(8, 2), request(1, 2, ring=False), request(4, None))

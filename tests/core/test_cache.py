from __future__ import annotations

from pathlib import Path

import pytest

from drnn_core.cache import cache_folder


def test_folder_is_the_environments_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DRNN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("DRNN_CACHE")
    assert cache_folder().parts[-2:] == ("drnn-deploy", "engines")

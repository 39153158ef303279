from __future__ import annotations

from pathlib import Path

import pytest
import torch

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_models.plain_files import save_plain


def test_file_that_would_be_too_large_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "UNPACKED", 10_000)
    with pytest.raises(InputError, match=r"would be .* kB long, and the largest that is read is 10 kB"):
        save_plain(tmp_path / "model.pt", {"a": torch.zeros(5000)})
    assert not list(tmp_path.iterdir())

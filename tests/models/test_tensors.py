from __future__ import annotations

import pytest
import torch

from drnn_core import bounds
from drnn_core.errors import InputError
from drnn_models.tensors import to_arrays


def test_tensors_that_share_their_memory_are_counted_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "UNPACKED", 1 << 20)
    shared = torch.zeros(1 << 17, dtype=torch.bfloat16)
    assert len(to_arrays({"a": shared, "b": shared})) == 2
    with pytest.raises(InputError, match=r"its tensors take 1\.57 MB in all, 'a' the most"):
        to_arrays({"a": shared, "b": shared, "c": shared})

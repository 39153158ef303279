from __future__ import annotations

import os

import hypothesis
import pytest
import torch

# 50 random networks a property in the ordinary run, 500 with HYPOTHESIS_PROFILE=nightly; no deadline: the first
# example of a property pays for imports, and machines are shared.
for name, examples in {"ordinary": 50, "nightly": 500}.items():
    hypothesis.settings.register_profile(name, max_examples=examples, deadline=None, derandomize=name == "ordinary")
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ordinary"))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests run in parallel; each process keeps to one core."""
    torch.set_num_threads(1)

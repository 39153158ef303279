from __future__ import annotations

import os
from collections.abc import Iterator

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


@pytest.fixture(autouse=True, scope="session")
def own_engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines of the tests stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRNN_CACHE", str(tmp_path_factory.mktemp("engines")))
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured (`record_property`), so that a CI log holds the figures."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    measured = sorted({pair for report in reports for pair in getattr(report, "user_properties", ())})
    if measured:
        terminalreporter.section("measured")
        for name, value in measured:
            terminalreporter.write_line(f"{name}: {value}")

from __future__ import annotations

import gc
import math
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.nightly import NIGHTLY
from tests.optional_runtimes import OPTIONAL, hidden, shown

# Tests run in parallel, and each process keeps to one core, also those that tests start: several with threads for all
# cores wait for each other most of the time. NumPy reads these when it is imported.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

# What is imported and collected stays to the end: the collector of cycles need not look for garbage among it, again and
# again while it grows, and then in every test.
gc.disable()

# 14 random networks a property in the ordinary run, 500 with HYPOTHESIS_PROFILE=nightly; no deadline: the first
# example of a property pays for imports, and machines are shared.
for name, examples in {"ordinary": 14, "nightly": 500}.items():
    hypothesis.settings.register_profile(name, max_examples=examples, deadline=None, derandomize=name == "ordinary")
hypothesis.settings.load_profile("nightly" if NIGHTLY else "ordinary")

# Files that begin, so that the workers of `pytest -n` end together; 7 s to 20 s each.
LONGEST = [
    Path(__file__).parent / name
    for name in (
        "drnn_deploy/matrix/test_run.py",
        "drnn_deploy/training/test_experiments.py",
        "hostile/test_bundles.py",
        "runtimes/native/test_kernel.py",
        "export/engine/test_builder_process.py",
        "benchmarks/gpu/test_run.py",
        "drnn_deploy/cli/test_parity.py",
        "export/engine/test_compile.py",
        "drnn_deploy/exporter/test_pipeline.py",
        "drnn_deploy/training/test_interruption.py",
        "drnn_deploy/test_pytest_plugin.py",
        "runtimes/native/test_package.py",
    )
]


@pytest.fixture(autouse=True, scope="session")
def speed_does_not_matter() -> Iterator[None]:
    """A few runs of each graph are timed, not a second of them; and runtimes with threads keep to one core, too.

    By day the CUDA kernel's host build is not optimised, and the C kernel less: they are compiled dozens of times, for
    moments of work.
    """
    from drnn_deploy.cli import progress
    from drnn_deploy.parity import check, inference
    from drnn_runtimes import RUNTIMES
    from drnn_runtimes.cuda_kernel import host_build
    from drnn_runtimes.native import compiler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "_TIMING_SECONDS", 0.01)
        patch.setattr(check, "SAMPLED_SECONDS", math.inf)
        patch.setattr(progress, "_EVERY", 600.0)
        if not NIGHTLY:
            patch.setattr(host_build, "_FLAGS", tuple(flag for flag in host_build._FLAGS if flag != "-O1"))
            less = tuple("-O1" if flag == "-O2" else flag for flag in compiler._FLAGS)
            patch.setattr(compiler, "_FLAGS", less)
        for name in ("onnxruntime-cpu", "openvino"):
            patch.setattr(RUNTIMES[name], "_threads", 1)
        yield


@pytest.fixture(autouse=True, scope="session")
def without_optional_runtimes() -> Iterator[None]:
    """Tests that check with every runtime do it with those that are always there: each further one costs seconds."""
    with hidden(OPTIONAL):
        yield


@pytest.fixture(autouse=True, scope="module")
def with_optional_runtimes(request: pytest.FixtureRequest) -> Iterator[None]:
    """A file's `pytestmark = pytest.mark.optional_runtimes(NAME, ...)` asks for them."""
    marker = request.node.get_closest_marker("optional_runtimes")
    with shown(marker.args if marker else ()):
        yield


@pytest.fixture(autouse=True, scope="session")
def own_engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines and libraries of the tests stay out of the user's cache; the workers of `pytest -n` share them."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRNN_CACHE", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "engines"))
        yield


def pytest_collection_finish() -> None:
    """The collector of cycles looks for what tests leave behind alone, and not after every few hundred objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The night's tests at night; the longest files first."""
    if not NIGHTLY:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("nightly")])
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
    if gone := [str(path) for path in LONGEST if not path.is_file()]:
        raise pytest.UsageError(f"LONGEST in tests/conftest.py names files that are not there: {', '.join(gone)}")
    items.sort(key=lambda item: LONGEST.index(item.path) if item.path in LONGEST else len(LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests measured (`record_property`), so that a CI log holds the figures."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    measured = sorted({pair for report in reports for pair in getattr(report, "user_properties", ())})
    if measured:
        terminalreporter.section("measured")
        for name, value in measured:
            terminalreporter.write_line(f"{name}: {value}")

"""The runtime `cuda-kernel` on a stand-in for libcuda that runs the kernel's host build. No pass is one of a GPU."""

from __future__ import annotations

import pytest

from drnn_runtimes.cuda_kernel.host_build import cpp_compiler
from tests.runtimes.cuda_kernel import cases_on_the_stand_in as cases
from tests.runtimes.cuda_kernel import lifetimes_on_the_stand_in as lifetimes
from tests.runtimes.cuda_kernel.stand_in.parent import names_of, told_by

pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler")

NAMES = [*names_of(cases), *names_of(lifetimes)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each case, in one process whose libcuda is the stand-in."""
    return told_by([cases, lifetimes], NAMES, tmp_path_factory.mktemp("driver"))


@pytest.mark.parametrize("name", NAMES)
def test_on_the_stand_in(name: str, told: dict[str, str]) -> None:
    assert not told[name], told[name]

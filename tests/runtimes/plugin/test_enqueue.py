"""The plugin's `enqueue` on a stand-in for libcuda that runs the kernel's host build. No pass is one of a GPU."""

from __future__ import annotations

import pytest

from drnn_runtimes.cuda_kernel.host_build import cpp_compiler
from tests.nightly import NIGHTLY
from tests.runtimes.cuda_kernel.stand_in.parent import names_of, told_by

pytest.importorskip("cuda.bindings", reason="cuda-bindings is not installed")
pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler")

from tests.runtimes.plugin import on_the_stand_in as cases  # noqa: E402

AT_NIGHT = ("gru_of_one_sequence", "unpruned_relu_in_half_precision")
NAMES = [name for name in names_of(cases) if NIGHTLY or name not in AT_NIGHT]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each case, in one process whose libcuda is the stand-in."""
    return told_by([cases], NAMES, tmp_path_factory.mktemp("driver"))


@pytest.mark.parametrize("name", NAMES)
def test_on_the_stand_in(name: str, told: dict[str, str]) -> None:
    assert not told[name], told[name]

"""The torch runtime computes in float32, whatever the program around it has allowed torch to do."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import torch

from drnn_core.errors import InputError
from drnn_export.emitter.request import GraphRequest
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime
from tests.networks import make_case
from tests.runtimes.streaming.streams import bundle_of

SPEC = ModelSpec("gru", (64, 64), (1, 2), Continuous(8), Head("sequence", 5))
CASE = make_case(SPEC, 3, 20)
ALLOWED = """
    lambda: None
    lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    lambda: torch.set_float32_matmul_precision("medium")
    lambda: setattr(torch.backends.mkldnn.matmul, "fp32_precision", "bf16")
    lambda: setattr(torch.backends.cudnn, "fp32_precision", "tf32")
    lambda: setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32")
    lambda: setattr(torch.backends, "fp32_precision", "tf32")
"""
SWITCHES = """
import torch
from torch.backends import cuda, cudnn, mkldnn
from drnn_runtimes.torch import float32_products

switches = [cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.rnn]
def precisions():
    return [switch.fp32_precision for switch in switches]

for allow in (ALLOWED):
    allow()
    before = precisions()
    with float32_products(), torch.autocast("cpu", torch.bfloat16), float32_products():
        assert set(precisions()) == {"ieee"}, precisions()
        assert not torch.is_autocast_enabled("cpu")
    assert precisions() == before
    with float32_products(tf32=True):
        assert precisions() == ["tf32"] * 3 + ["ieee"] * 2
    assert precisions() == before
assert before == ["tf32"] * 3 + ["bf16", "tf32"], before
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_of(tmp_path_factory.mktemp("torch"), CASE, GraphRequest(20, 3))


@contextlib.contextmanager
def bfloat16_around() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.mark.parametrize("around", [contextlib.nullcontext, bfloat16_around])
def test_outputs_are_those_of_float32(
    around: Callable[[], contextlib.AbstractContextManager[None]], bundle: Bundle
) -> None:
    with around(), find_runtime("torch").load(bundle, bundle.graphs[0]) as session:
        CASE.assert_within_noise(session.run({"input": CASE.inputs})["output"])


def test_switches_are_set_inside_and_as_before_after() -> None:
    """In a process of its own: what a program has allowed with the newer switches cannot be taken back by hand."""
    code = SWITCHES.replace("ALLOWED", ", ".join(ALLOWED.strip().splitlines()))
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_torch_refuses_while_it_runs_is_an_error_with_its_reason(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As out of memory is, on a GPU: it ends one row of a check."""

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nAnd more.")

    words = r"PyTorch cannot run sequence/fused: CUDA out of memory. Tried to allocate 20.00 GiB.$"
    with find_runtime("torch").load(bundle, bundle.graphs[0]) as session:
        monkeypatch.setattr(DilatedRNN, "forward", full)
        with pytest.raises(InputError, match=words):
            session.run({"input": CASE.inputs})
    monkeypatch.setattr(DilatedRNN, "to", full)
    with pytest.raises(InputError, match=words), find_runtime("torch").load(bundle, bundle.graphs[0]):
        pytest.fail("it is loaded")

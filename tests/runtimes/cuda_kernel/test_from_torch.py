"""`accelerate` on tensors of the CPU, with the kernel's host build behind it. What is left to a GPU is the launch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from drnn_core.errors import InputError
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.cuda_kernel import HostKernel, accelerate
from drnn_runtimes.cuda_kernel.from_torch import AcceleratedRNN, Launch
from drnn_runtimes.cuda_kernel.host_build import cpp_compiler
from drnn_runtimes.cuda_kernel.plan import KernelPlan
from drnn_runtimes.torch import float32_products
from tests.gpu import need
from tests.networks import Case, make_case
from tests.nightly import NIGHTLY

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler")

NETWORKS = [
    ModelSpec("lstm", (5, 6), (3, 2), Continuous(2), Head("last_k", 3, 2)),
    ModelSpec("gru", (7,), (2,), Tokens(5), Head("sequence", 2), reset="before"),
    ModelSpec("rnn", (4, 4, 3), (1, 2, 8), Tokens(6, 2), Head("last", 2)),
]


def on_the_host(plan: KernelPlan) -> Launch:
    kernel = HostKernel(plan)

    def launch(addresses: Sequence[int], batch: int, steps: int, answers: int) -> None:
        assert not any(address % 16 for address in addresses)
        plan.check_launch(steps, answers, states=bool(addresses[2] or addresses[3]))
        kernel.launch(plan.grid(batch), plan.threads, plan.shared_bytes, list(addresses), batch, steps, answers)

    return launch


def network(case: Case) -> DilatedRNN:
    return case.checkpoint().network().eval()


@pytest.mark.parametrize("spec", NETWORKS if NIGHTLY else NETWORKS[:2], ids=lambda spec: spec.short_name)
def test_it_computes_what_the_module_does(spec: ModelSpec) -> None:
    case = make_case(spec, 3, 19)
    module, inputs = network(case), torch.from_numpy(case.inputs)
    fast = AcceleratedRNN(module, "87", on_the_host)
    for prune in (True, False):
        outputs = fast(inputs, prune=prune)
        assert not outputs.requires_grad
        case.assert_within_noise(outputs.numpy())
    with torch.no_grad():
        (outputs, state), (expected, after) = fast.advance(inputs[:, :4]), module.advance(inputs[:, :4])
        for start in (4, 5, 12):
            torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)
            piece = inputs[:, start : start + 7]
            kept = {name: line.clone() for name, line in state.items()}
            outputs, then = fast.advance(piece, state)
            assert all(torch.equal(kept[name], line) for name, line in state.items()), "the caller's state is his own"
            (expected, after), state = module.advance(piece, after), then
            assert state.keys() == after.keys()
            for name, line in after.items():
                torch.testing.assert_close(state[name], line, atol=1e-5, rtol=1e-5)


def test_later_weights_do_not_count_but_views_of_inputs_do() -> None:
    case = make_case(dataclasses.replace(NETWORKS[0], head=Head("last", 3)), 2, 9)
    module = network(case)
    fast = AcceleratedRNN(module, "87", on_the_host)
    before = fast(torch.from_numpy(case.inputs))
    with torch.no_grad():
        module.layers[0].weight_hh_l0.zero_()  # type: ignore[operator,union-attr]
    wide = np.zeros((2, 9 + 3, 2), np.float32)
    wide[:, 2:-1] = case.inputs
    torch.testing.assert_close(fast(torch.from_numpy(wide)[:, 2:-1]), before, atol=0, rtol=0)
    flat = torch.zeros(1 + case.inputs.size)
    flat[1:] = torch.from_numpy(case.inputs).reshape(-1)
    torch.testing.assert_close(fast(flat[1:].view(2, 9, 2)), before, atol=0, rtol=0)


def test_what_it_cannot_run_is_refused() -> None:
    module = network(make_case(NETWORKS[0], 1, 3))
    with pytest.raises(InputError, match="on a GPU, and the module is on cpu"):
        accelerate(module)
    with pytest.raises(InputError, match="in training"):
        AcceleratedRNN(network(make_case(NETWORKS[0], 1, 3)).train(), "87", on_the_host)
    with pytest.raises(InputError, match=r"float32 weights, the module has torch\.float64"):
        AcceleratedRNN(network(make_case(NETWORKS[0], 1, 3)).double(), "87", on_the_host)
    fast = AcceleratedRNN(module, "87", lambda plan: lambda *_: pytest.fail("it was launched"))
    for inputs in (torch.zeros(1, 3, 2, dtype=torch.float64), torch.zeros(1, 3, 1), torch.zeros(1, 0, 2)):
        with pytest.raises(InputError, match=r"reads (a float tensor|float32) \(B, T, 2\)|nothing in inputs"):
            fast(inputs)
    inputs, zeros = torch.zeros(4, 3, 2), module.initial_state(4)
    first = next(iter(zeros))
    for state in (
        module.initial_state(1),
        {**zeros, first: zeros[first].double()},
        {**zeros, first: zeros[first].to("meta")},
    ):
        with pytest.raises(InputError, match=rf"state '{first}' must be torch\.float32 .* on cpu"):
            fast.advance(inputs, state)
    with pytest.raises(InputError, match="the inputs are on meta"):
        fast(torch.zeros(1, 3, 2, device="meta"))


@pytest.mark.gpu
@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: spec.short_name)
def test_on_a_gpu_it_is_the_module_also_on_other_streams_and_in_graphs(spec: ModelSpec) -> None:
    need("torch-cuda")
    need("cuda-kernel")
    cases = [make_case(spec, 3, 40, seed) for seed in (1, 2)]
    module = network(cases[0]).to("cuda")
    fast, (first, second) = accelerate(module), (torch.from_numpy(case.inputs).to("cuda") for case in cases)
    with torch.no_grad(), float32_products():
        torch.testing.assert_close(fast(first), module(first), atol=1e-5, rtol=1e-5)
        (outputs, state), (expected, after) = fast.advance(first), module.advance(first)
        torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)
        for name, line in after.items():
            torch.testing.assert_close(state[name], line, atol=1e-5, rtol=1e-5)
        side, fixed = torch.cuda.Stream(), first.clone()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            fast(fixed)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            recorded = fast(fixed)
        fixed.copy_(second)
        graph.replay()
        torch.testing.assert_close(recorded, module(second), atol=1e-5, rtol=1e-5)

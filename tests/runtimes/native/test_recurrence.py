"""The compiled layer against torch's in float64: outputs, states, and the gradients of all that has one."""

from __future__ import annotations

import copy
import gc
import os
import signal
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from drnn_core.errors import InputError
from drnn_models.cell_modules import ResetBeforeGRU, initialise
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_models.subnormals import subnormals_are_zero
from drnn_runtimes.native import recurrence
from drnn_runtimes.native.compiler import compiler_availability
from drnn_runtimes.native.recurrence import WIDEST, run_layer
from tests.runtimes.native.packages import WARNINGS, built, ran

if not compiler_availability().usable:
    pytest.skip(compiler_availability().reason, allow_module_level=True)

HERE, SOURCE = Path(__file__).parent, Path(recurrence.__file__).with_name("recurrence.c")
LAYERS = {
    "tanh": nn.RNN,
    "relu": lambda inputs, hidden: nn.RNN(inputs, hidden, nonlinearity="relu"),
    "gru-after": nn.GRU,
    "gru-before": ResetBeforeGRU,
    "lstm": nn.LSTM,
}


@pytest.fixture(autouse=True)
def the_threads_of_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def layer_of(cell: str, inputs: int, hidden: int) -> nn.Module:
    """With biases, that start at zero, and some states beyond the linear part of activations."""
    layer = LAYERS[cell](inputs, hidden)
    initialise(layer, cell.split("-")[0] if cell[0] in "gl" else "rnn")  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return layer


def computed(layer: nn.Module, call: Any, x: Tensor, states: list[Tensor], of: list[Tensor]) -> list[Tensor]:
    """Outputs and last states, and gradients of their weighted sum."""
    x, states = x.clone().requires_grad_(), [state.clone().requires_grad_() for state in states]
    y, after = call(layer, x, tuple(states) if len(states) == 2 else states[0])
    outputs = [y, *(after if isinstance(after, tuple) else [after])]
    loss = sum((part * weight).sum() for part, weight in zip(outputs, of, strict=True))
    return outputs + list(torch.autograd.grad(loss, [x, *states, *layer.parameters()]))


@given(
    cell=st.sampled_from(sorted(LAYERS)),
    steps=st.integers(1, 9),
    rows=st.one_of(st.integers(1, 20), st.integers(60, 140)),
    inputs=st.integers(1, 20),
    hidden=st.one_of(st.integers(1, 40), st.sampled_from([64, WIDEST])),
    threads=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_outputs_and_gradients_are_those_of_torch_in_float64(
    cell: str, steps: int, rows: int, inputs: int, hidden: int, threads: int, seed: int
) -> None:
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    layer = layer_of(cell, inputs, hidden)
    x = 2 * torch.randn(steps, rows, inputs)
    states = [torch.randn(1, rows, hidden) for _ in range(2 if cell == "lstm" else 1)]
    of = [torch.randn(steps, rows, hidden), *(torch.randn(1, rows, hidden) for _ in states)]
    ours = computed(layer, run_layer, x, states, of)
    doubles = [[part.double() for part in parts] for parts in (states, of)]
    right = computed(copy.deepcopy(layer).double(), lambda layer, x, s: layer(x, s), x.double(), *doubles)
    for value, wanted in zip(ours, right, strict=True):
        scale = float(wanted.detach().abs().max()) + 1.0
        torch.testing.assert_close(value.double(), wanted, rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_network_that_is_folded_and_pruned_computes_the_same(cell: Any) -> None:
    """Layers of steps that do not fill the last folded one, a fusion layer, and pieces with state."""
    spec = ModelSpec(cell, (5, 6, 7), (2, 3, 4), Continuous(2), Head("last", 3), fusion=True)
    torch.manual_seed(0)
    model, inputs = DilatedRNN(spec), torch.randn(3, 17, 2)
    compiled = copy.deepcopy(model)
    compiled.call_layer = run_layer
    results = []
    for network in (model, compiled):
        first, state = network.advance(inputs[:, :7])
        second, _ = network.advance(inputs[:, 7:], state)
        outputs = torch.cat([network(inputs), network(inputs, prune=False), first, second])
        results.append([outputs, *torch.autograd.grad(outputs.square().sum(), list(network.parameters()))])
    for value, wanted in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-5)


def test_small_and_large_sums_keep_their_relative_precision() -> None:
    layer = nn.RNN(1, 1)
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), (1.0, 0.0, 0.0, 0.0), strict=True):
            parameter.fill_(value)
    x = torch.logspace(-30, 4, 2001).repeat(2)
    x[2001:] *= -1
    with torch.no_grad():
        y, _ = run_layer(layer, x[None, :, None], torch.zeros(1, len(x), 1))
    torch.testing.assert_close(y.flatten().double(), x.double().tanh(), rtol=4 * 2**-23, atol=0)


@pytest.mark.parametrize("cell", sorted(LAYERS))
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_shows(cell: str, value: float) -> None:
    """A NaN comes out, and infinite inputs are the ends of the activations, as torch has it."""
    torch.manual_seed(0)
    layer, x = layer_of(cell, 1, 3), torch.zeros(2, 4, 1)
    x[0, 2] = value
    zeros = torch.zeros(1, 4, 3)
    state = (zeros, zeros) if cell == "lstm" else zeros
    with torch.no_grad():
        torch.testing.assert_close(run_layer(layer, x, state)[0], layer(x, state)[0], equal_nan=True)


def test_without_gradients_nothing_is_kept_and_with_them_nothing_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x, state = nn.GRU(2, 4), torch.randn(3, 5, 2), torch.zeros(1, 5, 4)
    kept: list[int] = []
    make = recurrence._layer

    def noting(sizes: tuple[int, ...], **arrays: Any) -> Any:
        kept.append(arrays["kept"].numel())
        return make(sizes, **arrays)

    monkeypatch.setattr(recurrence, "_layer", noting)
    for without in (torch.inference_mode, torch.no_grad):
        with without():
            y, after = run_layer(layer, x, state)
        torch.testing.assert_close((y, after), layer(x, state))
        assert y.grad_fn is None
    assert kept == [0, 0]
    monkeypatch.undo()
    gc.disable()
    try:
        y, after = run_layer(layer, x, state)
        y.sum().backward()
        alive = weakref.ref(y)
        del y, after
        assert alive() is None, "a cycle keeps the outputs until garbage is collected"
    finally:
        gc.enable()


@pytest.mark.parametrize("case", ["wide", "double", "autocast"])
def test_what_the_kernel_does_not_compute_torch_does(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "load_recurrence", lambda: pytest.fail("it was called"))
    hidden, dtype = (WIDEST + 1 if case == "wide" else 4), torch.float64 if case == "double" else torch.float32
    layer, x, state = (
        nn.GRU(1, hidden).to(dtype),
        torch.ones(2, 3, 1, dtype=dtype),
        torch.zeros(1, 3, hidden, dtype=dtype),
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        torch.testing.assert_close(run_layer(layer, x, state), layer(x, state))


@pytest.mark.parametrize("part", ["x", "state", "weights"])
@pytest.mark.parametrize("fault", ["type", "width", "rows"])
def test_what_torch_refuses_is_refused_as_it_does(part: str, fault: str) -> None:
    """The kernel would read beyond arrays, or bits of another type."""
    layer, x, state = nn.GRU(2, 4), torch.randn(3, 5, 2), torch.zeros(1, 5, 4)

    def wrong(array: Tensor) -> Tensor:
        return {"type": array.double(), "width": array[..., 1:], "rows": array[..., 1:, :]}[fault]

    if part == "weights":
        layer.weight_hh_l0 = nn.Parameter(wrong(layer.get_parameter("weight_hh_l0")))
    x, state = wrong(x) if part == "x" else x, wrong(state) if part == "state" else state
    with pytest.raises((RuntimeError, ValueError)) as theirs:
        layer(x, state)
    with pytest.raises(theirs.type) as ours:
        run_layer(layer, x, state)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("case", ["no rows", "no biases"])
def test_what_has_no_arrays_for_the_kernel_torch_computes(case: str) -> None:
    layer, x, state = nn.GRU(2, 4, bias=case != "no biases"), torch.randn(3, 5, 2), torch.zeros(1, 5, 4)
    if case == "no rows":
        x, state = x[:, :0], state[:, :0]
    torch.testing.assert_close(run_layer(layer, x, state), layer(x, state))


def test_what_stands_for_a_tensor_while_torch_traces_has_no_memory_to_read() -> None:
    layer, tracing = nn.GRU(2, 4), FakeTensorMode(allow_non_fake_inputs=True)
    with tracing:
        x, state = (tracing.from_tensor(array) for array in (torch.randn(3, 5, 2), torch.zeros(1, 5, 4)))
        assert run_layer(layer, x, state)[0].shape == (3, 5, 4)


def test_arrays_may_be_views_and_torchs_default_type_another() -> None:
    torch.manual_seed(0)
    layer = nn.GRU(3, 4)
    for name, width in (("weight_ih_l0", 3), ("weight_hh_l0", 4)):
        setattr(layer, name, nn.Parameter(torch.randn(12, 9)[:, :width]))
    x, state, of = (
        torch.randn(70, 5, 3).transpose(0, 1),
        torch.randn(1, 4, 70).mT,
        torch.randn(4, 70, 5).permute(2, 1, 0),
    )
    wanted = computed(layer, lambda layer, x, s: layer(x, s), x, [state], [of, state])
    torch.set_default_dtype(torch.float64)
    try:
        ours = computed(layer, run_layer, x, [state], [of, state])
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-4)


def test_second_derivatives_are_refused() -> None:
    """Without it they would be zeros, in silence."""
    layer, x = nn.GRU(2, 4), torch.randn(3, 5, 2, requires_grad=True)
    y, _ = run_layer(layer, x, torch.zeros(1, 5, 4))
    with pytest.raises(InputError, match="no second derivatives"):
        torch.autograd.grad(y.sum(), x, create_graph=True)
    assert torch.autograd.grad(y.sum(), x)[0].abs().sum() > 0


@pytest.mark.parametrize("modes", [(False, True, False), (True, False, True)])
def test_subnormals_are_to_its_threads_what_they_are_to_the_caller(modes: tuple[bool, ...]) -> None:
    torch.set_num_threads(3)
    layer = recurrence._layer("TANH", x=torch.zeros(1, 200, 1), h=torch.zeros(1, 200, 4)[0])
    try:
        for zero in modes:
            if not torch.set_flush_denormal(zero):
                pytest.skip("this processor cannot take subnormal numbers for zero")
            assert recurrence._over_rows(layer, lambda *_: subnormals_are_zero()) == [zero] * 3
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    torch.set_num_threads(2)
    layer, x, state = nn.GRU(2, 4), torch.randn(3, 130, 2), torch.zeros(1, 130, 4)
    with torch.no_grad():
        run_layer(layer, x, state)
        child = os.fork()
        if not child:
            signal.alarm(20)  # in place of waiting for ever
            run_layer(layer, x, state)
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_it_stays_within_its_arrays(tmp_path: Path) -> None:
    """Sizes around those of vectors, tiles and blocks, under the sanitizers, without a warning."""
    flags = ("-std=gnu11", "-O1", "-g", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover", "-I")
    program = built(tmp_path, str(HERE / "layers.c"), "layers", *flags, str(SOURCE.parent), *WARNINGS)
    assert ran(program) == "2700 layers\n"

"""The kernel's text, compiled for the host, against the float64 loop: random networks, all forms, and the zoo."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_models.checkpoint import load_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.cuda_kernel import SHARED_MEMORY, HostKernel, KernelOptions, pack_weights, plan_kernel
from drnn_runtimes.cuda_kernel.around import kernel_answers, kernel_inputs
from drnn_runtimes.cuda_kernel.host_build import cpp_compiler
from drnn_zoo import zoo_checkpoint
from tests.networks import Case, make_case, random_inputs, specs
from tests.nightly import NIGHTLY, combinations
from tests.runtimes.cuda_kernel.kernels import check_pieces, check_whole

MNIST = ModelSpec("lstm", (20,) * 9, tuple(2**n for n in range(9)), Continuous(1), Head("last", 10))
SMALL = 6 << 10  # bytes of shared memory that leave no room for long pasts

pytestmark = pytest.mark.skipif(cpp_compiler() is None, reason="there is no C++ compiler")


@st.composite
def _options(draw: st.DrawFn, answers: int | None) -> KernelOptions:
    return KernelOptions(
        answers,
        rows=draw(st.integers(1, 3)),
        weights=draw(st.sampled_from(["fp32", "fp16"])),
        variant=draw(st.sampled_from(["resident", "resident", "streamed"])),
        shared_memory=draw(st.sampled_from([SMALL, SHARED_MEMORY["86"]])),
    )


def _planned(spec: ModelSpec, options: KernelOptions) -> KernelOptions:
    """The same with as much shared memory as it takes."""
    try:
        plan_kernel(spec, options)
    except InputError:
        return dataclasses.replace(options, shared_memory=SHARED_MEMORY["90"])
    return options


@settings(max_examples=150 if NIGHTLY else 10)
@given(st.data())
def test_whole_sequences(data: st.DataObject) -> None:
    """Pruned and not, sequences that fill the last block and that do not, shorter than a dilation and longer."""
    spec = data.draw(specs())
    case = make_case(spec, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 40)), data.draw(st.integers(0, 9999)))
    answers = data.draw(st.sampled_from([None, kernel_answers(spec, case.length)]))
    check_whole(case, _planned(spec, data.draw(_options(answers))), seeds=(1, 2))


@settings(max_examples=100 if NIGHTLY else 6)
@given(st.data())
def test_pieces_with_states_between(data: st.DataObject) -> None:
    spec = data.draw(specs())
    case = make_case(spec, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 40)), data.draw(st.integers(0, 9999)))
    pieces = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    check_pieces(case, _planned(spec, data.draw(_options(None))), pieces)


WIDE = [  # more than a warp, unequal, inputs beyond a block of them, pasts in the workspace, uneven distances
    (ModelSpec("rnn", (33, 70), (3, 16), Continuous(45), Head("last", 2), activation="relu"), KernelOptions(rows=2)),
    (ModelSpec("gru", (40, 8, 34), (4, 6, 9), Tokens(5, 3), Head("last", 2), reset="before"), KernelOptions(4)),
    (ModelSpec("lstm", (7, 33), (9, 20), Continuous(2), Head("last", 2)), KernelOptions(shared_memory=14 << 10)),
    (ModelSpec("gru", (8, 9), (4, 8), Continuous(2), Head("last_k", 2, 3)), KernelOptions(6)),
    (ModelSpec("gru", (40, 100), (2, 8), Tokens(9), Head("last", 2)), KernelOptions(rows=3, variant="streamed")),
    (ModelSpec("rnn", (600,), (2,), Continuous(3), Head("last", 2)), KernelOptions(weights="fp16")),
]
PAPER = ModelSpec("gru", (256,) * 5, (1, 2, 4, 8, 16), Continuous(50), Head("sequence", 50))  # on Penn Treebank


@pytest.mark.parametrize(
    ("spec", "options"), WIDE if NIGHTLY else WIDE[::2], ids=lambda value: getattr(value, "short_name", "")
)
def test_wide_layers(spec: ModelSpec, options: KernelOptions) -> None:
    check_whole(make_case(spec, 3, 45), options)
    if options.answers is None:
        check_pieces(make_case(spec, 3, 45), options, [20, 1, 9])


@pytest.mark.nightly
@pytest.mark.parametrize("rows", [1, 2])
def test_what_no_block_holds(rows: int) -> None:
    check_pieces(make_case(PAPER, 2, 25), KernelOptions(rows=rows), [18, 1])


def test_shapes_that_wide_layers_are_for() -> None:
    plans = [plan_kernel(spec, options) for spec, options in WIDE]
    assert {plan.variant for plan in plans} == {"resident", "streamed"}
    assert any(layer.far for layer in plans[2].layers)
    assert plans[2].variant == "resident"
    assert any(1 < layer.fold < layer.dilation for layer in plans[3].layers)


@pytest.mark.parametrize("task", ["copy-memory", "pixel-mnist", "ptb-char", "speaker-id"])
@pytest.mark.parametrize("weights", ["fp32", pytest.param("fp16", marks=pytest.mark.nightly)])
def test_zoo(task: str, weights: str, record_property: Callable[[str, object], None]) -> None:
    """The real networks on random inputs, pruned: the answers that the head reads."""
    checkpoint = load_checkpoint(zoo_checkpoint(task)[1])
    spec, length = checkpoint.dilated, {"ptb-char": 20, "speaker-id": 700}.get(task, 600)
    answers = None if spec.head.kind == "sequence" else kernel_answers(spec, length)
    options = KernelOptions(answers, weights=weights, shared_memory=SHARED_MEMORY["87"])  # type: ignore[arg-type]
    check_whole(Case(spec, checkpoint.weights, random_inputs(spec, 1, length, 5)), options)
    plan = plan_kernel(spec, options)
    record_property(f"kernel of {task}, {weights}, sm_87", f"{plan.variant}, {plan.shared_bytes:,} bytes shared")


def test_approximate_activations_are_another_network() -> None:
    """They stay near the accurate ones, and are no float32: which of them a user takes, parity decides."""
    case = make_case(MNIST, 2, 100)
    tops = []
    for activations in ("accurate", "approximate"):
        plan = plan_kernel(MNIST, KernelOptions(1, activations=activations))  # type: ignore[arg-type]
        rows = kernel_inputs(MNIST, case.weights, case.inputs)
        tops.append(HostKernel(plan).run(rows, pack_weights(plan, case.weights), 1)[0])
    assert 1e-5 < np.abs(tops[0] - tops[1]).max() < 1e-2


@pytest.mark.parametrize(
    ("variant", "kind"),
    combinations(["resident", "streamed"], ["rnn", "rnn relu", "gru", "gru before", "lstm"], by_day=2),
)
def test_nan_stays_nan(variant: str, kind: str) -> None:
    """A sum that is no number must not come out as one that looks right."""
    more = {"rnn relu": {"activation": "relu"}, "gru before": {"reset": "before"}}.get(kind, {})
    spec = ModelSpec(kind.split()[0], (5, 4), (1, 2), Continuous(1), Head("sequence", 2), **more)  # type: ignore[arg-type]
    case = make_case(spec, 1, 6)
    case.inputs[0, 2] = np.nan
    plan = plan_kernel(spec, KernelOptions(None, variant=variant))  # type: ignore[arg-type]
    rows = kernel_inputs(spec, case.weights, case.inputs)
    top = HostKernel(plan).run(rows, pack_weights(plan, case.weights), 6)[0]
    assert np.isnan(top[0]).all(axis=-1).tolist() == [False, False, True, True, True, True]


@pytest.mark.parametrize(("steps", "answers", "states"), [(5, 6, False), (5, 0, False), (9, 4, False), (9, 1, True)])
def test_what_a_pruned_plan_cannot_answer(steps: int, answers: int, states: bool) -> None:
    plan = plan_kernel(MNIST, KernelOptions(3))
    plan.check_launch(9, 3)
    with pytest.raises(ValueError, match="the kernel"):
        plan.check_launch(steps, answers, states=states)


def test_a_weight_beyond_float16_is_refused() -> None:
    weights = make_case(MNIST, 1, 1).weights
    weights["layers.3.weight_hh_l0"][0, 0] = -65600
    with pytest.raises(InputError, match="layer 3 has a weight beyond the range of float16"):
        pack_weights(plan_kernel(MNIST, KernelOptions(1, weights="fp16")), weights)
    pack_weights(plan_kernel(MNIST, KernelOptions(1)), weights)


def test_a_wrong_launch_is_refused() -> None:
    plan = plan_kernel(MNIST, KernelOptions(1))
    with pytest.raises(RuntimeError, match="grid, block or shared memory"):
        HostKernel(plan).launch(1, plan.threads - 32, plan.shared_bytes, [0] * 6, 1, 1, 1)

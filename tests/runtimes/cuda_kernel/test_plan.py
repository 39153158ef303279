"""The plan of the kernel: which steps are left out, and what memory it takes."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_models.cone import plan_cone
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.cuda_kernel import SHARED_MEMORY, KernelOptions, plan_kernel
from drnn_runtimes.cuda_kernel.around import kernel_answers
from drnn_runtimes.cuda_kernel.planner import folds
from tests.networks import specs

PAPER = ModelSpec("lstm", (20,) * 9, tuple(2**n for n in range(9)), Continuous(1), Head("last", 10))


@given(specs(), st.integers(1, 60))
def test_steps_that_are_needed_are_computed(spec: ModelSpec, length: int) -> None:
    """The cone plans exact sets of residues; the kernel's consecutive ones hold them, and those of the past."""
    answers = kernel_answers(spec, length)
    for fold, dilation, layer in zip(folds(spec, answers), spec.dilations, plan_cone(spec, length).layers, strict=True):
        residues = (layer.phases - (length - answers)) % dilation
        assert residues.size == 0 or residues.max() < fold <= dilation


@pytest.mark.parametrize("answers", [1, 3, 8])
def test_nested_dilations_compute_nothing_else(answers: int) -> None:
    cone = plan_cone(dataclasses.replace(PAPER, head=Head("last_k", 10, answers)), 784)
    assert folds(PAPER, answers) == tuple(layer.fold for layer in cone.layers)


@given(specs(), st.sampled_from(list(SHARED_MEMORY.values())), st.integers(1, 4), st.sampled_from([None, 1, 5]))
def test_parts_of_shared_memory_do_not_meet(spec: ModelSpec, size: int, rows: int, answers: int | None) -> None:
    plan = plan_kernel(spec, KernelOptions(answers, rows=rows, shared_memory=size))
    assert plan.shared_bytes <= size
    places = sorted({place for layer in plan.layers for place in layer.places[:-1]} | {plan.input_at, plan.output_at})
    assert all(place % 4 == 0 for place in places)
    assert plan.variant == "streamed" or all(b - a >= 4 for a, b in itertools.pairwise(places))
    weights = [place for layer in plan.layers for place in (layer.weights, layer.biases)] + [plan.weight_bytes]
    assert weights == sorted(weights)
    assert all(place % 16 == 0 for place in weights)


def test_what_does_not_fit_one_block_is_streamed() -> None:
    small = plan_kernel(PAPER, KernelOptions(1))
    assert (small.variant, small.keeps_state) == ("resident", False)
    whole = plan_kernel(PAPER)
    assert (whole.variant, whole.keeps_state) == ("resident", True)
    assert [layer.far for layer in whole.layers] == sorted(layer.far for layer in whole.layers)
    assert any(layer.far for layer in whole.layers)
    assert plan_kernel(dataclasses.replace(PAPER, hidden=(128,) * 9)).variant == "streamed"


def test_what_no_variant_fits_is_told() -> None:
    wide = dataclasses.replace(PAPER, hidden=(1025,) * 9)
    with pytest.raises(InputError, match=r"resident: it needs \d+ threads.*streamed: a layer has 1025 units"):
        plan_kernel(wide)
    with pytest.raises(InputError, match="a thread needs about 384 registers"):
        plan_kernel(dataclasses.replace(PAPER, hidden=(64,), dilations=(1,)), KernelOptions(variant="resident"))
    with pytest.raises(InputError, match="more than 128 bytes"):
        plan_kernel(PAPER, KernelOptions(shared_memory=128))
    for wrong in ({"rows": 0}, {"answers": 0}):
        with pytest.raises(InputError, match="at least one"):
            KernelOptions(**wrong)  # type: ignore[arg-type]


def test_sizes_of_a_launch() -> None:
    plan = plan_kernel(PAPER, KernelOptions(rows=2))
    assert plan.grid(5) == 3
    assert plan.state_floats(3) == sum(np.prod(shape) for shape in PAPER.state_shapes(3).values())
    assert plan.workspace_bytes(5) == 3 * plan.workspace_bytes(1)

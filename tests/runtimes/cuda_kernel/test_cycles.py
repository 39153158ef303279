"""A budget of cycles for each step, from the machine code: a change that makes the kernel slower fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nightly import some_by_day
from tests.runtimes.cuda_kernel.networks_of_images import image_file, no_nvrtc, plan_of
from tests.runtimes.cuda_kernel.sass import Instruction, cycles, loops_of, multiply_adds, nvdisasm

pytestmark = [
    pytest.mark.skipif(bool(no_nvrtc()), reason=no_nvrtc()),
    pytest.mark.skipif(nvdisasm() is None, reason="nvdisasm is missing: pip install nvidia-cuda-nvdisasm"),
]

MORE = 1.05  # than was measured with NVRTC 13.5, before it fails: compilers differ
ACTIVATIONS = 16  # multiply-adds of a step's activations, at most
# Cell, activations, architecture: cycles for each step of the input, the most of any layer of the pruned network.
MEASURED = {
    ("lstm", "accurate", "87"): 294,
    ("lstm", "approximate", "87"): 220,
    ("gru", "accurate", "87"): 230,
    ("gru", "approximate", "87"): 177,
    ("gru before", "accurate", "87"): 316,
    ("rnn", "accurate", "87"): 147,
    ("rnn", "approximate", "87"): 111,
    ("relu", "accurate", "87"): 121,
    ("lstm", "accurate", "90"): 283,
    ("lstm", "approximate", "90"): 217,
    ("gru", "accurate", "90"): 224,
    ("rnn", "accurate", "90"): 148,
}


def loop_of_steps(image: Path, steps: int, products: int) -> list[Instruction]:
    """The loop whose body computes `steps` steps of `products` multiply-adds a unit."""
    least = steps * products
    bodies = [body for body in loops_of(image) if least <= multiply_adds(body) <= least + steps * ACTIVATIONS]
    assert len(bodies) == 1, [multiply_adds(body) for body in loops_of(image)]
    return bodies[0]


@pytest.mark.parametrize("choice", some_by_day(list(map(" ".join, MEASURED)), 3))
def test_cycles_of_a_step(choice: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    key = next(key for key in MEASURED if " ".join(key) == choice)
    cell, activations, architecture = key
    plan = plan_of(cell, architecture, activations=activations)
    image, gates, hidden = image_file(plan, architecture, tmp_path), plan.spec.gates, 20
    most = 0.0
    for layer in plan.layers[:2]:  # the others are as the second, at lower rates
        body = loop_of_steps(image, plan.ahead, gates * (layer.inputs + hidden))
        most = max(most, cycles(body) / plan.ahead * layer.fold / layer.dilation)
        assert sum(instruction.kind in ("LDL", "STL") for instruction in body) <= plan.ahead  # spilled registers
    record_property(f"cycles for each input step, {cell} 9 x 20 pruned, {activations}, sm_{architecture}", round(most))
    assert most <= MORE * MEASURED[key]


def test_the_model_sees_a_longer_chain(tmp_path: Path) -> None:
    """Accurate activations wait for two special functions more than approximate ones."""
    bodies = {}
    for activations in ("accurate", "approximate"):
        plan = plan_of("rnn", "87", activations=activations)
        bodies[activations] = loop_of_steps(image_file(plan, "87", tmp_path), plan.ahead, 21)
    assert cycles(bodies["accurate"]) - cycles(bodies["approximate"]) > plan.ahead * 22

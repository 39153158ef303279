"""The networks whose images are checked: nine layers of twenty units, as the paper's, of every cell."""

from __future__ import annotations

from typing import Any

from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.cuda_kernel import SHARED_MEMORY, KernelOptions, KernelPlan, plan_kernel
from drnn_runtimes.cuda_kernel.nvrtc import nvrtc_availability

ARCHITECTURES = ["75", "80", "86", "87", "89", "90", "100", "120"]
CELLS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "gru before": {"cell": "gru", "reset": "before"},
    "rnn": {"cell": "rnn"},
    "relu": {"cell": "rnn", "activation": "relu"},
}
DILATIONS = tuple(2**layer for layer in range(9))


def plan_of(cell: str, architecture: str, **options: Any) -> KernelPlan:
    """The pruned network of a cell, for the shared memory of an architecture."""
    spec = ModelSpec(hidden=(20,) * 9, dilations=DILATIONS, input=Continuous(1), head=Head("last", 10), **CELLS[cell])
    return plan_kernel(spec, KernelOptions(1, shared_memory=SHARED_MEMORY[architecture], **options))


def no_nvrtc() -> str:
    """Why images cannot be made here, or ""."""
    found = nvrtc_availability()
    return "" if found.usable else f"{found.detail}. {found.fix}"

"""Cycles, registers and shared memory of the CUDA kernel, from its images: the table of docs/cuda-kernel.md. No GPU.

Run it with the extra cuda-kernel and nvidia-cuda-nvdisasm installed: python -m benchmarks.kernel_cycles
"""

from __future__ import annotations

import itertools
from typing import Any, get_args

from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.cuda_kernel import SHARED_MEMORY, KernelOptions, KernelPlan, compile_kernel, plan_kernel
from drnn_runtimes.cuda_kernel.image import read_image
from drnn_runtimes.cuda_kernel.machine_code import cycles_of_layers, cycles_of_run, loops_of
from drnn_runtimes.cuda_kernel.plan import Activations

CELLS: dict[str, dict[str, Any]] = {
    "LSTM": {"cell": "lstm"},
    "GRU": {"cell": "gru"},
    "GRU, reset before": {"cell": "gru", "reset": "before"},
    "RNN tanh": {"cell": "rnn"},
    "RNN relu": {"cell": "rnn", "activation": "relu"},
}
DEVICES = {"Orin": ("87", 1.3e9), "RTX 4060": ("89", 2.46e9), "H100": ("90", 1.98e9)}  # architecture, clock
STEPS = 784


def main() -> None:
    """Print the table."""
    dilations = tuple(2**layer for layer in range(9))
    print("| network, pruned | activations | GPU | registers | spilled | shared | cycles a step | 784 steps |")
    print("|---|---|---|---|---|---|---|---|")
    for (cell, fields), activations in itertools.product(CELLS.items(), get_args(Activations)):
        spec = ModelSpec(hidden=(20,) * 9, dilations=dilations, input=Continuous(1), head=Head("last", 10), **fields)
        for device, (architecture, clock) in DEVICES.items():
            options = KernelOptions(1, activations=activations, shared_memory=SHARED_MEMORY[architecture])
            row = _row(plan_kernel(spec, options), architecture, clock)
            print(f"| {cell} 9 x 20 | {activations} | {device}, sm_{architecture} | {' | '.join(row)} |", flush=True)


def _row(plan: KernelPlan, architecture: str, clock: float) -> list[str]:
    image = compile_kernel(plan, architecture)
    info, layers = read_image(image), cycles_of_layers(plan, loops_of(image))
    shown = f"{cycles_of_run(plan, layers, STEPS) / clock * 1e6:.0f} us"
    return [str(info.registers), f"{info.stack} B", f"{plan.shared_bytes:,} B", f"{max(layers):.0f}", shown]


if __name__ == "__main__":
    main()

"""Time of a training step of the paper's network (9 x 20, batch 128, T = 784), pruned and full: forward and backward.

python -m benchmarks.training_step [--seconds 40]
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.latency import STEPS, network
from benchmarks.measure import interleaved, write_result
from drnn_models.network import DilatedRNN
from drnn_models.spec import Cell

BATCH = 128


def step(model: DilatedRNN, inputs: Tensor, targets: Tensor, prune: bool) -> float:
    """One forward and backward pass; the loss."""
    model.zero_grad()
    loss = functional.cross_entropy(model(inputs, prune=prune), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item()


def main() -> None:
    """Measure and write benchmarks/results/training-step.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="per cell")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    inputs, targets = torch.rand(BATCH, STEPS, 1), torch.randint(0, 10, (BATCH,))
    result: dict[str, Any] = {}
    for cell in get_args(Cell):
        model = network(cell).train()
        steps = {name: functools.partial(step, model, inputs, targets, name == "pruned") for name in ("pruned", "full")}
        losses = {name: run() for name, run in steps.items()}
        timings = interleaved(steps, seconds=arguments.seconds, warmup=1)
        ratio = timings["full"].median / timings["pruned"].median
        result[cell] = {"losses": losses, "ratio": round(ratio, 2)}
        result[cell] |= {name: dataclasses.asdict(timing) for name, timing in timings.items()}
        print(f"{cell:5} {ratio:.1f} x: {timings}, loss difference {abs(losses['full'] - losses['pruned']):.1e}")
    path = write_result("training-step", {"unit": "ms", "steps": STEPS, "batch": BATCH, "cells": result})
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

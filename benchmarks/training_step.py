"""Time of a training step of the paper's network (batch 128, T = 784): forward and backward.

By cell, nine layers of twenty units: with the fold and cone pruning, with the fold alone, both also through the
compiled kernel, and with neither (each phase of a layer as a run of its own).

python -m benchmarks.training_step [--seconds 40] [--threads 1]
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import Timing, interleaved, write_result
from benchmarks.networks import STEPS, paper_network
from drnn_models.cells import Cell
from drnn_models.dilated_rnn import DilatedRNN
from drnn_runtimes.native.recurrence import run_layer

BATCH = 128


def by_phase(model: DilatedRNN, inputs: Tensor) -> Tensor:
    """The whole network without fold and pruning: phase p of a layer is the plain layer on steps p, p+d, p+2d, ..."""
    x = inputs.transpose(0, 1)
    for layer, dilation in zip(model.layers, model.spec.dilations, strict=True):
        phases = [layer(x[phase::dilation])[0] for phase in range(min(dilation, len(x)))]
        y = x.new_empty(len(x), x.shape[1], phases[0].shape[2])
        for phase, part in enumerate(phases):
            y[phase::dilation] = part
        x = y
    outputs: Tensor = model.head(x[-1])
    return outputs


def step(model: DilatedRNN, run: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor) -> float:
    """One forward and backward pass; the loss."""
    model.zero_grad()
    loss = functional.cross_entropy(run(inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item()


def ways(model: DilatedRNN) -> dict[str, Callable[[Tensor], Tensor]]:
    """How to run the network, the fastest first."""
    compiled = copy.deepcopy(model)
    compiled.call_layer = run_layer
    return {
        "native": compiled,
        "native full": functools.partial(compiled, prune=False),
        "pruned": model,
        "full": functools.partial(model, prune=False),
        "unfolded": functools.partial(by_phase, model),
    }


def shown(timings: dict[str, Timing]) -> str:
    """One line."""
    return ", ".join(f"{name} {timing}" for name, timing in timings.items())


def main() -> None:
    """Measure and write benchmarks/results/training-step.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="per cell")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    inputs, targets = torch.rand(BATCH, STEPS, 1), torch.randint(0, 10, (BATCH,))
    cells: dict[str, Any] = {}
    for cell in get_args(Cell):
        model = paper_network(cell).train()
        steps = {name: functools.partial(step, model, run, inputs, targets) for name, run in ways(model).items()}
        losses = {name: run() for name, run in steps.items()}
        timings = interleaved(steps, seconds=arguments.seconds, warmup=1)
        cells[cell] = {"losses": losses} | {name: dataclasses.asdict(timing) for name, timing in timings.items()}
        print(f"{cell:5} {shown(timings)}; losses {losses}")
    result = {"unit": "ms", "steps": STEPS, "batch": BATCH, "threads": arguments.threads, "cells": cells}
    print(f"wrote {write_result('training-step', result)}")


if __name__ == "__main__":
    main()

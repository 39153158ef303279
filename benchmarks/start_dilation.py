"""Time of a training step by first dilation (batch 128, T = 784): LSTMs from dilation 1, 2, 4 or 8 to 256.

Each with cone pruning, as `drnn-deploy train` takes it, and without, as the paper's authors measured; both with the
compiled kernel and with torch's.

python -m benchmarks.start_dilation [--seconds 120] [--threads 1]
"""

from __future__ import annotations

import argparse
import dataclasses
import functools

import torch

from benchmarks.measure import interleaved, write_result
from benchmarks.networks import STEPS
from benchmarks.training_step import BATCH, shown, step
from drnn_models.dilated_rnn import DilatedRNN, call_layer
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.native.recurrence import run_layer

FIRST_DILATIONS = (1, 2, 4, 8)


def network(first: int) -> ModelSpec:
    """Of the experiment start-dilation."""
    dilations = tuple(dilation for dilation in (1, 2, 4, 8, 16, 32, 64, 128, 256) if dilation >= first)
    return ModelSpec("lstm", (20,) * len(dilations), dilations, Continuous(1), Head("last", 10))


def main() -> None:
    """Measure and write benchmarks/results/start-dilation.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    inputs, targets = torch.rand(BATCH, STEPS, 1), torch.randint(0, 10, (BATCH,))
    steps = {}
    for first in FIRST_DILATIONS:
        for kernel, call in (("native ", run_layer), ("", call_layer)):
            model = DilatedRNN(network(first))
            model.call_layer = call
            for name, prune in (("pruned", True), ("full", False)):
                run = functools.partial(model, prune=prune)
                steps[f"{kernel}{name} {first}"] = functools.partial(step, model, run, inputs, targets)
    timings = interleaved(steps, seconds=arguments.seconds, warmup=1)
    print(shown(timings))
    kept = {name: dataclasses.asdict(timing) for name, timing in timings.items()}
    result = {"unit": "ms", "steps": STEPS, "batch": BATCH, "threads": arguments.threads, "timings": kept}
    print(f"wrote {write_result('start-dilation', result)}")


if __name__ == "__main__":
    main()

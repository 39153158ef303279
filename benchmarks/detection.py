"""How small a mistake parity sees: weights of random networks scaled by 1 + e, judged on the golden cases.

    python -m benchmarks.detection    # benchmarks/results/detection.json, docs/figures/detection.svg

The wrong network is the PyTorch module with changed weights, in float32, as any wrong graph would compute it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from drnn_deploy.parity.cases import sequence_cases
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.golden import known_answers
from drnn_models.checkpoint import Checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle import GoldenCase

RESULTS, FIGURE = Path("benchmarks/results/detection.json"), Path("docs/figures/detection.svg")
SIZES = [10.0**exponent for exponent in np.arange(-7.0, -0.9, 0.5)]
_NETWORKS, _LENGTH = 60, 200


def networks() -> Iterator[Checkpoint]:
    """Freshly initialised networks of the three cells, hidden 4 to 64."""
    for number in range(_NETWORKS):
        random = np.random.default_rng(number)
        layers, hidden = int(random.integers(1, 5)), int(np.exp(random.uniform(np.log(4), np.log(64))))
        head = Head("sequence" if number % 2 else "last", int(random.integers(1, 6)))
        cell = ("rnn", "gru", "lstm")[number % 3]
        dilations = tuple(2**layer for layer in range(layers))
        spec = ModelSpec(cell, (hidden,) * layers, dilations, Continuous(2), head)  # type: ignore[arg-type]
        torch.manual_seed(number)
        state = DilatedRNN(spec).state_dict()
        yield Checkpoint(spec, {name: value.numpy(force=True) for name, value in state.items()})


def changes(weights: Weights, size: float, random: np.random.Generator) -> Mapping[str, Weights]:
    """What is wrong -> the weights with it: every matrix, one recurrent matrix, one row of it, one weight."""
    matrices = [name for name in weights if "weight_hh" in name]
    name = matrices[int(random.integers(len(matrices)))]
    row, column = (int(random.integers(count)) for count in weights[name].shape)

    def with_part(part: tuple[slice | int, ...]) -> Weights:
        value = weights[name].copy()
        value[part] *= 1 + size
        return {**weights, name: value}

    every = {key: (value * np.float32(1 + size) if value.ndim == 2 else value) for key, value in weights.items()}
    return {
        "all matrices": every,
        "a recurrent matrix": with_part((slice(None),)),
        "a row of it": with_part((row,)),
        "a weight of it": with_part((row, column)),
    }


def seen(golden: list[GoldenCase], wrong: Checkpoint) -> bool:
    """Whether a case fails."""
    model = wrong.network()
    with torch.inference_mode():
        return any(judge(case, model(torch.from_numpy(case.inputs)).numpy()).verdict == "failed" for case in golden)


def measure() -> dict[str, list[float]]:
    """What is wrong -> the share of networks in which it is seen, for each of `SIZES`."""
    counts: dict[str, list[int]] = {}
    for number, checkpoint in enumerate(networks()):
        spec = checkpoint.dilated
        golden = known_answers(spec, checkpoint.weights, sequence_cases(spec, _LENGTH), ())
        for place, size in enumerate(SIZES):
            random = np.random.default_rng(number)  # the same place for every size
            for what, weights in changes(checkpoint.weights, size, random).items():
                wrong = Checkpoint(checkpoint.dilated, dict(weights))
                counts.setdefault(what, [0] * len(SIZES))[place] += seen(golden, wrong)
    return {what: [count / _NETWORKS for count in row] for what, row in counts.items()}


def draw(shares: dict[str, list[float]]) -> None:
    """Write the figure."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.4), layout="constrained")
    axes = figure.subplots()
    for what, row in shares.items():
        axes.plot(SIZES, [100 * share for share in row], marker=".", label=what)
    axes.set(xscale="log", xlabel="relative change e of the weights", ylabel="networks in which it is seen, %")
    axes.grid(alpha=0.3)
    axes.legend(title="times 1 + e", frameon=False)
    figure.savefig(FIGURE, metadata={"Date": None})


def main() -> None:
    """Measure, write, draw."""
    shares = measure()
    result = {"sizes": SIZES, "networks": _NETWORKS, "length": _LENGTH, "shares": shares}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw(shares)
    for what, row in shares.items():
        print(f"{what:20}", " ".join(f"{share:.2f}" for share in row))


if __name__ == "__main__":
    main()

"""Whether an imported network is the original: its float64 reference beside what the original computed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from drnn_core.errors import InputError, ParityError
from drnn_deploy.importing.recorded import Recorded, read_recorded, snippet
from drnn_deploy.parity.cases import CaseInputs
from drnn_deploy.parity.compare import comparable, judge
from drnn_deploy.parity.golden import known_answer
from drnn_deploy.parity.results import CaseResult
from drnn_models.checkpoint import Checkpoint
from drnn_models.interop.convert import Imported
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import GoldenCase

_SMALL = 0.01  # what a weight of zeros is thought to be off by


def compare_with_original(imported: Imported, path: Path) -> tuple[CaseResult, ...]:
    """Prove that an imported network computes what the original computed.

    The original is judged as a runtime is, by the limit of parity. And the comparison must be able to fail: every
    weight must have an effect on the outputs above the limit.

    Args:
        imported: The network.
        path: What the original computed, see `recorded.read_recorded`.

    Returns:
        The errors of each pair of inputs and outputs, all within the limit.

    Raises:
        ParityError: The original's outputs are not the network's.
        InputError: The file cannot be read, or a wrong network could pass.
    """
    pairs = read_recorded(path, imported.spec)
    cases = [known_answer(imported.spec, imported.weights, CaseInputs(pair.name, pair.inputs), ()) for pair in pairs]
    results = tuple(_judged(path, imported.spec, case, pair) for case, pair in zip(cases, pairs, strict=True))
    _refuse_blind(path, imported, cases, results)
    return results


def _judged(path: Path, spec: ModelSpec, case: GoldenCase, pair: Recorded) -> CaseResult:
    if pair.outputs.shape != case.outputs.shape:
        raise ParityError(
            f"{path}: the original's outputs have shape {pair.outputs.shape}, the network's {case.outputs.shape}. "
            "Nothing was written.",
            "--head last gives one output for a sequence, --head sequence one for every step, --head last_k --steps K "
            "one for the last K. Inputs and outputs are saved with the sequences first.",
        )
    result = judge(case, pair.outputs)
    if result.verdict != "failed":
        return result
    length = pair.inputs.shape[1]
    first = length - spec.head.output_steps(length) + (result.first_bad_step or 0)
    raise ParityError(
        f"{path}: the network is not the original: {result.off} ({case.name}). Of the steps 0 to {length - 1}, {first} "
        "is the first that is off. Nothing was written.",
        "Look at what the weights do not say: the dilations, the activation, which weight is which. Where the original "
        "has softmax, ReLU, pooling, a residual connection or the like, it is no dilated RNN.",
    )


def _refuse_blind(path: Path, imported: Imported, cases: Sequence[GoldenCase], results: Sequence[CaseResult]) -> None:
    """Refuse inputs on which a network with other weights, or other dilations, would give the same outputs."""
    effects = dict.fromkeys(imported.weights, 0.0)
    fix = f"Save others where the original is:\n{snippet(imported.spec)}"
    for case, result in zip(cases, results, strict=True):
        if result.verdict == "not compared":
            drowned = f"Rounding moves the outputs so much that an error of {result.limit:.1e} would pass"
            why = "The outputs are the same whatever the inputs" if result.compared else drowned
            raise InputError(f"{path}: {case.name} proves nothing. {why}, and a wrong network with it.", fix)
        for name, effect in _effects(imported, case).items():
            if effect:
                effects[name] = max(effects[name], effect / result.limit if result.limit else np.inf)
    blind = [origin for name, origin in imported.origins.items() if origin is not None and effects[name] < 1]
    if blind:
        raise InputError(
            f"{path}: the outputs hardly depend on {blind[0]!r}, so a wrong network would pass as well. The inputs are "
            f"too short (a layer reads its past from step {max(imported.spec.dilations)} on) or too small, or rounding "
            "drowns the outputs of later steps.",
            fix,
        )


def _effects(imported: Imported, case: GoldenCase) -> dict[str, float]:
    """By how much the outputs that are compared change, to first order, where a number of a weight is off by the
    weight's own size.
    """
    network = Checkpoint(imported.spec, imported.weights).network().double()
    outputs = network(torch.from_numpy(case.inputs if case.inputs.dtype == np.int64 else case.inputs.astype(float)))
    mixed = torch.from_numpy(np.random.default_rng(0).standard_normal(outputs.shape))
    mixed *= torch.from_numpy(comparable(case).reshape(outputs.shape[1:]))
    (outputs * mixed).sum().backward()
    return {
        name: float(parameter.grad.abs().max()) * max(float(parameter.detach().abs().max()), _SMALL)
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }

"""A bundle's golden data beside the standard cases and what its weights give."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from drnn_deploy.parity.known_answers import Answers, ComputedAnswers, as_inputs, standard_inputs
from drnn_deploy.parity.results import FileResult
from drnn_runtimes.bundle import GOLDEN, Bundle, GoldenCase

_AGREEMENT = 1e-9  # of two computations in float64, relative to the largest output
_MOST_NOISE = 16.0  # times what is computed here: another version may estimate it in another way


def check_golden_file(bundle: Bundle, answers: Answers) -> FileResult:
    """Check that golden data holds every standard case, and of each what the weights give.

    Args:
        bundle: The bundle.
        answers: What is right. Where it is the golden data itself, only missing cases can be found.
    """
    findings = [*_missing(bundle)]
    if isinstance(answers, ComputedAnswers):
        findings += [finding for case in bundle.golden for finding in _wrong(case, answers.answer(as_inputs(case)))]
    return FileResult(GOLDEN, not findings, tuple(findings))


def _missing(bundle: Bundle) -> Iterator[str]:
    wanted = {case.name for graph in bundle.graphs for case in standard_inputs(bundle.spec, graph, bundle.graphs)}
    for name in sorted(wanted - {case.name for case in bundle.golden}):
        yield f"it lacks the standard case {name}; export it again: drnn-export model.pt"


def _wrong(stored: GoldenCase, right: GoldenCase) -> Iterator[str]:
    if stored.outputs.shape != right.outputs.shape:
        yield f"its outputs of {stored.name} inputs have the shape {stored.outputs.shape}, not {right.outputs.shape}"
        return
    error = float(np.abs(stored.outputs - right.outputs).max())
    if error > _AGREEMENT * max(1.0, float(np.abs(right.outputs).max())):
        yield f"its outputs of {stored.name} inputs are {error:.1e} from what the weights give"
    noises = {"fp32": (stored.noise, right.noise)}
    shared = stored.narrow_noise.keys() & right.narrow_noise.keys()
    noises |= {name: (stored.narrow_noise[name], right.narrow_noise[name]) for name in sorted(shared)}
    for precision, (said, measured) in noises.items():
        if said > _MOST_NOISE * measured:
            yield f"it says that {precision} is off by {said:.1e} on {stored.name} inputs; it is by {measured:.1e}"

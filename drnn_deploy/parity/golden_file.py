"""A bundle's golden data beside the standard cases and what its weights give."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from drnn_core.environment import installed_versions, package_version
from drnn_core.types import FLOAT64
from drnn_deploy.parity.cases import CaseInputs
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.edges import edge_precision
from drnn_deploy.parity.known_answers import Answers, ComputedAnswers, as_inputs, same_inputs, standard_inputs
from drnn_deploy.parity.results import FileResult
from drnn_export.emitter.revision import EMITTER_REVISION
from drnn_runtimes.bundle import GOLDEN, Bundle, GoldenCase

_FIRST_WITH_EDGES = 2  # revision of the emitter; what older bundles lack is computed
_MOST_NOISE = 16.0  # times what is computed here: another version may estimate it in another way


def check_golden_file(bundle: Bundle, answers: Answers) -> FileResult:
    """Check that golden data holds every standard case, and of each what the weights give.

    Another version may have had other standard cases. Its bundles are not blamed for that, unless their golden data is
    all that runtimes are compared with.

    Args:
        bundle: The bundle.
        answers: What is right. Where it is the golden data itself, only missing cases can be found.
    """
    standard = {
        case.name: case
        for graph in bundle.graphs
        for case in standard_inputs(bundle.spec, bundle.weights, graph, bundle.graphs)
    }
    same, believed = _is_of_this_version(bundle), not isinstance(answers, ComputedAnswers)
    findings = [*(_missing(bundle, standard) if same or believed else ())]
    findings += [*(_other_inputs(bundle, standard) if same else ())]
    if isinstance(answers, ComputedAnswers):
        known = answers.answers(list(map(as_inputs, bundle.golden)))
        findings += [finding for pair in zip(bundle.golden, known, strict=True) for finding in _wrong(*pair)]
    return FileResult(GOLDEN, not findings, tuple(findings))


def _is_of_this_version(bundle: Bundle) -> bool:
    """Whether the same inputs would be drawn here."""
    here = {"drnn-deploy": package_version(), **installed_versions(("numpy",))}
    return bundle.emitter == EMITTER_REVISION and here.items() <= bundle.versions.items()


def _missing(bundle: Bundle, standard: Mapping[str, CaseInputs]) -> Iterator[str]:
    for name in sorted(standard.keys() - {case.name for case in bundle.golden}):
        if edge_precision(name) is not None and bundle.emitter < _FIRST_WITH_EDGES:
            continue
        yield f"it lacks the standard case {name}; export it again: drnn-export model.pt"


def _other_inputs(bundle: Bundle, standard: Mapping[str, CaseInputs]) -> Iterator[str]:
    for case in bundle.golden:
        if case.name in standard and not same_inputs(standard[case.name], as_inputs(case)):
            yield f"its inputs of {case.name} are not those of the standard case"


def _wrong(stored: GoldenCase, right: GoldenCase) -> Iterator[str]:
    if stored.outputs.shape != right.outputs.shape:
        yield f"its outputs of {stored.name} inputs have the shape {stored.outputs.shape}, not {right.outputs.shape}"
        return
    both = sorted(stored.narrow_outputs.keys() & right.narrow_outputs.keys())
    pairs = [(case.outputs, *(case.narrow_outputs[precision] for precision in both)) for case in (stored, right)]
    for said, exact in zip(*pairs, strict=True):
        if judge(dataclasses.replace(right.judged_as(FLOAT64), outputs=exact), said).verdict == "failed":
            error = float(np.abs(said - exact).max())
            yield f"its outputs of {stored.name} inputs are up to {error:.1e} from what the weights give"
    shared = sorted(stored.narrow_noise.keys() & right.narrow_noise.keys() & {FLOAT64, *both})  # else of other outputs
    for precision in ("fp32", *shared):
        said, measured = (np.asarray(case.noise_of(precision)) for case in (stored, right))
        if said.shape != measured.shape:  # an old bundle's, one number for all steps
            said, measured = said.max(), measured.max()
        if np.any(said > _MOST_NOISE * measured):
            told = f"{float(said.max()):.1e} on {stored.name} inputs; it is by {float(measured.max()):.1e}"
            yield f"it says that {precision} is off by up to {told}"

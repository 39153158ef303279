"""The folder `native/` of a bundle: the network as C sources, with golden data of the bundle for their self-test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from drnn_core.types import Precision
from drnn_deploy.parity.compare import comparable
from drnn_deploy.parity.edges import is_for
from drnn_deploy.parity.tolerance import Tolerance
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.native.code_size import code_size
from drnn_runtimes.native.cross import build_for
from drnn_runtimes.native.package import SelfTestCase, native_package

_MOST_NUMBERS = 1 << 15  # of the self-test's inputs and outputs, which a compiler reads in a second
_MOST_COMPILED = 1_000_000  # weights: two million take a compiler 19 s and 372 MB, only to measure the code
_FIRST = ("normal", "task", "stream")  # cases that tell most


@dataclasses.dataclass(frozen=True)
class NativeSources:
    """What `native/` holds.

    Attributes:
        name: What all public names begin with.
        files: File name -> content.
        summary: The sizes of weights, code and memory, for people.
    """

    name: str
    files: dict[str, bytes]
    summary: str


def native_sources(
    checkpoint: Checkpoint,
    name: str,
    cases: Sequence[GoldenCase],
    tolerance: Tolerance,
    targets: Sequence[str] = (),
    *,
    precision: Precision = "fp32",
    notify: Callable[[str], None] = lambda _: None,
) -> NativeSources:
    """Write a network as C. No compiler is needed; where there is one, the code is measured.

    Args:
        checkpoint: The network.
        name: What all public names begin with (`drnn_runtimes.native.names`).
        cases: The golden cases of the bundle.
        tolerance: Which errors pass.
        targets: Systems to compile it for (`drnn_runtimes.native.cross`).
        precision: Of the weights, fp32 or int8; the cases know it.
        notify: Gets a line on what is done at the moment.

    Raises:
        EngineError: It cannot be compiled for a target.
    """
    spec = checkpoint.dilated
    notify("writing the network as C")
    chosen = self_test_cases(cases, tolerance, precision)
    narrow, noises = precision == "int8", tolerance.noise_multiple
    package = native_package(name, spec, checkpoint.weights, chosen, noises, narrow=narrow)
    length = max(case.inputs.shape[1] for case in chosen)
    code = "not measured: the weights take a compiler long"
    if sum(weight.size for weight in checkpoint.weights.values()) <= _MOST_COMPILED:
        code = code_size(package.sources, f"{name}.c")
    texts = {**package.sources, "README.md": package.readme(spec, length, code)}
    files = {file: text.encode() for file, text in texts.items()}
    for target in targets:
        notify(f"compiling the network for {target}")
        files |= build_for(target, name, package.sources)
    summary = f"weights {package.weight_bytes:,} bytes, code {code}, {package.sizes.stream(1):,} a stream"
    return NativeSources(name, files, summary)


def self_test_cases(
    cases: Sequence[GoldenCase], tolerance: Tolerance, precision: Precision = "fp32"
) -> list[SelfTestCase]:
    """Choose sequences of golden cases, of each kind some, so that the self-test stays small.

    Args:
        cases: The golden cases of a bundle, at least one for the precision.
        tolerance: Which errors pass.
        precision: Of the weights.

    Returns:
        At least one sequence; more as long as there are no more than 32,768 numbers.
    """
    chosen: list[SelfTestCase] = []
    left = _MOST_NUMBERS
    own = [case.judged_as(precision) for case in cases if is_for(case.name, precision)]
    own.sort(key=lambda case: _FIRST.index(case.name) if case.name in _FIRST else len(_FIRST))
    for place, case in enumerate(own):
        numbers = case.inputs[0].size + 2 * case.outputs[0].size
        rows = min(len(case.inputs), left // (len(own) - place) // numbers) or int(not chosen)
        if rows:
            chosen.append(_self_test_case(case, rows, tolerance))
            left = max(0, left - rows * numbers)
    return chosen


def _self_test_case(case: GoldenCase, rows: int, tolerance: Tolerance) -> SelfTestCase:
    told = comparable(case, tolerance)  # (k, outputs)
    noise = np.broadcast_to(np.asarray(case.noise), case.outputs.shape[1:]).reshape(told.shape)
    outputs = case.outputs[:rows].reshape(-1, *told.shape)
    return SelfTestCase(case.name, case.inputs[:rows], outputs, np.where(told, noise, -1.0))

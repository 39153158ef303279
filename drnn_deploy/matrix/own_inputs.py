"""The user's own inputs as further cases of a check, and what they gave elsewhere, judged like a runtime's outputs."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.npz import read_arrays
from drnn_deploy.parity.cases import CaseInputs
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.inference import answered_case
from drnn_deploy.parity.known_answers import ComputedAnswers, has_state
from drnn_deploy.parity.results import CaseResult, ParityRow, all_passed
from drnn_deploy.parity.tolerance import Tolerance
from drnn_models.sequences import as_sequences
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo

STREAMED = " as a stream"  # how the name of a case of graphs with state ends
_YOURS = " (yours)"  # behind a name without an ending, which may be that of a standard case
_FIX = "Save it with numpy.save('x.npy', x), or several with numpy.savez('x.npz', one=x, other=y)."


@dataclasses.dataclass(frozen=True)
class OwnInputs:
    """Sequences of the user's.

    Attributes:
        name: The file's, and the array's where the file has several.
        inputs: (N, T, C) float32 or (N, T) int64.
        outputs: What they gave elsewhere, of any shape; None where nothing is said of that.
    """

    name: str
    inputs: NDArray[np.generic]
    outputs: NDArray[Any] | None = None


def read_own_inputs(spec: ModelSpec, inputs: Path, outputs: Path | None = None) -> list[OwnInputs]:
    """Read sequences, one case an array.

    Args:
        spec: The network.
        inputs: A .npy or .npz file.
        outputs: A file with what each of them gave, under the same names.

    Raises:
        InputError: A file is damaged, an array is none that the network reads, or inputs lack their outputs.
    """
    arrays = read_arrays(inputs, _FIX)
    given = {} if outputs is None else read_arrays(outputs, _FIX)
    if outputs is not None and arrays.keys() != given.keys():
        odd = sorted(arrays.keys() ^ given.keys())[0]
        what = (
            f"one of {inputs} and {outputs} holds {odd!r:.90}, and the other does not"
            if odd
            else (f"one of {inputs} and {outputs} holds one array, and the other several with names")
        )
        raise InputError(what, "Save outputs under the names of their inputs.")
    own = []
    for name, array in arrays.items():
        shown = f"{inputs.name}:{name}" if name else inputs.name + _YOURS * (not inputs.suffix)
        if name in given:
            _check_outputs(f"{outputs}{f':{name}' if name else ''}", given[name])
        own.append(OwnInputs(shown, as_sequences(spec, shown, array), given.get(name)))
    return own


def cases_of(bundle: Bundle, own: Sequence[OwnInputs]) -> list[CaseInputs]:
    """The cases that sequences are for the graphs of a bundle: whole, as a stream, or both.

    Args:
        bundle: The open bundle.
        own: The sequences.

    Raises:
        InputError: Some fit no graph.
    """
    cases = []
    for entry in own:
        kinds = {has_state(graph) for graph in bundle.graphs if _fits(graph, entry)}
        if not kinds and entry.outputs is None:
            takes = "; ".join(f"{g.name} {'at least ' * has_state(g)}{g.steps:,}" for g in bundle.graphs)
            what = f"{entry.name} has {entry.inputs.shape[1]:,} steps, and no graph of {bundle.folder} takes them"
            raise InputError(f"{what}: {takes:.300}", f"Export one: drnn-export MODEL --length {entry.inputs.shape[1]}")
        cases += [_case(entry, stream=stream) for stream in sorted(kinds)]
    return cases


def left_out(bundle: Bundle, own: Sequence[OwnInputs]) -> list[str]:
    """Sentences on the graphs that do not take sequences of such a length.

    Args:
        bundle: The open bundle.
        own: The sequences.
    """
    return [
        f"{entry.name} was not run on {graph.name}: it has {entry.inputs.shape[1]:,} steps, the graph takes "
        f"{'at least ' * has_state(graph)}{graph.steps:,}"
        for entry in own
        for graph in bundle.graphs
        if not _fits(graph, entry)
    ]


def output_rows(
    bundle: Bundle, own: Sequence[OwnInputs], file: str, answers: ComputedAnswers, tolerance: Tolerance
) -> Iterator[ParityRow]:
    """Judge outputs from elsewhere like those of a runtime, a row for each way to run that their shapes show.

    Args:
        bundle: The open bundle. The precision of its first graph is that of the limit.
        own: The sequences with their outputs.
        file: The name of the file of outputs, which with an ending stands in the place of a runtime's.
        answers: What is right for the bundle.
        tolerance: Which errors pass.

    Raises:
        InputError: Outputs have a shape that the network does not give.
    """
    file = file if "." in file else f"{file} (file)"  # no runtime's name
    results: dict[tuple[str, int], list[CaseResult]] = {}
    for entry in own:
        if entry.outputs is not None:
            kind, case = _answered(bundle, entry, file, answers)
            results.setdefault((kind, entry.inputs.shape[1]), []).append(judge(case, entry.outputs, tolerance))
    precision = bundle.graphs[0].precision
    lengths = collections.Counter(kind for kind, _ in results)
    for (kind, steps), cases in results.items():
        name = kind if lengths[kind] == 1 else f"{kind}, {steps} steps"
        yield ParityRow(file, name, precision, all_passed(cases), tuple(cases), None, steps=steps, seconds=0.0)


def _answered(bundle: Bundle, entry: OwnInputs, file: str, answers: ComputedAnswers) -> tuple[str, GoldenCase]:
    """How outputs of this shape came about, and what is right for them."""
    assert entry.outputs is not None
    precision = bundle.graphs[0].precision
    ways = {"sequence": answers.answer(_case(entry, stream=False)).judged_as(precision)}
    streamed = [graph for graph in bundle.graphs if has_state(graph) and _fits(graph, entry)]
    if streamed:
        stream = answers.answer(_case(entry, stream=True))
        ways |= {graph.kind: answered_case(bundle, graph, stream, precision) for graph in streamed}
    for kind, case in ways.items():
        if case.outputs.shape == entry.outputs.shape:
            return kind, case
    gives = "; ".join(f"{kind} {case.outputs.shape}" for kind, case in ways.items())
    what = f"{file} holds {entry.outputs.shape!s:.80} for {entry.name}, and the network gives as {gives:.300}"
    raise InputError(what, "Save the outputs of the same sequences, in the same order.")


def _case(entry: OwnInputs, *, stream: bool) -> CaseInputs:
    return CaseInputs(f"{entry.name}{STREAMED * stream}", entry.inputs, source="the user's own", stream=stream)


def _fits(graph: GraphInfo, entry: OwnInputs) -> bool:
    steps = entry.inputs.shape[1]
    return bool(steps >= graph.steps if has_state(graph) else steps == graph.steps)


def _check_outputs(name: str, outputs: NDArray[Any]) -> None:
    if outputs.dtype.kind != "f":
        raise InputError(f"{name:.200} is {outputs.dtype!s:.80}: outputs are floating-point numbers", _FIX)

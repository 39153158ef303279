"""What is right for the graphs of a bundle: computed from its weights, or read from its golden data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from drnn_core.cache import cache_folder
from drnn_core.errors import InputError
from drnn_core.memory import require_memory
from drnn_core.types import NamedGraph, Precision
from drnn_deploy.parity.cases import STANDARD, CaseInputs, sequence_cases, sequence_rows, stream_case, stream_length
from drnn_deploy.parity.edges import edge_case, edge_precision, is_for
from drnn_deploy.parity.golden import known_answers
from drnn_deploy.parity.reference_cache import answer_key, keep_answer, kept_answer, weights_digest
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle import Bundle, GoldenCase
from drnn_runtimes.reference.cost import answer_needs, answer_seconds

REFERENCES = "references"  # the folder in the user's cache
_RUN_SECONDS = 5e-5  # of a run of a graph, at least
REFERENCE_MINUTES = 30.0  # the most that a check takes for its known answers, unless more is asked for


class Answers(Protocol):
    """The cases that graphs are checked on, with what is right."""

    @property
    def computed(self) -> bool:
        """Whether they come from the weights, and not from the golden data."""

    def cases(self, graph: NamedGraph) -> list[GoldenCase]:
        """The cases of a graph: the stream for a graph with state, all others for one without."""


class StoredAnswers:
    """The golden data of a bundle, believed as it is."""

    computed = False

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def cases(self, graph: NamedGraph) -> list[GoldenCase]:
        """See `Answers`."""
        every = [case for case in self._bundle.golden if case.stream == has_state(graph)]
        return [case for case in every if is_for(case.name, graph.precision)]


class ComputedAnswers:
    """The standard cases and further ones, each computed once, when it is asked for.

    Args:
        spec: The network.
        weights: Its weights.
        graphs: All graphs that are checked: the stream is long enough for each, and each precision has its noise.
        more: Further inputs, such as the task's examples; each is for the graphs that it fits.
        cache: The folder of answers that were computed before. Default: in the user's cache.
    """

    computed = True

    def __init__(
        self,
        spec: ModelSpec,
        weights: Weights,
        graphs: Sequence[NamedGraph],
        more: Sequence[CaseInputs] = (),
        *,
        cache: Path | None = None,
    ) -> None:
        self._spec, self._weights, self._more = spec, weights, list(more)
        self._streamed = [graph for graph in graphs if has_state(graph)]
        self._precisions = sorted({graph.precision for graph in graphs} - {"fp32"})
        self._cache = cache_folder(REFERENCES) if cache is None else cache
        self._digest = ""
        self._known: dict[str, GoldenCase] = {}
        self._by_kind: dict[tuple[int, Precision], list[GoldenCase]] = {}  # 0 steps: the stream's

    @classmethod
    def of(cls, bundle: Bundle, own: Sequence[CaseInputs] = ()) -> ComputedAnswers:
        """The answers of a bundle. Of its golden data only the inputs are taken that are no standard case's.

        Args:
            bundle: An open bundle.
            own: Further inputs, which count where the golden data has others of the same name.
        """
        there = {case.name for case in own} | {
            case.name
            for graph in bundle.graphs
            for case in standard_inputs(bundle.spec, bundle.weights, graph, bundle.graphs)
        }
        more = [as_inputs(case) for case in bundle.golden if case.name not in there]
        return cls(bundle.spec, bundle.weights, bundle.graphs, [*more, *own])

    def names(self, graph: NamedGraph) -> list[str]:
        """The names of `cases`; nothing is computed."""
        return [case.name for case in self._inputs(graph)]

    def cases(self, graph: NamedGraph) -> list[GoldenCase]:
        """See `Answers`."""
        kind = 0 if has_state(graph) else graph.steps, graph.precision
        if kind not in self._by_kind:
            self._by_kind[kind] = self.answers(self._inputs(graph))
        return self._by_kind[kind]

    def answer(self, case: CaseInputs) -> GoldenCase:
        """What is right for any inputs."""
        return self.answers([case])[0]

    def answers(self, cases: Sequence[CaseInputs]) -> list[GoldenCase]:
        """What is right for any inputs; those of one length are computed together."""
        self._digest = self._digest or weights_digest(self._weights)
        keys = [answer_key(self._spec, self._digest, case, self._noises(case)) for case in cases]
        missing: dict[tuple[Any, ...], dict[str, CaseInputs]] = {}
        for key, case in zip(keys, cases, strict=True):
            if key not in self._known:
                if (kept := kept_answer(self._cache, key, self._spec, case)) is not None:
                    self._known[key] = kept
                else:
                    alike = case.stream, case.inputs.shape[1:], self._noises(case)
                    missing.setdefault(alike, {})[key] = case
        for (_, _, precisions), several in missing.items():
            computed = known_answers(self._spec, self._weights, list(several.values()), precisions)
            for key, answer in zip(several, computed, strict=True):
                self._known[key] = answer
                keep_answer(self._cache, key, self._spec, answer)
        return [self._known[key] for key in keys]

    def _noises(self, case: CaseInputs) -> tuple[Precision, ...]:
        """The precisions, besides fp32, whose noise a case needs."""
        alone = edge_precision(case.name)
        return tuple(self._precisions) if alone is None else tuple({alone} - {"fp32"})

    def _inputs(self, graph: NamedGraph) -> list[CaseInputs]:
        stream = has_state(graph)
        fitting = [case for case in self._more if case.stream == stream]
        lengths = [case.inputs.shape[1] for case in fitting]
        fits = [length >= graph.steps if stream else length == graph.steps for length in lengths]
        fitting = list(itertools.compress(fitting, fits))
        fitting = [case for case in fitting if is_for(case.name, graph.precision)]
        return [*standard_inputs(self._spec, self._weights, graph, self._streamed), *fitting]


def standard_inputs(
    spec: ModelSpec, weights: Weights, graph: NamedGraph, graphs: Sequence[NamedGraph]
) -> list[CaseInputs]:
    """The standard cases of a graph.

    Args:
        spec: The network.
        weights: Its weights.
        graph: The graph.
        graphs: All graphs of its bundle: those with state have one stream in common.
    """
    if not has_state(graph):
        edge = edge_case(spec, weights, graph.precision, graph.steps)
        return [*sequence_cases(spec, graph.steps), *([edge] if edge else [])]
    streamed = [other for other in graphs if has_state(other)]
    chunk = max(other.steps for other in streamed)
    edge = edge_case(spec, weights, graph.precision, 2 * chunk, stream=True)
    return [stream_case(spec, stream_length(spec, streamed), chunk), *([edge] if edge else [])]


def reference_seconds(spec: ModelSpec, graphs: Sequence[NamedGraph]) -> float:
    """Estimate how long the known answers take to compute, where no earlier check has left them in the cache.

    Args:
        spec: The network.
        graphs: All graphs that are checked.
    """
    precisions = len({graph.precision for graph in graphs})
    steps = {graph.steps for graph in graphs if not has_state(graph)}
    seconds = sum(answer_seconds(spec, sequence_rows(spec, length), length, precisions) for length in steps)
    if streamed := [graph for graph in graphs if has_state(graph)]:
        length = stream_length(spec, streamed)
        seconds += answer_seconds(spec, sequence_rows(spec, length), length, precisions)
    return seconds


def check_cost(
    spec: ModelSpec, graphs: Sequence[NamedGraph], minutes: float, fix: str, more: Sequence[CaseInputs] = ()
) -> None:
    """Refuse a check whose known answers would take too long to compute, or more memory than this machine has.

    Args:
        spec: The network.
        graphs: All graphs that are checked.
        minutes: The longest that they may take.
        fix: What makes it shorter.
        more: Further cases. Their runs and their memory count, too: there may be any number.

    Raises:
        InputError: They are estimated to take longer, or too much memory. The message says how long, and what to type
            to wait for it.
    """
    usual, further = reference_seconds(spec, graphs), 0.0
    precisions = len({graph.precision for graph in graphs})
    for case in more:
        rows, steps = case.inputs.shape[:2]
        alike = [graph.steps for graph in graphs if has_state(graph) == case.stream]
        runs = rows * (sum(steps // chunk for chunk in alike) if case.stream else alike.count(steps))
        if not runs:  # no graph takes it, so it is never computed
            continue
        require_memory(f"the reference of {case.name:.100}", answer_needs(spec, rows, steps, f"{fix}."))
        further += answer_seconds(spec, rows, steps, precisions) + _RUN_SECONDS * runs
    if usual + further > 60 * minutes:
        needed = math.ceil((usual + further) / 60)
        beside = f" and the runs of {', '.join(case.name for case in more):.100}" if further > usual else ""
        raise InputError(
            f"the float64 reference{beside} would take about {needed:,} min where no earlier check has left it in the "
            f"cache; at most {minutes:g} min are spent on it",
            f"{fix}, or wait for it: --reference-minutes {2 * needed}",
        )


def further_inputs(spec: ModelSpec, cases: Sequence[GoldenCase]) -> list[CaseInputs]:
    """The cases of golden data that `reference_seconds` does not count: others than the standard ones, or larger.

    Args:
        spec: The network.
        cases: The golden data.
    """

    def is_usual(case: GoldenCase) -> bool:
        named = case.name in STANDARD or edge_precision(case.name) is not None
        return named and len(case.inputs) <= sequence_rows(spec, case.inputs.shape[1])

    return [as_inputs(case) for case in cases if not is_usual(case)]


def as_inputs(case: GoldenCase) -> CaseInputs:
    """The inputs of a case alone."""
    return CaseInputs(case.name, case.inputs, case.targets, case.source, case.stream)


def has_state(graph: NamedGraph) -> bool:
    """Whether a graph carries states from run to run."""
    return graph.form != "sequence"


def same_inputs(one: CaseInputs, other: CaseInputs) -> bool:
    """Whether two cases ask the same.

    Args:
        one: A case.
        other: Another one, whose name does not matter.
    """
    return one.stream == other.stream and np.array_equal(one.inputs, other.inputs)
